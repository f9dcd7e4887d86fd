"""A training that was stopped at any step goes on to the same weights, bit for bit."""

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from squares import make_training, silent, small_settings

from pipeline.config import ConfigError, TrainSettings
from pipeline.contract import Aside
from trainer.bundle import Bundle
from trainer.checkpoints import KEPT, Checkpoint, Keeper
from trainer.clips import load_training_data
from trainer.course import Around
from trainer.fit import Fit, fit_network
from trainer.order import split_clips
from trainer.stopping import Stop, listening
from trainer.together import make_signals
from trainer.training import fit_networks, make_bundle
from trainer.validation import EarlyStopping

CPU = torch.device("cpu")


class StopAfter(Stop):
    """Tells to stop from the time on when it was asked so many times: after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left <= 0


def fit(settings: TrainSettings, folder: Path | None, stop: Stop | None = None) -> Fit:
    data = load_training_data(make_training(1), settings, CPU, silent)
    around = Around(keeper=Keeper(folder, settings), stop=Stop() if stop is None else stop)
    temporal = make_signals(data, settings)["temporal"]
    return fit_network(temporal, data, settings, device=CPU, report=silent, around=around)


def interrupt(settings: TrainSettings, folder: Path, steps: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(settings, folder, StopAfter(steps))  # asked once after each step


def same(one: Fit, other: Fit) -> bool:
    theirs = other.network.state_dict()
    equal = all(torch.equal(tensor, theirs[name]) for name, tensor in one.network.state_dict().items())
    return equal and one.losses == other.losses and one.validation_errors == other.validation_errors


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_stopped_again_and_again_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, precision: str
) -> None:
    settings = small_settings(epochs=1.3, precision=precision, schedule="cosine")
    whole = fit(settings, None)
    assert whole.steps == 8
    for steps in (1, 3, 1, 2):
        interrupt(settings, tmp_path, steps)
    assert max(int(path.stem) for path in tmp_path.glob("*.json")) == 7
    assert same(fit(settings, tmp_path), whole)


def test_what_is_complete_is_not_done_again(tmp_path: Path) -> None:
    settings = small_settings(epochs=0.7)
    first = fit(settings, tmp_path)
    seen: list[float] = []
    data = load_training_data(make_training(1), settings, CPU, silent)
    again = fit_network(
        make_signals(data, settings)["temporal"],
        data,
        settings,
        device=CPU,
        report=lambda what, done, total: seen.append(done / total),
        around=Around(keeper=Keeper(tmp_path, settings)),
    )
    assert same(again, first)
    assert seen == [1.0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
        lambda path: path.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes().replace(b'": 6', b'": 5')),
        lambda path: path.unlink(),
    ],
    ids=["cut off", "a flipped bit", "another state", "lost"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    settings = small_settings(epochs=1.3, checkpoint_steps=3)
    interrupt(settings, tmp_path, 7)  # after step 3, where one is written, it is asked once more
    newest = max(tmp_path.glob("*.safetensors"))
    assert newest.stem == "000000006"
    damage(newest)
    with caplog.at_level(logging.WARNING):
        found = Keeper(tmp_path, settings).load()
    assert found is not None
    assert found.step == 3
    assert "000000006 is damaged" in caplog.text
    assert same(fit(settings, tmp_path), fit(settings, None))


def test_checkpoints_come_every_few_steps_and_only_the_newest_two_stay(tmp_path: Path) -> None:
    fit(small_settings(epochs=1.3, checkpoint_steps=2), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"00000000{step}.{suffix}" for step in (6, 8) for suffix in ("json", "safetensors")]
    assert KEPT == 2


def test_checkpoints_come_after_some_time(tmp_path: Path) -> None:
    hasty, patient = (Keeper(tmp_path, small_settings(checkpoint_minutes=minutes)) for minutes in (1e-9, 60))
    assert hasty.due(1)
    assert not patient.due(1)
    assert not Keeper(None, small_settings(checkpoint_steps=1)).due(1)


def test_a_checkpoint_whose_state_was_never_written_does_not_exist(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, small_settings())
    keeper.save(Checkpoint(step=4, tensors={"a": torch.ones(2)}))
    keeper.save(Checkpoint(step=5, tensors={"a": torch.zeros(2)}))
    (tmp_path / "000000005.json").unlink()
    found = keeper.load()
    assert found is not None
    assert found.step == 4
    assert torch.equal(found.tensors["a"], torch.ones(2))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, though shells have what they start in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_first_signal_ends_the_training_after_its_step_and_the_second_one_at_once() -> None:
    with listening() as stop:
        assert not stop
        signal.raise_signal(signal.SIGINT)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def bundle(settings: TrainSettings, aside: Aside | None) -> Bundle:
    inputs = make_training(1)
    networks = fit_networks(inputs, settings, silent, aside)
    assert networks is not None
    return make_bundle(networks, inputs, settings, silent)


def test_both_networks_side_by_side_are_those_of_one_after_the_other_and_both_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = small_settings(epochs=0.7, objects=False)
    beside = alone.model_copy(update={"device": "cpu,cpu"})
    expected = bundle(alone, None)
    aside = Aside(scratch=tmp_path / "scratch", logs=tmp_path / "logs")
    bundle(beside, aside)  # leaves both complete
    for name in ("spatial", "temporal"):
        newest = max((aside.scratch / name).glob("*.safetensors"))
        kept = load_file(newest)
        for place, tensor in getattr(expected, name).state_dict().items():
            assert torch.equal(kept[f"network.{place}"], tensor)
    monkeypatch.setattr("trainer.course.Course.take", None)  # nothing is left to do
    again = bundle(beside, aside)
    assert again.info.losses == expected.info.losses


# ---- validation videos


def test_whole_videos_are_kept_out_for_validation_and_the_seed_chooses_them() -> None:
    settings = small_settings(validation_share=0.3)
    lengths = [20] * 10
    fitted, held_out = split_clips(lengths, settings)
    assert len(np_videos(held_out)) == 3
    assert np_videos(fitted) | np_videos(held_out) == set(range(10))
    assert not np_videos(fitted) & np_videos(held_out)
    others = [np_videos(split_clips(lengths, small_settings(validation_share=0.3, seed=seed))[1]) for seed in range(5)]
    assert len({tuple(sorted(videos)) for videos in others}) > 1


def np_videos(start_C: Any) -> set[int]:
    return {int(start) // 20 for start in start_C}


def test_of_a_single_video_the_end_is_kept_out_and_no_clip_lies_in_both_parts() -> None:
    fitted, held_out = split_clips([80], small_settings(validation_share=0.25))
    assert fitted.max() + 16 <= held_out.min() == 60
    with pytest.raises(ConfigError, match=r"train\.validation_share = 0\.25: .* single training video of 40"):
        split_clips([40], small_settings(validation_share=0.25))


def test_training_stops_when_validation_errors_rise_and_the_best_epoch_is_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_settings(epochs=9, validation_share=0.5, patience=2, learning_rate=1e-3)
    errors = iter([0.5, 0.3, 0.4, float("nan"), 0.1])
    states = []

    def error(network: Any, *others: Any) -> float:
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(errors)

    monkeypatch.setattr("trainer.course.validation_error", error)
    data = load_training_data(make_training(2), settings, CPU, silent)
    assert len(data.start_C) == len(data.validation_start_V) == 25
    signal_ = make_signals(data, settings)["temporal"]
    found = fit_network(signal_, data, settings, device=CPU, report=silent)
    assert len(states) == 4  # the second was the best; two more were tried
    assert found.validation_errors[:3] == [0.5, 0.3, 0.4]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in found.network.state_dict().items())


def test_a_training_with_validation_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = small_settings(epochs=2.2, validation_share=0.5, patience=1, learning_rate=3e-3)
    data = load_training_data(make_training(2), settings, CPU, silent)
    signal_ = make_signals(data, settings)["temporal"]

    def run(stop: Stop) -> Fit:
        around = Around(keeper=Keeper(tmp_path if stop.__class__ is StopAfter else None, settings), stop=stop)
        return fit_network(signal_, data, settings, device=CPU, report=silent, around=around)

    whole = run(Stop())
    with pytest.raises(KeyboardInterrupt):
        run(StopAfter(9))
    resumed = run(StopAfter(10_000))
    assert same(resumed, whole)
    assert whole.validation_errors


def test_the_error_on_validation_videos_falls_while_the_network_learns() -> None:
    settings = small_settings(epochs=5, validation_share=0.5, learning_rate=1e-3)
    data = load_training_data(make_training(2), settings, CPU, silent)
    errors = fit_network(
        make_signals(data, settings)["spatial"], data, settings, device=CPU, report=silent
    ).validation_errors
    assert len(errors) == 5
    assert errors[-1] < 0.7 * errors[0]


def test_an_error_that_is_no_number_is_never_the_best() -> None:
    early = EarlyStopping(patience=2)
    for error in (float("nan"), 0.5, float("inf")):
        early.look(error, {"a": torch.tensor(error)})
    assert early.best == {"a": torch.tensor(0.5)}
    assert early.worth_going_on
    early.look(0.6, {})
    assert not early.worth_going_on
