"""Masks by Mask R-CNN are those of torchvision's model, of the wanted classes, and keep to an object that can be followed.

Weights are random: what a trained model finds is given in its place where it matters.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models._meta import _COCO_CATEGORIES
from torchvision.models.detection import (
    MaskRCNN,
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config, ConfigError, FramesSettings, MasksSettings, load_config
from pipeline.contract import Array, Inputs, Shard, Video, VideoRecord
from pipeline.models import mask_rcnn
from pipeline.models.coco import COCO
from pipeline.models.instances import Instance, follow_instances
from pipeline.models.mask_rcnn import MaskRcnn, check_mask_rcnn, load_mask_rcnn, open_mask_rcnn
from pipeline.models.mask_rcnn_weights import DEFAULT
from pipeline.models.object_choice import choose_masks
from pipeline.models.torch_hub import HUB
from pipeline.models.tracking import Silhouette, cut_out
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.masks import MasksStage
from pipeline.synthetic import SyntheticSettings, render_video
from pipeline.synthetic.render import compose
from pipeline.synthetic.scene import make_scene

HEIGHT, WIDTH = 64, 96
V1, V2 = "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def settings(path: Path, **changed: Any) -> MasksSettings:
    base = {"source": "mask-rcnn", "weights": str(path), "short_side": 64, "score": 0.0, "device": "cpu"}
    return MasksSettings.model_validate({**base, **changed})


class TinyBackbone(nn.Sequential):
    out_channels = 16


def tiny_model(settings: MasksSettings) -> MaskRCNN:
    """Return torchvision's class with narrow networks, random and sure of what they see, so that no two answers tie."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MaskRCNN(
            TinyBackbone(nn.Conv2d(3, 16, 7, 4, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1)),
            min_size=settings.short_side,
            max_size=2 * settings.short_side,
            rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),)),
            rpn_post_nms_top_n_test=40,
            box_detections_per_img=30,
            box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
            box_head=TwoMLPHead(16 * 49, 32),
            box_predictor=FastRCNNPredictor(32, mask_rcnn.CLASSES),
            box_score_thresh=settings.score,
            mask_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
            mask_head=MaskRCNNHeads(16, (16,), 1),
            mask_predictor=MaskRCNNPredictor(16, 16, mask_rcnn.CLASSES),
        )
        nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    return cast(MaskRCNN, model.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def tiny() -> MaskRCNN:
    return tiny_model(settings(Path(), score=0.0))


@pytest.fixture
def weights(tmp_path: Path, tiny: MaskRCNN, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file of the tiny model's weights, and let the stage build that model instead of one of 44 million weights."""
    monkeypatch.setattr(mask_rcnn, "_build", tiny_model)
    save_file(tiny.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def frames_THWC() -> Bytes:
    small = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), np.uint8)
    return np.stack([cv2.resize(frame_HWC, (WIDTH, HEIGHT)) for frame_HWC in small]).astype(np.uint8)


def by_torchvision(model: MaskRCNN, frames_THWC: Bytes, label: int) -> list[list[Bools]]:
    """Return the masks of one class that torchvision's model finds in one frame after another."""
    image_TCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        answers = [model([image_CHW])[0] for image_CHW in image_TCHW]
    found = [answer["masks"][answer["labels"] == label, 0].numpy() >= 0.5 for answer in answers]
    return [[mask_HW for mask_HW in mask_NHW if mask_HW.any()] for mask_NHW in found]


def most_frequent_class(model: MaskRCNN, frames_THWC: Bytes) -> str:
    with torch.inference_mode():
        labels = torch.cat([a["labels"] for a in model(list(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2) / 255))])
    counts = torch.bincount(labels, minlength=91).tolist()
    return max(COCO, key=lambda name: counts[COCO[name]])


# ---- the detector


