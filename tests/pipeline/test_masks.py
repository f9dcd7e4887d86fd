"""Masks cover one moving object at a time, keep to it, and do not depend on how the work is cut up."""

import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config import Config, ConfigError, FlowsSettings, FramesSettings, MasksSettings
from pipeline.contract import Array, Inputs, Shard, Video, VideoRecord
from pipeline.datasets.reader import resize_frames, to_grey
from pipeline.models.flow import open_flow_estimator
from pipeline.models.foreground import foreground, learn_background
from pipeline.models.object_choice import ObjectMasks, random_masks
from pipeline.models.random_masks import moving_mask, stretches
from pipeline.models.silhouettes import find_tracks, moving_objects
from pipeline.stages import masks as masks_module
from pipeline.stages.masks import MasksStage, blocks
from pipeline.synthetic import SyntheticSettings, render_video
from pipeline.synthetic.render import compose
from pipeline.synthetic.scene import make_scene

HEIGHT, WIDTH = 96, 128
SETTINGS = MasksSettings(dilate=0)
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Walker:
    """A block of 8 x 16 pixels that moves at a steady speed; it exists from frame ``since`` to ``until``."""

    x: float
    y: int
    speed: float
    colour: tuple[int, int, int] = (200, 60, 40)
    since: int = 0
    until: int = 10**6
    size: tuple[int, int] = (16, 8)

    def mask(self, frame: int) -> Bools:
        mask_HW = np.zeros((HEIGHT, WIDTH), np.bool_)
        left = round(self.x + self.speed * (frame - self.since))
        if self.since <= frame < self.until and left + self.size[1] > 0:
            mask_HW[self.y : self.y + self.size[0], max(left, 0) : left + self.size[1]] = True
        return mask_HW


@dataclass(frozen=True)
class Film:
    """Frames of a fixed camera, with noise and slow changes of light, and the walkers that are truly in them."""

    frames_THWC: NDArray[np.uint8]
    flow_T2HW: NDArray[np.float16]
    owner_THW: NDArray[np.int64]
    """Number of the walker that a pixel shows, -1 = none."""

    def objects(self, settings: MasksSettings = SETTINGS, seed: int = 0) -> tuple[Bools, NDArray[np.int32]]:
        return painted(moving_objects(*self.readers(), len(self.frames_THWC), settings, np.random.default_rng(seed)))

    def readers(self) -> tuple[Any, Any]:
        def read_frames(start: int, stop: int) -> Array:
            assert 0 <= start < stop <= min(len(self.frames_THWC), start + 128), (
                "more at once than memory is meant to hold"
            )
            return self.frames_THWC[start:stop]

        def read_flow(start: int, stop: int) -> Array:
            assert 0 <= start <= stop <= min(len(self.flow_T2HW), start + 129)
            return self.flow_T2HW[start:stop]

        return read_frames, read_flow


def painted(masks: ObjectMasks) -> tuple[Bools, NDArray[np.int32]]:
    """Return mask and object of all frames."""
    return masks.paint(0, len(masks.object_T)), masks.object_T


def film(walkers: Sequence[Walker], frames: int = 80) -> Film:
    rng = np.random.default_rng(5)
    street_HWC = cv2.GaussianBlur(rng.uniform(60, 200, (HEIGHT, WIDTH, 3)), (0, 0), 2)
    frames_THWC = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    flow_T2HW = np.zeros((frames - 1, 2, HEIGHT, WIDTH), np.float16)
    owner_THW = np.full((frames, HEIGHT, WIDTH), -1)
    for frame in range(frames):
        picture_HWC = street_HWC * (1 + 0.06 * np.sin(frame / 25))
        for number, walker in enumerate(walkers):
            mask_HW = walker.mask(frame)
            picture_HWC[mask_HW] = walker.colour
            owner_THW[frame][mask_HW] = number
            if frame < frames - 1:
                flow_T2HW[frame, 0][mask_HW] = walker.speed
        frames_THWC[frame] = np.clip(picture_HWC + rng.normal(0, 2, picture_HWC.shape), 0, 255)
    return Film(frames_THWC, flow_T2HW, owner_THW)


