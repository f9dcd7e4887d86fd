"""Where the time goes: seconds of each part of the work, and networks that tell theirs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from trainer.bundle import Bundle


class Watch:
    """Adds up seconds per part; parts may be timed in different threads, but each in one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Return the seconds of each part so far, and begin anew."""
        taken, self.seconds = self.seconds, {}
        return taken


def rates(seconds: dict[str, float], frames: int) -> dict[str, dict[str, float | None]]:
    """Return seconds and frames per second of each part, for so many frames; None for what took no time."""
    return {
        name: {"seconds": round(spent, 4), "frames_per_second": round(frames / spent, 1) if spent else None}
        for name, spent in seconds.items()
    }


class TimedNetwork:
    """Passes every call on to a network, or whatever an indicator is made by, and adds up the time, on a GPU as well."""

    def __init__(self, network: Any, name: str, watch: Watch, device: torch.device) -> None:
        self._network, self._name, self._watch, self._device = network, name, watch, device

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._network, attribute)
        return self._timed(value) if callable(value) else value

    def __call__(self, *arguments: Any) -> Any:
        """Call the network itself."""
        return self._timed(self._network)(*arguments)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self._watch.part(self._name):
                result = function(*arguments, **named)
                if self._device.type == "cuda":
                    torch.cuda.synchronize(self._device)
                return result

        return timed


def network_names(bundle: Bundle) -> tuple[str, ...]:
    """Return the fields of a bundle that hold a network, or another model of an indicator."""
    names = [field.name for field in fields(bundle)]
    models = {name for name in names if isinstance(getattr(bundle, name), nn.Module) or name in bundle.indicators}
    return tuple(name for name in names if name in models)


def with_watch(bundle: Bundle, watch: Watch) -> Bundle:
    """Return the same bundle, each of whose networks is timed under its name."""
    networks: dict[str, Any] = {
        name: TimedNetwork(getattr(bundle, name), name, watch, bundle.device) for name in network_names(bundle)
    }
    return replace(bundle, **networks)