@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_is_found_is_what_torchvisions_model_finds_in_one_frame_at_a_time(
    weights: Path, tiny: MaskRCNN, frames_THWC: Bytes, batch_size: int
) -> None:
    name = most_frequent_class(tiny, frames_THWC)
    detect = open_mask_rcnn(settings(weights, classes=(name,), batch_size=batch_size))
    expected = by_torchvision(tiny, frames_THWC, COCO[name])
    found = detect(frames_THWC)
    assert sum(map(len, expected)) >= 5
    for instances, masks in zip(found, expected, strict=True):
        assert {one.label for one in instances} <= {COCO[name]}
        assert len(instances) == len(masks)
        for one, mask_HW in zip(instances, masks, strict=True):
            assert (one.silhouette.paint((HEIGHT, WIDTH)) != mask_HW).mean() < 0.002  # a batch rounds differently


def test_other_classes_are_left_out(weights: Path, tiny: MaskRCNN, frames_THWC: Bytes) -> None:
    names = list(COCO)
    every = open_mask_rcnn(settings(weights, classes=names))(frames_THWC)
    first_half, second_half = (
        open_mask_rcnn(settings(weights, classes=part))(frames_THWC) for part in (names[:40], names[40:])
    )
    for all_of_them, some, others in zip(every, first_half, second_half, strict=True):
        assert len(all_of_them) == len(some) + len(others)
        assert all(one.label <= COCO[names[39]] for one in some)
        assert all(one.label > COCO[names[39]] for one in others)
    assert all(map(len, first_half))
    assert all(map(len, second_half))


def test_grey_frames_are_seen_as_three_equal_channels(weights: Path, frames_THWC: Bytes) -> None:
    detect = open_mask_rcnn(settings(weights, classes=list(COCO)))
    one, three = detect(frames_THWC[:2, ..., :1]), detect(np.repeat(frames_THWC[:2, ..., :1], 3, axis=-1))
    assert [len(found) for found in one] == [len(found) for found in three]
    for a, b in zip(one[0], three[0], strict=True):
        np.testing.assert_array_equal(a.silhouette.pixels_HW, b.silhouette.pixels_HW)


def test_what_it_is_less_sure_of_than_the_limit_is_left_out(weights: Path, tiny: MaskRCNN, frames_THWC: Bytes) -> None:
    image_CHW = torch.from_numpy(frames_THWC[0]).permute(2, 0, 1) / 255
    (answer,) = tiny([image_CHW])
    named_N = torch.isin(answer["labels"], torch.tensor(list(COCO.values())))
    score_N = answer["scores"][named_N & (answer["masks"] >= 0.5).flatten(1).any(1)]
    limit = float(score_N.median()) + 1e-4
    (found,) = open_mask_rcnn(settings(weights, classes=list(COCO), score=limit))(frames_THWC[:1])
    assert 0 < len(found) == (score_N > limit).sum() < len(score_N)


def test_half_precision_moves_the_masks_a_little(tiny: MaskRCNN, frames_THWC: Bytes) -> None:
    full, half = (
        MaskRcnn(tiny, labels=COCO.values(), batch_size=5, half=half)(frames_THWC) for half in (None, torch.bfloat16)
    )
    overlaps = []
    for before, after in zip(full, half, strict=True):
        painted = [one.silhouette.paint((HEIGHT, WIDTH)) for one in after]
        for one in before[:10]:  # the surest; of 100 random answers the last ones are noise
            mask_HW = one.silhouette.paint((HEIGHT, WIDTH))
            overlaps.append(max((mask_HW & other).sum() / (mask_HW | other).sum() for other in painted))
    assert np.median(overlaps) > 0.9
    assert np.min(overlaps) < 1  # it does compute in another way


@pytest.mark.parametrize("wrong", [np.zeros((3, 64, 64), np.uint8), np.zeros((3, 64, 64, 1), np.float32)])
def test_what_is_no_video_is_refused(tiny: MaskRCNN, wrong: Bytes) -> None:
    with pytest.raises(ValueError, match=r"expected frames \(T, H, W, 1 or 3\) uint8, found \(3, 64, 64"):
        MaskRcnn(tiny, labels=[1], batch_size=1)(wrong)


# ---- weights


