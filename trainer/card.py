"""The model card of a bundle: README.md beside the weights, for whoever finds them without the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import Config
from pipeline.contract import VideoRecord
from pipeline.files import write_atomically
from trainer.bundle import Bundle
from trainer.indicators import TAPS

MOST_VIDEOS = 50
"""Videos that are listed by name."""


def write_card(folder: Path, bundle: Bundle, records: Sequence[VideoRecord], config: Config) -> None:
    """Write README.md into the folder of a bundle. No date: the same training leaves the same bytes."""
    parts = (
        _head(bundle, records, config),
        _data(records, config),
        _settings(config),
        _losses(bundle),
        _worth(bundle),
        _use(bundle),
        _limits(bundle, records),
        _provenance(bundle),
    )
    write_atomically(folder / "README.md", "\n".join(parts).encode())


def _head(bundle: Bundle, records: Sequence[VideoRecord], config: Config) -> str:
    size = f"{bundle.info.height} x {bundle.info.width}"
    return f"""# {config.dataset.name}: a model of normal video

Two 3D-convolutional autoencoders (frames and optical flow, {size} pixels){_also(bundle)},
after arXiv 2311.16514, trained by `stpa` on {len(records)} videos that show only normal behaviour.
It says frame by frame and region by region how abnormal new video of the same camera is.
"""


def _also(bundle: Bundle) -> str:
    also = {
        "a network that marks unusual motion": bundle.motion is not None,
        "a discriminator of frame features": bundle.discriminator is not None,
        "a memory of normal objects": bundle.objects is not None,
    }
    return "".join(f", {name}" for name, there in also.items() if there)


def _data(records: Sequence[VideoRecord], config: Config) -> str:
    frames = sum(record.num_frames for record in records)
    lines = [f"* `{_name(record)}`: {record.num_frames} frames, content `{record.digest[:16]}`" for record in records]
    more = [f"* and {len(lines) - MOST_VIDEOS} more"] if len(lines) > MOST_VIDEOS else []
    listed = "\n".join([*lines[:MOST_VIDEOS], *more])
    dataset = f"`{config.dataset.name}` ({config.dataset.kind})"
    text = f"Dataset {dataset}, training split: {frames} frames. No test video was looked at."
    return f"## Data\n\n{text}\n\n{listed}\n"


def _name(record: VideoRecord) -> str:
    return record.id.replace("`", "'")


def _settings(config: Config) -> str:
    sections = {name: getattr(config, name).determining() for name in ("frames", "flows", "masks", "inpaint", "train")}
    rows = [f"| {name}.{key} | {value} |" for name, section in sections.items() for key, value in section.items()]
    return "\n".join(["## Settings", "", "| setting | value |", "|---|---|", *rows, ""])


def _losses(bundle: Bundle) -> str:
    rows = [
        f"| {name} | {len(losses)} | {losses[0]:.5f} | {losses[-1]:.5f} |"
        for name, losses in bundle.info.losses.items()
        if losses
    ]
    errors: Mapping[str, Sequence[float]] = bundle.info.provenance.get("validation_errors", {})
    best = [
        f"* {name}: error on validation videos {min(found):.5f} after epoch {1 + found.index(min(found))} of {len(found)}"
        for name, found in errors.items()
    ]
    chosen = "the epoch with the least error on validation videos" if errors else "the last epoch; nothing was selected"
    head = ["## Training", "", f"The result is that of {chosen}.", "", "| network | epochs | first loss | last loss |"]
    return "\n".join([*head, "|---|---|---|---|", *rows, *([""] if best else []), *best, ""])


def _worth(bundle: Bundle) -> str:
    rows = [
        f"| {name} | " + " | ".join(f"{bundle.calibration.separation[tap, name]:.3f}" for tap in TAPS) + " |"
        for name in bundle.indicators
        if all((tap, name) in bundle.calibration.separation for tap in TAPS)
    ]
    head = [
        "## What it tells apart",
        "",
        "AUC of normal training windows against the same ones made pseudo-anomalous (nan: not known). This is no result on",
        "real anomalies: `stpa eval` measures that.",
        "",
        "| indicator | " + " | ".join(f"{tap} frame of the window" for tap in TAPS) + " |",
        "|---|" + "---|" * len(TAPS),
    ]
    return "\n".join([*head, *rows, ""])


def _use(bundle: Bundle) -> str:
    marks = "" if bundle.motion is None else ",\n`motion.png` what is marked in normal and in made-up motion"
    return f"""## Intended use

```
stpa score VIDEO --model FOLDER -o scores
```

To point people at stretches of video of the same scene that are worth a look. Files: weights and statistics as safetensors
(nothing in them is executed), `bundle.json`, `inputs.json`; `spatial.png` and `temporal.png` show reconstructions{marks}.
"""


def _limits(bundle: Bundle, records: Sequence[VideoRecord]) -> str:
    fixed = "" if bundle.objects is None and not bundle.info.settings.place else (
        "* It has learnt what is normal *where*: another camera, or the same one moved, needs another training.\n"
    )
    return f"""## Limits

* Abnormal means unlike the {len(records)} training videos, which is not the same as dangerous, forbidden or wrong.
* What is rare but normal there was perhaps never seen, and raises scores; what was in them passes, whatever it is.
{fixed}* Light, weather, frame rate and compression unlike those of the training change scores.
* It is no ground for a decision about a person. Scores say nothing of who somebody is, and are not to be used for that.
"""


def _provenance(bundle: Bundle) -> str:
    lines = [f"* {name}: {value}" for name, value in bundle.info.provenance.items() if name != "validation_errors"]
    return "\n".join(["## Provenance", "", *lines, f"* seed: {bundle.info.settings.seed}", ""])
