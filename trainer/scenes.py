"""The scenes of the training video, each with the objects that are normal in it, and which objects of new video are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Array, Inputs, Report, VideoRecord
from pipeline.models.foreground import (
    Background,
    Floats,
    changed_share,
    foreground,
    learn_background,
    merge_backgrounds,
)
from pipeline.models.objects import Objects, find_objects
from trainer.normalise import arriving_flow
from trainer.objects import FrameObjects, Memory, describe, remember
from trainer.seeds import Seed

BACKGROUND_FRAMES = 48
"""Frames of a video from which its empty scene is learnt."""
SAME_CAMERA = 0.25
"""Share of the frame that may differ between the empty scenes of two videos of one camera."""
READ_FRAMES = 256  # in memory at once
MEMORY = ("attribute_MD", "spread_D", "video_M", "whole_M")
PARTS = 4
"""A scene with a single video is judged quarter by quarter, each as if it had not been seen."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One camera: its empty scene, and the objects of normal video."""

    background: Background
    memory: Memory


@dataclass(frozen=True, kw_only=True)
class ObjectModel:
    """Judges every object of a video by those of the training video of the same camera."""

    scenes: tuple[Scene, ...]
    min_area: float
    """Share of the frame that an object covers at least."""

    def judge(self, frames_THWC: Array, flow_T2HW: Array) -> FrameObjects:
        """Find the objects of a stretch of video and say how unusual each is.

        Parameters
        ----------
        frames_THWC : (T, H, W, C) uint8.
        flow_T2HW : (T-1, 2, H, W) floating point, pixels per frame; ``flow[i]`` from frame i to i+1.
        """
        scene = self.scene_of(frames_THWC)
        objects = find_objects(frames_THWC, arriving(flow_T2HW), scene.background, self.min_area)
        attribute_ND = describe(objects, frames_THWC.shape[1])
        judged_N = scene.memory.size.shows_enough(attribute_ND, objects.whole_N)
        return FrameObjects(
            objects=objects.take(judged_N), score_N=scene.memory.score(attribute_ND[judged_N]), frames=len(frames_THWC)
        )

    def scene_of(self, frames_THWC: Array) -> Scene:
        """Return the scene whose background explains the stretch best, by its first, middle and last frame."""
        if len(self.scenes) == 1:
            return self.scenes[0]
        looked_at = frames_THWC[[0, len(frames_THWC) // 2, -1]]
        return min(
            self.scenes,
            key=lambda scene: sum(float(foreground(frame_HWC, scene.background).mean()) for frame_HWC in looked_at),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors, for objects.safetensors."""
        found = {"min_area": torch.tensor(self.min_area, dtype=torch.float64)}
        for number, scene in enumerate(self.scenes):
            arrays = vars(scene.background) | {name: getattr(scene.memory, name) for name in MEMORY}
            found |= {f"{number}.{name}": torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from :meth:`tensors`; KeyError if one is missing."""
        numbers = sorted({int(name.partition(".")[0]) for name in tensors if "." in name})
        scenes = []
        for number in numbers:
            array = {name: tensors[f"{number}.{name}"].numpy() for name in ("empty_CHW", "noise_CHW", *MEMORY)}
            background = Background(empty_CHW=array.pop("empty_CHW"), noise_CHW=array.pop("noise_CHW"))
            scenes.append(Scene(background=background, memory=Memory(**array)))
        return cls(scenes=tuple(scenes), min_area=float(tensors["min_area"]))


def arriving(flow_T2HW: Array) -> Array:
    """Return what :func:`trainer.normalise.arriving_flow` does in the order of the stored arrays, (T, 2, H, W)."""
    return arriving_flow(flow_T2HW).permute(0, 3, 1, 2).numpy()


@dataclass(frozen=True, kw_only=True)
class _VideoObjects:
    """The objects of one training video; ``part_N`` is what is left out when one of them is judged as if it were new."""

    objects: Objects
    attribute_ND: Floats
    part_N: NDArray[np.int64]
    frames: int


def learn_objects(inputs: Inputs, settings: TrainSettings, report: Report) -> tuple[ObjectModel, FrameObjects]:
    """Learn from the training split which objects are normal.

    Returns
    -------
    The model, and the objects of all training frames, the videos end to end, each judged as if its video were new.
    """
    records = inputs.videos("train")
    backgrounds = [_learn_background(inputs, record) for record in records]
    random = Seed(settings.seed).generator("objects")
    scenes: list[Scene] = []
    judged: dict[int, FrameObjects] = {}
    for members in by_camera(backgrounds):
        background = merge_backgrounds([backgrounds[video] for video in members])
        found: dict[int, _VideoObjects] = {}
        for video in members:
            report("objects of normal video", len(judged) + len(found), len(records))
            found[video] = _read_objects(inputs, records[video], background, settings.object_area, video, len(members))
        memory = remember(
            np.concatenate([one.attribute_ND for one in found.values()]),
            np.concatenate([one.objects.whole_N for one in found.values()]),
            np.concatenate([one.part_N for one in found.values()]),
            random,
        )
        scenes.append(Scene(background=background, memory=memory))
        judged |= {video: _judge_as_new(memory, one) for video, one in found.items()}
    report("objects of normal video", len(records), len(records))
    model = ObjectModel(scenes=tuple(scenes), min_area=settings.object_area)
    return model, FrameObjects.join([judged[video] for video in range(len(records))])


def by_camera(backgrounds: Sequence[Background]) -> list[list[int]]:
    """Return which videos look at the same scene: each with the first whose background is much like its own."""
    scenes: list[list[int]] = []
    for number, background in enumerate(backgrounds):
        for members in scenes:
            if changed_share(background, backgrounds[members[0]]) <= SAME_CAMERA:
                members.append(number)
                break
        else:
            scenes.append([number])
    return scenes


def _learn_background(inputs: Inputs, record: VideoRecord) -> Background:
    sample = np.unique(np.linspace(0, record.num_frames - 1, min(record.num_frames, BACKGROUND_FRAMES)).astype(int))
    return learn_background(np.concatenate([inputs.read("frames", "frames", record, i, i + 1) for i in sample.tolist()]))


def _read_objects(
    inputs: Inputs, record: VideoRecord, background: Background, min_area: float, video: int, videos: int
) -> _VideoObjects:
    pieces = []
    for start in range(0, record.num_frames, READ_FRAMES):
        stop = min(start + READ_FRAMES, record.num_frames)
        frames_THWC = inputs.read("frames", "frames", record, start, stop)
        flow_T2HW = inputs.read("flows", "flow", record, max(start - 1, 0), stop - 1)
        arriving_T2HW = flow_T2HW if start else arriving(flow_T2HW)
        pieces.append(find_objects(frames_THWC, arriving_T2HW, background, min_area).later(start))
    objects = Objects.join(pieces)
    part_N = np.full(len(objects), video) if videos > 1 else objects.frame_N * PARTS // record.num_frames
    return _VideoObjects(
        objects=objects,
        attribute_ND=describe(objects, background.empty_CHW.shape[1]),
        part_N=part_N.astype(np.int64),
        frames=record.num_frames,
    )


def _judge_as_new(memory: Memory, video: _VideoObjects) -> FrameObjects:
    """Return the objects of a training video; those that cannot be judged score 0."""
    judged_N = memory.size.shows_enough(video.attribute_ND, video.objects.whole_N)
    score_N = np.zeros(len(judged_N))
    for part in np.unique(video.part_N):
        own_N = judged_N & (video.part_N == part)
        score_N[own_N] = memory.score(video.attribute_ND[own_N], int(part))
    return FrameObjects(objects=video.objects, score_N=score_N, frames=video.frames)