def old_names(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the first model as torchvision's own file, written by an earlier version, names them."""
    for name, tensor in tensors.items():
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        for n in range(4):
            name = name.replace(f"mask_head.{n}.0.", f"mask_head.mask_fcn{n + 1}.")
            for kind in ("inner", "layer"):
                name = name.replace(f"fpn.{kind}_blocks.{n}.0.", f"fpn.{kind}_blocks.{n}.")
        if not name.endswith("num_batches_tracked"):
            yield name, tensor


def test_a_file_of_the_first_model_under_old_names_gives_what_torchvision_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    path = tmp_path / "old.pth"
    torch.save(dict(old_names(made.state_dict())), path)
    monkeypatch.setattr(  # torchvision's own way of loading its file, but for where the file comes from
        MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", lambda *_, **__: torch.load(path, weights_only=True)
    )
    limits = {"min_size": 64, "max_size": 107, "box_score_thresh": 0}
    theirs = maskrcnn_resnet50_fpn(weights=MaskRCNN_ResNet50_FPN_Weights.DEFAULT, **limits).eval()
    assert_same_model(load_mask_rcnn(settings(path, detector=V1), path), theirs)
    for refuse in (check_mask_rcnn, open_mask_rcnn):
        with pytest.raises(ConfigError, match=r"expected the weights of maskrcnn_resnet50_fpn_v2 under .*; set masks\.det"):
            refuse(settings(path, detector=V2))


def test_weights_of_the_second_model_are_loaded_as_torchvision_does(tmp_path: Path) -> None:
    theirs = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, min_size=64, max_size=107, box_score_thresh=0)
    path = tmp_path / "model.safetensors"
    save_file(theirs.state_dict(), path)
    assert_same_model(load_mask_rcnn(settings(path), path), theirs.eval())


def assert_same_model(ours: MaskRCNN, theirs: MaskRCNN) -> None:
    """Compare layers, with their constants, numbers, and what the answers are limited by."""
    assert repr(ours) == repr(theirs)
    assert not ours.training
    found, expected = ours.state_dict(), theirs.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):  # which counts training steps
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    assert vars(ours.roi_heads)["score_thresh"] == vars(theirs.roi_heads)["score_thresh"]
    for one, other in zip(ours.rpn.anchor_generator.cell_anchors, theirs.rpn.anchor_generator.cell_anchors, strict=True):
        torch.testing.assert_close(one, other)


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"weights": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="expected tensors as torchvision keeps them"):
        check_mask_rcnn(settings(tmp_path / "trap.pth"))
    assert not (tmp_path / "ran").exists()


def test_the_default_weights_are_those_of_torchvision() -> None:
    for name, default in ((V1, MaskRCNN_ResNet50_FPN_Weights), (V2, MaskRCNN_ResNet50_FPN_V2_Weights)):
        assert HUB + DEFAULT[name] == default.DEFAULT.url


def test_default_weights_that_are_missing_are_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stage = MasksStage(load_config(None, ["masks.source=mask-rcnn"]))
    with pytest.raises(FileNotFoundError, match=r"^masks\.weights: .*HF_HUB_OFFLINE.*curl -fL .*v2_coco-73cbd019\.pth$"):
        stage.check()
    assert stage.settings()["weights"] == DEFAULT[V2]  # the key is that of a machine that has them


# ---- classes


def test_the_classes_are_those_of_torchvision() -> None:
    assert len(COCO) == 80
    for name, number in COCO.items():
        assert _COCO_CATEGORIES[number] == name
    assert {"person", "bicycle", "skateboard"} < set(COCO)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("persn", "did you mean 'person'"), ("Bicycle", "did you mean 'bicycle'"), ("qq", "known are person, ")],
)
def test_an_unknown_class_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    stage = MasksStage(load_config(None, ["masks.source=mask-rcnn", f"masks.classes=['person', '{name}']"]))
    with pytest.raises(ConfigError, match=rf"masks\.classes: expected .* found '{name}'; {hint}"):
        stage.check()


# ---- following


def box(x: float, y: int = 20, *, size: tuple[int, int] = (16, 6)) -> Silhouette:
    mask_HW = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_HW[y : y + size[0], max(round(x), 0) : round(x) + size[1]] = True
    return cut_out(mask_HW)