THREE = (Walker(-4, 20, 1.0), Walker(100, 45, -0.8, (30, 40, 60)), Walker(10, 70, 0.6, (90, 200, 90)))


@pytest.fixture(scope="module")
def street() -> Film:
    return film(THREE, frames=110)


def lengths(object_T: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return (object, number of frames) of each stretch of one object."""
    borders = [0, *(np.flatnonzero(np.diff(object_T)) + 1), len(object_T)]
    return [(int(object_T[a]), int(b - a)) for a, b in pairwise(borders)]


# ---- silhouettes


def test_a_silhouette_covers_one_walker_wholly_and_little_else(street: Film) -> None:
    mask_THW, object_T = street.objects()
    assert (object_T >= 0).all()
    for mask_HW, owner_HW in zip(mask_THW, street.owner_THW, strict=True):
        owners = np.unique(owner_HW[mask_HW & (owner_HW >= 0)])
        assert len(owners) == 1
        walker_HW = owner_HW == owners[0]
        assert (mask_HW & walker_HW).sum() >= 0.95 * walker_HW.sum()
        assert (mask_HW & walker_HW).sum() >= 0.6 * (mask_HW | walker_HW).sum()


def test_an_object_is_the_same_walker_throughout_and_is_kept_for_a_clip(street: Film) -> None:
    mask_THW, object_T = street.objects()
    for number in np.unique(object_T):
        seen = street.owner_THW[object_T == number][mask_THW[object_T == number]]
        assert len(np.unique(seen[seen >= 0])) == 1
    assert min(count for _, count in lengths(object_T)) >= SETTINGS.hold


def test_over_a_video_every_walker_gets_a_turn(street: Film) -> None:
    mask_THW, _ = street.objects()
    assert set(np.unique(street.owner_THW[mask_THW])) >= {0, 1, 2}


def test_silhouettes_are_steady_from_frame_to_frame(street: Film) -> None:
    mask_THW, object_T = street.objects()
    areas_T = mask_THW.sum(axis=(1, 2))
    same = object_T[1:] == object_T[:-1]
    assert (np.abs(np.diff(areas_T))[same] <= 0.25 * areas_T[1:][same]).mean() > 0.95


def test_dilation_grows_a_silhouette_by_so_many_pixels(street: Film) -> None:
    plain_THW, grown_THW = street.objects()[0], street.objects(MasksSettings(dilate=2))[0]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for plain_HW, grown_HW in zip(plain_THW[::10], grown_THW[::10], strict=True):
        np.testing.assert_array_equal(grown_HW, cv2.dilate(plain_HW.astype(np.uint8), kernel) > 0)


def test_what_stands_still_is_never_taken(street: Film) -> None:
    left_behind = Walker(60, 10, 0.0, (250, 250, 250), since=60)  # was not there before, so it differs from the scene
    scene = film((*THREE[1:], left_behind), frames=110)
    mask_THW, _ = scene.objects()
    assert not (mask_THW & (scene.owner_THW == 2)).any()


def test_two_that_pass_each_other_keep_their_numbers() -> None:
    scene = film((Walker(10, 40, 1.0), Walker(100, 44, -1.0, (30, 40, 60))), frames=90)
    tracks = [track for track in find_tracks(*scene.readers(), 90, 0.001) if track.stop - track.first > 60]
    assert len(tracks) == 2
    ways = sorted(track.centres[-1][0] - track.centres[0][0] for track in tracks)
    assert ways[0] < -60
    assert ways[1] > 60


def test_what_comes_into_view_in_parts_becomes_one_object() -> None:
    head, legs = Walker(20, 20, 1.0, size=(8, 8)), Walker(20, 36, 1.0, (30, 60, 160), size=(12, 8))
    trunk = Walker(28, 28, 1.0, (90, 30, 90), since=8, size=(8, 8))
    scene = film((head, legs, trunk), frames=60)
    mask_THW, object_T = scene.objects()
    assert len(np.unique(object_T[12:])) == 1
    walker_THW = scene.owner_THW[12:] >= 0
    assert (mask_THW[12:] & walker_THW).sum() > 0.95 * walker_THW.sum()


def test_a_silhouette_is_closed_between_the_legs() -> None:
    left, right = Walker(0, 44, 0.8, size=(14, 4)), Walker(7, 44, 0.8, size=(14, 4))
    trunk = Walker(0, 30, 0.8, size=(14, 11))
    mask_THW, object_T = film((trunk, left, right), frames=80).objects()
    between = [mask_THW[t, 46:52, round(0.8 * t) + 4 : round(0.8 * t) + 7] for t in range(10, 70)]
    assert (object_T >= 0).all()
    assert np.mean(between) > 0.9


def test_a_change_of_light_is_no_object_and_hides_none() -> None:
    scene = film((), frames=40)
    background = learn_background(scene.frames_THWC)
    slope_W1 = np.linspace(0.85, 1.2, WIDTH)[:, None]  # a cloud over one side of the street
    frame_HWC = scene.frames_THWC[20].astype(np.float64)
    frame_HWC[40:60, 60:70] += 30  # a pale coat
    found_HW = foreground((frame_HWC * slope_W1).astype(np.uint8), background)
    assert found_HW[42:58, 62:68].all()
    found_HW[38:62, 58:72] = False
    assert found_HW.mean() < 0.005


def test_a_pair_that_parts_becomes_two_objects() -> None:
    scene = film((Walker(20, 40, 0.5), Walker(24, 42, 1.2, (30, 40, 60))), frames=80)
    tracks = find_tracks(*scene.readers(), 80, 0.001)
    assert tracks[0].first == 0
    assert sum(track.stop == 80 for track in tracks) == 2


@pytest.mark.parametrize(("size", "taken"), [((3, 3), False), ((16, 8), True), ((36, 40), False)])
def test_only_objects_within_the_limits_of_area_are_taken(size: tuple[int, int], taken: bool) -> None:
    scene = film((Walker(-38, 30, 1.8, size=size), Walker(100, 75, -0.8, (30, 40, 60))), frames=90)
    mask_THW, _ = scene.objects()
    wholly_in_view = slice(24, 70)
    shown_T = (mask_THW & (scene.owner_THW == 0)).any(axis=(1, 2))
    assert shown_T[wholly_in_view].any() == taken


def test_grey_frames_give_the_same_as_three_equal_channels() -> None:
    scene = film(THREE, frames=40)
    grey_THW1 = to_grey(scene.frames_THWC)[..., None]
    one = Film(grey_THW1, scene.flow_T2HW, scene.owner_THW).objects()
    three = Film(np.repeat(grey_THW1, 3, axis=-1), scene.flow_T2HW, scene.owner_THW).objects()
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])
    assert (one[1] >= 0).all()


def test_a_shadow_is_no_object_in_colour() -> None:
    scene = film((), frames=40)
    background = learn_background(scene.frames_THWC)
    frame_HWC = scene.frames_THWC[20].astype(np.float32)
    frame_HWC[30:60, 40:60] *= 0.7  # a shadow
    frame_HWC[30:60, 80:90] = (150, 40, 40)  # a coat
    found_HW = foreground(frame_HWC.astype(np.uint8), background)
    assert found_HW[32:58, 82:88].all()
    assert found_HW[30:60, 40:60].mean() < 0.02


def test_where_nothing_moves_random_masks_take_their_place() -> None:
    mask_THW, object_T = film((), frames=50).objects()
    assert (object_T >= 0).all()
    assert mask_THW.any(axis=(1, 2)).all()
    assert min(count for _, count in lengths(object_T)) >= SETTINGS.hold


def test_a_short_gap_holds_no_mask_and_a_long_one_a_random_mask() -> None:
    first, short, long = (
        Walker(10, 40, 1, until=35),
        Walker(10, 40, 1, since=42, until=80),
        Walker(10, 40, 1, since=120),
    )
    mask_THW, object_T = film((first, short, long), frames=160).objects()
    assert (object_T[36:41] == -1).all()
    assert not mask_THW[object_T == -1].any()
    assert (object_T[82:119] >= 0).all()
    assert not set(object_T[82:119]) & {*object_T[:80], *object_T[121:]}


def test_the_seed_decides_which_object_is_taken(street: Film) -> None:
    first, again, other = street.objects(), street.objects(), street.objects(seed=2)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


def test_a_single_frame_is_no_mistake() -> None:
    one = film(THREE, frames=2)
    mask_THW, object_T = Film(one.frames_THWC[:1], one.flow_T2HW[:0], one.owner_THW[:1]).objects()
    assert mask_THW.shape == (1, HEIGHT, WIDTH)
    assert object_T.tolist() == [0]


def test_on_the_synthetic_street_silhouettes_are_those_of_walkers() -> None:
    settings = SyntheticSettings(seed=0, frames=100)
    video, scene = render_video(settings, "train", 1), make_scene(0, settings.height, settings.width)
    frames_THWC = resize_frames(video.frames_THWC, 128, 160)
    flow_T2HW = open_flow_estimator(FlowsSettings(estimator="dis"))(frames_THWC).astype(np.float16)
    light_HWC = np.ones((settings.height, settings.width, 3), np.float32)
    owners = [
        cv2.resize(compose(scene, video.actors, t, light_HWC)[1], (160, 128), interpolation=cv2.INTER_NEAREST)
        for t in range(100)
    ]
    mask_THW, object_T = Film(frames_THWC, flow_T2HW, np.stack(owners).astype(np.int64)).objects()
    assert (object_T >= 0).all()
    overlaps, covers = [], []
    for mask_HW, owner_HW in zip(mask_THW, owners, strict=True):
        inside = owner_HW[mask_HW & (owner_HW >= 0)]
        walker_HW = owner_HW == (np.bincount(inside).argmax() if inside.size else -2)
        overlaps.append((mask_HW & walker_HW).sum() / (mask_HW | walker_HW).sum())
        covers.append((mask_HW & walker_HW).sum() / max(1, walker_HW.sum()))
    assert np.median(overlaps) > 0.5
    assert np.mean(covers) > 0.85


# ---- random masks


def test_random_masks_stay_within_the_limits_and_move_smoothly() -> None:
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(30):
        mask_THW = moving_mask(rng, 16, HEIGHT, WIDTH, min_area=0.01, max_area=0.08)
        areas_T = mask_THW.mean(axis=(1, 2))
        assert areas_T.min() >= 0.01
        assert areas_T.max() <= 0.08
        assert all(moved_a_little(before, after) for before, after in pairwise(mask_THW))
        shapes.append(mask_THW[0])
    filled = [shape.sum() / (np.ptp(np.argwhere(shape), axis=0) + 1).prod() for shape in shapes]
    assert min(filled) < 0.7  # strokes
    assert max(filled) == 1  # boxes


def moved_a_little(before_HW: Bools, after_HW: Bools) -> bool:
    """Say whether the one is the other moved by at most 2 pixels, as far as that can be told inside the frame."""
    inside = after_HW[2:-2, 2:-2]
    return any(
        np.array_equal(inside, before_HW[2 + row : HEIGHT - 2 + row, 2 + column : WIDTH - 2 + column])
        for row in range(-2, 3)
        for column in range(-2, 3)
    )


def test_limits_too_close_together_for_chance_still_give_a_mask() -> None:
    mask_THW = moving_mask(np.random.default_rng(0), 4, HEIGHT, WIDTH, min_area=0.0401, max_area=0.0402)
    assert 0.03 < mask_THW.mean() < 0.05


def test_a_random_mask_is_held_for_a_clip_and_then_changes() -> None:
    shape, rng = (HEIGHT, WIDTH), np.random.default_rng(1)
    mask_THW, object_T = painted(ObjectMasks(70, shape, random_masks(70, shape, SETTINGS, rng)))
    assert [count for _, count in lengths(object_T)] == [17, 18, 17, 18]
    assert mask_THW.any(axis=(1, 2)).all()
    assert (mask_THW[16] != mask_THW[17]).mean() > 0.01


def test_stretches_cover_everything_and_none_is_short() -> None:
    for frames in range(1, 200):
        parts = stretches(3, 3 + frames, 16)
        assert (parts[0][0], parts[-1][1]) == (3, 3 + frames)
        assert all(a[1] == b[0] for a, b in pairwise(parts))
        assert all(16 <= stop - start < 32 for start, stop in parts) or len(parts) == 1


# ---- the stage


class Shelf:
    """Upstream arrays in memory."""

    def __init__(self, scene: Film) -> None:
        self._arrays: dict[str, Array] = {"frames": scene.frames_THWC, "flow": scene.flow_T2HW}

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        assert (stage, name) in {("frames", "frames"), ("flows", "flow")}
        return self._arrays[name][start:stop]


def record(frames: int, name: str = "a") -> VideoRecord:
    video = Video(id=name, split="train", files=(Path(name),))
    return VideoRecord(video=video, num_frames=frames, height=HEIGHT, width=WIDTH, fps=25, digest="0")


def make(
    scene: Film, shard_frames: int, *, source: str = "motion", name: str = "a", backwards: bool = False
) -> list[Array]:
    """Return mask and object of a whole video, made by one worker in shards."""
    config = Config(frames=FramesSettings(height=HEIGHT, width=WIDTH), masks=MasksSettings(source=source))
    frames, worker = len(scene.frames_THWC), MasksStage(config).worker()
    starts = range(0, frames, shard_frames)
    parts = {}
    for index, start in reversed(list(enumerate(starts))) if backwards else enumerate(starts):
        shard = Shard(record=record(frames, name), index=index, start=start, stop=min(start + shard_frames, frames))
        parts[index] = worker(shard, cast(Inputs, Shelf(scene)))
    return [np.concatenate([parts[index][key] for index in sorted(parts)]) for key in ("mask", "object")]


@pytest.mark.parametrize("source", ["motion", "random"])
def test_where_shards_end_changes_nothing(street: Film, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks_module, "BLOCK_FRAMES", 60)  # two blocks
    whole = make(street, 110, source=source)
    for cut in (make(street, 16, source=source), make(street, 33, source=source, backwards=True)):
        np.testing.assert_array_equal(whole[0], cut[0])
        np.testing.assert_array_equal(whole[1], cut[1])
    assert not set(whole[1][:55]) & set(whole[1][55:])  # blocks number their objects apart


def test_arrays_are_what_the_stage_declares(street: Film) -> None:
    config = Config(frames=FramesSettings(height=HEIGHT, width=WIDTH))
    declared = {spec.name: spec for spec in MasksStage(config).arrays(record(110))}
    for name, values in zip(("mask", "object"), make(street, 110), strict=True):
        assert (values.shape, values.dtype) == (declared[name].shape, np.dtype(declared[name].dtype))


def test_the_masks_of_a_block_take_a_fraction_of_their_pixels() -> None:
    frames, shape = 600, (HEIGHT, WIDTH)
    tracemalloc.start()
    random = ObjectMasks(frames, shape, random_masks(frames, shape, SETTINGS, np.random.default_rng(0)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert random.paint(300, 316).any(axis=(1, 2)).all()
    assert kept < 0.2 * frames * HEIGHT * WIDTH
    assert peak < 0.3 * frames * HEIGHT * WIDTH


def test_another_video_of_the_same_content_gets_other_masks(street: Film) -> None:
    assert (make(street, 110, source="random")[0] != make(street, 110, source="random", name="b")[0]).any()


def test_blocks_are_of_about_equal_length_and_bounded() -> None:
    for frames in (1, 150, 1024, 1025, 5000, 300_000):
        parts = blocks(frames)
        sizes = [stop - start for start, stop in parts]
        assert sum(sizes) == frames
        assert max(sizes) <= masks_module.BLOCK_FRAMES
        assert max(sizes) - min(sizes) <= 1


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"masks\.source: expected one of motion, mask-rcnn, random, found 'segments'"):
        MasksStage(Config(masks=MasksSettings(source="segments"))).check()


def test_every_setting_of_the_section_determines_the_masks() -> None:
    plain = MasksStage(Config()).settings()
    changes = {"source": "random", "seed": 1, "min_area": 0.002, "max_area": 0.2, "dilate": 2, "hold": 20}
    assert set(plain) == set(changes)
    for name, value in changes.items():
        assert MasksStage(Config(masks=MasksSettings.model_validate({name: value}))).settings() != plain


def test_importing_the_stage_is_light() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'matplotlib', 'cv2'}"
    program = f"import sys; import pipeline.stages.masks; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
