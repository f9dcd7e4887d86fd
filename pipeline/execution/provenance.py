"""What receipts record of where and how something was made; no part of any key."""

import importlib.metadata
import platform
import sys
from contextlib import suppress
from typing import Any

from pipeline.config import Section
from pipeline.contract import Stage

PACKAGES = ("stpa", "numpy", "opencv-contrib-python-headless", "torch", "diffusers", "transformers", "zarr")


def package_versions() -> dict[str, str]:
    """Return the version of every package that decides what comes out and is installed."""
    versions = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def provenance(stage: Stage | None = None) -> dict[str, Any]:
    """Return the machine, the versions, and of a stage that computes on a device which one, and how many items at once.

    Asked for after the worker was built: torch is loaded by then if it is used at all.
    """
    machine, packages = platform.machine(), package_versions()
    found: dict[str, Any] = {"python": platform.python_version(), "machine": machine, "packages": packages}
    torch = sys.modules.get("torch")
    if stage is None or torch is None:
        return found
    told = operational_settings(stage)
    if "device" in told:
        found |= {"device": _device(torch, str(told["device"])), **{k: told[k] for k in ("batch_size",) if k in told}}
        if (precision := stage.settings().get("precision")) is not None:
            found["precision"] = precision
    return found


def operational_settings(stage: Stage) -> dict[str, Any]:
    """Return the settings of a stage's section that are no part of its key; none where it has no section."""
    section = getattr(stage.config, stage.name.partition("-")[0], None)
    if not isinstance(section, Section):
        return {}
    kept = section.model_dump(mode="json")
    fields = type(section).model_fields.items()
    extras = {name: field.json_schema_extra for name, field in fields}
    return {name: kept[name] for name, extra in extras.items() if isinstance(extra, dict) and extra.get("operational")}


def _device(torch: Any, wanted: str) -> str:
    """Say what a ``device`` setting came to on this machine."""
    if wanted == "cpu" or not torch.cuda.is_available():
        return "cpu"
    name = torch.cuda.get_device_name(None if wanted == "auto" else wanted)
    return f"{'cuda' if wanted == 'auto' else wanted} ({name})"