def follow(*frames: list[Silhouette]) -> list[tuple[int, int, float]]:
    """Return (first frame, frame after the last, way to the right) of each object."""
    tracks = follow_instances([[Instance(1, one) for one in found] for found in frames], (HEIGHT, WIDTH))
    return [(track.first, track.stop, track.centres[-1][0] - track.centres[0][0]) for track in tracks]


def test_two_that_pass_each_other_stay_themselves_whichever_is_found_first() -> None:
    frames = [[box(10 + 2 * t), box(70 - 2 * t, 24)] for t in range(30)]
    frames = [found[::-1] if t % 3 else found for t, found in enumerate(frames)]
    assert sorted(follow(*frames)) == [(0, 30, -58), (0, 30, 58)]


def test_one_that_is_missed_for_a_few_frames_is_filled_in_on_its_way() -> None:
    frames = [[] if 10 <= t < 14 else [box(10 + 2 * t)] for t in range(20)]
    (track,) = follow_instances([[Instance(1, one) for one in found] for found in frames], (HEIGHT, WIDTH))
    assert (track.first, track.stop) == (0, 20)
    for t, (x, _) in enumerate(track.centres):
        assert x == pytest.approx(12.5 + 2 * t, abs=1)
    np.testing.assert_array_equal(track.silhouettes[12].paint((HEIGHT, WIDTH)), box(10 + 24).paint((HEIGHT, WIDTH)))


def test_one_that_is_missed_for_long_is_another_one() -> None:
    assert follow(*[[] if 10 <= t < 16 else [box(10)] for t in range(20)]) == [(0, 10, 0), (16, 20, 0)]


def test_a_fast_one_that_never_overlaps_itself_is_followed() -> None:
    assert follow(*[[box(2 + 7 * t)] for t in range(12)]) == [(0, 12, 77)]


def test_one_elsewhere_or_of_another_size_is_another_one() -> None:
    assert follow([box(10)], [box(60)]) == [(0, 1, 0), (1, 2, 0)]
    assert follow([box(10, 4)], [box(2, 2, size=(60, 30))]) == [(0, 1, 0), (1, 2, 0)]


def test_objects_of_two_classes_at_one_place_are_told_apart() -> None:
    frames = [[Instance(2, box(10 + t)), Instance(1, box(10 + t))] for t in range(8)]
    tracks = follow_instances([[], *frames], (HEIGHT, WIDTH))
    assert [(track.first, track.stop) for track in tracks] == [(1, 9), (1, 9)]


def test_frames_without_any_object_give_none() -> None:
    assert follow([], [], []) == []


# ---- the stage


class Shelf:
    """Frames whose first pixel is their number; flow is not there to be read."""

    def __init__(self, frames: int) -> None:
        self._frames_THWC = np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8)
        self._frames_THWC[:, 0, 0, 0] = np.arange(frames)

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        assert (stage, name) == ("frames", "frames")
        return self._frames_THWC[start:stop]


Scene = Callable[[int], list[tuple[str, float, Silhouette]]]
"""Number of a frame -> class, score and pixels of what a trained model would find."""


def street(frame: int) -> list[tuple[str, float, Silhouette]]:
    """Show a walker that is missed at times, someone who stands, a car, a large one and an unlikely one."""
    walker = [("person", 0.9, box(5 + frame, 10))] if frame % 9 != 4 else []
    standing, far = ("person", 0.8, box(70, 30)), ("person", 0.97, box(2, 2, size=(1, 2)))
    return [("car", 0.99, box(40, 44)), *walker, standing, far, ("person", 0.3, box(20, 44))]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Let every Mask R-CNN answer what a scene holds, in the form of torchvision's answers."""

    def given(scene: Scene) -> None:
        def forward(model: MaskRCNN, images: list[Tensor], targets: None = None) -> list[dict[str, Tensor]]:
            return [answer(scene(round(float(image_CHW[0, 0, 0]) * 255)), model) for image_CHW in images]

        def answer(found: list[tuple[str, float, Silhouette]], model: Any) -> dict[str, Tensor]:
            kept = [one for one in found if one[1] > model.roi_heads.score_thresh]
            masks = [torch.from_numpy(one[2].paint((HEIGHT, WIDTH))).float()[None] * 0.9 for one in kept]
            labels = torch.tensor([COCO[one[0]] for one in kept])
            return {"labels": labels, "scores": torch.tensor([one[1] for one in kept]), "masks": torch.stack(masks)}

        monkeypatch.setattr(MaskRCNN, "forward", forward)

    return given


