"""Samples of the pseudo-anomalies that the autoencoders were shown, made again by the code that training uses."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.store import MissingShardError
from pipeline.config import CLIP_FRAMES, TrainSettings
from pipeline.contract import Array, DataError, Inputs, Labels, Report, Split, VideoRecord
from scoring.picture import evenly

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor

    from trainer.clips import TrainingData

MOST = 4
EXCERPT_FRAMES = 4 * CLIP_FRAMES
TRIES = 12  # clips per excerpt before one without an object is put up with
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One frame of a training clip and what was made of it; None = not part of this training, or not in this clip."""

    video: str
    frame: int
    normal_HWC: Picture = field(repr=False)
    mask_HW: NDArray[np.bool_] = field(repr=False)
    flow_2HW: NDArray[np.float32] = field(repr=False)
    """Pixels per frame, arriving in the frame."""
    spatial_HWC: Picture | None = field(repr=False)
    temporal_2HW: NDArray[np.float32] | None = field(repr=False)


class Excerpts:
    """The :class:`pipeline.contract.Inputs` of a few short pieces of training videos, as if they were whole ones."""

    def __init__(self, inputs: Inputs, first: dict[VideoRecord, int]) -> None:
        self._inputs = inputs
        self.first = {record.id: start for record, start in first.items()}
        self._whole = {record.id: record for record in first}

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        """Return the pieces as videos of their own."""
        whole = self._whole.values()
        return [replace(record, num_frames=min(EXCERPT_FRAMES, record.num_frames)) for record in whole]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        """Return elements of a piece; of flow, those between its frames."""
        whole, first = self._whole[record.id], self.first[record.id]
        length = record.num_frames - 1 if stage == "flows" else record.num_frames
        return self._inputs.read(stage, name, whole, first + start, first + (length if stop is None else stop))

    def labels(self, record: VideoRecord) -> Labels | None:
        """Return None: training videos have no labels."""
        return None

    def folder(self, stage: str) -> Path:
        """Return the complete folder that a stage left behind."""
        return self._inputs.folder(stage)


def make_samples(inputs: Inputs, settings: TrainSettings, report: Report, most: int = MOST) -> list[Sample] | str:
    """Return a sample of each of up to ``most`` training videos, at the size of stored frames, or why there is none."""
    try:
        excerpts = Excerpts(inputs, choose_excerpts(inputs, most))
        if not excerpts.first:
            return "There is no training video here."
        return _draw(excerpts, settings, report)
    except (MissingShardError, DataError) as error:
        return f"They cannot be shown: {error}"


def choose_excerpts(inputs: Inputs, most: int = MOST) -> dict[VideoRecord, int]:
    """Return first frames of pieces of evenly spaced training videos, where most frames hold an object."""
    records = [record for record in inputs.videos("train") if record.num_frames >= CLIP_FRAMES]
    found = {}
    for place in evenly(len(records), most) if records else []:
        has_object_T = inputs.read("masks", "object", records[place]) >= 0
        length = min(EXCERPT_FRAMES, records[place].num_frames)
        found[records[place]] = int(np.argmax(np.convolve(has_object_T, np.ones(length), "valid")))
    return found


def _draw(excerpts: Excerpts, settings: TrainSettings, report: Report) -> list[Sample]:
    import torch

    from trainer.clips import load_training_data

    records = excerpts.videos()
    channels = excerpts.read("frames", "frames", records[0], 0, 1).shape[-1]
    shown = settings.model_copy(update={"reduce": 1, "colour": "rgb" if channels == 3 else "grey"})
    data = load_training_data(excerpts, shown, torch.device("cpu"), report)
    offset_V = np.cumsum([0, *(record.num_frames for record in records)])
    return [
        _draw_one(excerpts, record, data, int(offset), shown)
        for record, offset in zip(records, offset_V[:-1], strict=True)
    ]


def _draw_one(
    excerpts: Excerpts, record: VideoRecord, data: "TrainingData", offset: int, settings: TrainSettings
) -> Sample:
    """Return the first clip drawn of which both pseudo-anomalies could be made, or else as many as could."""
    from trainer.pseudo_anomalies import make_pseudo_anomalies
    from trainer.seeds import Seed

    spatial, temporal = make_pseudo_anomalies(settings)
    seed = Seed(settings.seed, ("report", record.id))
    best: tuple[int, int, Tensor | None, Tensor | None] | None = None
    for start in seed.generator("clips").permutation(record.num_frames - CLIP_FRAMES + 1)[:TRIES]:
        alike = [seed.generator("pseudo-anomalies", int(start)) for _ in range(2)]  # for both to choose the same object
        frames = spatial(data, offset + int(start), alike[0]) if settings.p_s > 0 else None
        flow = temporal(data, offset + int(start), alike[1]) if settings.p_t > 0 else None
        made = (frames is not None) + (flow is not None)
        if best is None or made > best[0]:
            best = (made, int(start), frames, flow)
        if made == (settings.p_s > 0) + (settings.p_t > 0):
            break
    assert best is not None
    _, start, frames, flow = best
    chosen = offset + start + (k := _most_changed(data, offset + start, frames, flow))
    return Sample(
        video=record.id,
        frame=excerpts.first[record.id] + start + k,
        normal_HWC=data.frames_NHWC[chosen].numpy(),
        mask_HW=data.mask_NHW[chosen].numpy(),
        flow_2HW=_flow(data.flow_NHW2[chosen]),
        spatial_HWC=None if frames is None else frames[k].numpy(),
        temporal_2HW=None if flow is None else _flow(flow[k]),
    )


def _most_changed(data: "TrainingData", first: int, frames: "Tensor | None", flow: "Tensor | None") -> int:
    """Return the frame of a clip, 0..15, in which there is most to see of the pseudo-anomaly that is less visible."""
    clip = slice(first, first + CLIP_FRAMES)
    seen_T = data.mask_NHW[clip].flatten(1).any(1).numpy().astype(np.float64)
    shares = []
    for pseudo, normal in ((frames, data.frames_NHWC[clip]), (flow, data.flow_NHW2[clip])):
        if pseudo is not None:
            change_T = (pseudo.float() - normal.float()).abs().flatten(1).sum(1).numpy()
            shares.append(change_T / max(1e-9, float(change_T.max())))
    if shares:
        seen_T += np.min(shares, axis=0) + 0.1 * np.sum(shares, axis=0)  # they may have no frame in common
    return int(np.argmax(seen_T))


def _flow(flow_HW2: "Tensor") -> NDArray[np.float32]:
    return np.asarray(flow_HW2.float().permute(2, 0, 1).numpy())