def record(frames: int) -> VideoRecord:
    video = Video(id="a", split="train", files=(Path("a"),))
    return VideoRecord(video=video, num_frames=frames, height=HEIGHT, width=WIDTH, fps=25, digest="0")


def make(weights: Path, frames: int, shard_frames: int, **changed: Any) -> tuple[Bools, NDArray[np.int32]]:
    """Return mask and object of a video, made in shards."""
    masks = settings(weights, score=0.5, dilate=0, **changed)
    worker = MasksStage(Config(frames=FramesSettings(height=HEIGHT, width=WIDTH), masks=masks)).worker()
    made = [
        worker(Shard(record=record(frames), index=i, start=start, stop=min(start + shard_frames, frames)), given)
        for given in [cast(Inputs, Shelf(frames))]
        for i, start in enumerate(range(0, frames, shard_frames))
    ]
    return (np.concatenate([part["mask"] for part in made]), np.concatenate([part["object"] for part in made]))


def test_a_mask_is_one_wanted_instance_kept_for_a_clip(trained: Callable[[Scene], None], weights: Path) -> None:
    trained(street)
    mask_THW, object_T = make(weights, 80, 16)
    assert (object_T >= 0).all()
    borders = [0, *(np.flatnonzero(np.diff(object_T)) + 1), 80]
    assert min(b - a for a, b in pairwise(borders)) >= 16
    shown = set()
    for t, mask_HW in enumerate(mask_THW):
        walker_HW, standing_HW = (one.paint((HEIGHT, WIDTH)) for one in (box(5 + t, 10), box(70, 30)))
        equal = [(mask_HW != one_HW).sum() <= 0.15 * one_HW.sum() for one_HW in (walker_HW, standing_HW)]
        assert any(equal), t
        shown.add(equal.index(True))
    assert shown == {0, 1}  # both get their turn, the car and the others never


def test_other_classes_are_masks_where_they_are_wanted(trained: Callable[[Scene], None], weights: Path) -> None:
    trained(street)
    mask_THW, object_T = make(weights, 40, 40, classes=("car",))
    car_HW = box(40, 44).paint((HEIGHT, WIDTH))
    assert len(set(object_T)) == 1
    assert all((mask_HW == car_HW).all() for mask_HW in mask_THW)


def test_where_shards_end_changes_nothing(trained: Callable[[Scene], None], weights: Path) -> None:
    trained(street)
    whole = make(weights, 80, 80)
    for cut in (make(weights, 80, 16), make(weights, 80, 33, batch_size=1)):
        np.testing.assert_array_equal(whole[0], cut[0])
        np.testing.assert_array_equal(whole[1], cut[1])


def test_where_nothing_is_found_random_masks_take_its_place(trained: Callable[[Scene], None], weights: Path) -> None:
    trained(lambda frame: [("car", 0.9, box(40))])
    mask_THW, object_T = make(weights, 40, 40)
    assert (object_T >= 0).all()
    assert mask_THW.any(axis=(1, 2)).all()
    assert not (mask_THW == box(40).paint((HEIGHT, WIDTH))).all(axis=(1, 2)).any()


# ---- keys


def stage_settings(*overrides: str) -> dict[str, Any]:
    return MasksStage(load_config(None, overrides)).settings()


def test_what_only_mask_rcnn_reads_is_in_no_key_of_other_masks(tmp_path: Path) -> None:
    changes = ["detector=maskrcnn_resnet50_fpn", "classes=['car']", "score=0.9", "short_side=400", "precision=fp32"]
    for source in ("motion", "random"):
        plain = stage_settings(f"masks.source={source}")
        assert plain == {"source": source, "seed": 0, "min_area": 0.001, "max_area": 0.1, "dilate": 1, "hold": 16}
        changed = [f"masks.{change}" for change in (*changes, "weights=elsewhere", "batch_size=1", "device=cpu")]
        assert stage_settings(f"masks.source={source}", *changed) == plain
    plain = stage_settings("masks.source=mask-rcnn")
    for change in changes:
        assert stage_settings("masks.source=mask-rcnn", f"masks.{change}") != plain
    assert stage_settings("masks.source=mask-rcnn", "masks.batch_size=1", "masks.device=cpu") == plain


def test_the_key_knows_the_content_of_weights_and_not_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"1")
    (tmp_path / "b.pth").write_bytes(b"1")
    (tmp_path / "c.pth").write_bytes(b"2")
    first, same, other, gone = (
        stage_settings("masks.source=mask-rcnn", f"masks.weights={tmp_path / name}")
        for name in ("a.safetensors", "b.pth", "c.pth", "d.pth")
    )
    assert first == same != other
    assert gone["weights"] == "missing"


@pytest.mark.parametrize(("source", "depends"), [("motion", True), ("mask-rcnn", False), ("random", False)])
def test_only_masks_of_moving_objects_depend_on_the_flow(source: str, depends: bool) -> None:
    keys = []
    for estimator in ("farneback", "dis"):
        config = load_config(None, [f"masks.source={source}", f"flows.estimator={estimator}"])
        workspace = Workspace(config, [FramesStage, FlowsStage, MasksStage], [])
        assert ("flows" in workspace.upstream_of("masks")) == depends
        keys.append(workspace.key("masks"))
    assert (keys[0] != keys[1]) == depends
    assert workspace.stages["masks"].costly == (source == "mask-rcnn")


def test_receipts_are_told_device_and_batch_size_where_a_network_ran() -> None:
    network = ["masks.source=mask-rcnn", "masks.device=cpu", "masks.batch_size=3", "flows.estimator=raft-small"]
    told = ["flows.device=cpu", "flows.batch_size=5"]
    assert MasksStage(load_config(None, network)).provenance() == {"device": "cpu", "batch_size": 3}
    assert FlowsStage(load_config(None, [*network, *told])).provenance() == {"device": "cpu", "batch_size": 5}
    assert MasksStage(Config()).provenance() == FlowsStage(Config()).provenance() == {}


def test_there_is_no_other_detector() -> None:
    assert set(DEFAULT) == {V1, V2}
    with pytest.raises(ConfigError, match=r"masks\.detector"):
        load_config(None, ["masks.detector=yolo"])
    assert len(_COCO_CATEGORIES) == mask_rcnn.CLASSES


def test_on_the_synthetic_street_masks_keep_to_one_walker_though_a_detector_misses_some() -> None:
    street = SyntheticSettings(seed=0, frames=60)
    video, scene = render_video(street, "train", 1), make_scene(0, street.height, street.width)
    light_HWC, rng = np.ones((street.height, street.width, 3), np.float32), np.random.default_rng(0)
    owners_THW = np.stack([compose(scene, video.actors, t, light_HWC)[1][::2, ::2] for t in range(street.frames)])
    shape, kernel = (street.height // 2, street.width // 2), np.ones((3, 3), np.uint8)
    seen = []
    for owner_HW in owners_THW:
        walkers = [(owner_HW == number).astype(np.uint8) for number in np.unique(owner_HW[owner_HW >= 0])]
        rough = [(cv2.dilate, cv2.erode)[int(rng.integers(2))](mask_HW, kernel) > 0 for mask_HW in walkers]
        seen.append([Instance(1, cut_out(mask_HW)) for mask_HW in rough if mask_HW.sum() > 20 and rng.random() > 0.15])
    tracks = follow_instances(seen, shape)
    masks = choose_masks(tracks, len(seen), shape, MasksSettings(dilate=0), np.random.default_rng(0), people=True)
    mask_THW = masks.paint(0, len(seen))
    assert (masks.object_T >= 0).mean() > 0.95
    for number in np.unique(masks.object_T[masks.object_T >= 0]):
        inside = owners_THW[masks.object_T == number][mask_THW[masks.object_T == number]]
        counts = np.bincount(inside[inside >= 0])
        assert counts.max() > 0.9 * counts.sum()  # the rest are those who pass behind
