"""Makers of small datasets in exactly the published layouts, traps included."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from pipeline.contract import Labels, Split, Video
from pipeline.datasets.base import Dataset

HEIGHT, WIDTH = 24, 36
FRAMES = 20


def labels_of(dataset: Dataset, video_id: str, num_frames: int = FRAMES) -> Labels:
    """Return the labels of a test video, which has some."""
    video = next(video for video in dataset.videos() if video.split == "test" and video.id == video_id)
    labels = dataset.labels(video, num_frames)
    assert labels is not None
    return labels


def anomalous(labels: Labels) -> list[int]:
    """Return which frames are anomalous."""
    found: list[int] = np.flatnonzero(labels.frame_T).tolist()
    return found


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return a grey image that tells its number, up to 23: read it back with :func:`told`."""
    return np.full((height, width), 10 + 10 * (number % 24), np.uint8)


def told(frame_HWC: NDArray[Any]) -> int:
    """Return the number of a :func:`picture`, compression noise rounded away."""
    return round((float(frame_HWC.mean()) - 10) / 10)


def write_image(path: Path, image: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())  # cv2.imwrite crashes on names that are not UTF-8
    return path


def write_frames(folder: Path, pattern: str = "{:03d}.jpg", first: int = 0, count: int = FRAMES) -> Path:
    """Write pictures 0, 1, ... under the names ``pattern`` gives to ``first``, ``first + 1``, ..."""
    for i in range(count):
        write_image(folder / pattern.format(first + i), picture(i))
    return folder


def write_video(
    path: Path, count: int = FRAMES, codec: str = "mp4v", size: tuple[int, int] = (48, 64), fps: float = 25.0
) -> Path:
    """Write pictures 0, 1, ... as a video file of (height, width) ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size[::-1])
    assert writer.isOpened()
    for i in range(count):
        writer.write(cv2.cvtColor(picture(i, *size), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def write_uneven(path: Path, steps_ms: Sequence[int], size: tuple[int, int] = (48, 64)) -> Path:
    """Write pictures 0, 1, ... as an MP4 of variable frame rate: frame i + 1 follows ``steps_ms[i]`` after frame i.

    OpenCV writes constant rates only, so the table of durations (stts) is replaced behind its back, and the list of edits,
    which would cut the film off at its old end, is put out of effect.
    """
    data = write_video(path, len(steps_ms) + 1, size=size, fps=25).read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")  # so that no frame moves
    scale_at = data.index(b"mdhd") + 4 + 12  # version and flags, two dates
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    units = [step * scale // 1000 for step in (*steps_ms, 40)]
    entries = b"".join((1).to_bytes(4, "big") + unit.to_bytes(4, "big") for unit in units)
    start = data.index(b"stts") - 4
    old = int.from_bytes(data[start : start + 4], "big")
    table = (16 + len(entries)).to_bytes(4, "big") + b"stts" + bytes(4) + len(units).to_bytes(4, "big") + entries
    grown = bytearray(data[:start] + table + data[start + old :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = grown.index(box) - 4
        grown[at : at + 4] = (int.from_bytes(grown[at : at + 4], "big") + len(table) - old).to_bytes(4, "big")
    at = grown.index(b"edts")
    grown[at : at + 4] = b"free"
    path.write_bytes(grown)
    return path


def litter(folder: Path) -> None:
    """Leave behind what operating systems leave behind."""
    for name in (".DS_Store", "Thumbs.db", "._001.tif", "._000.jpg", "desktop.ini"):
        (folder / name).write_bytes(b"\0\0\0\1Bud1")


def folder_video(folder: Path, split: Split = "train") -> Video:
    return Video(id=folder.name, split=split, files=tuple(sorted(folder.iterdir())), is_folder=True)


def file_video(path: Path, split: Split = "train") -> Video:
    return Video(id=path.stem, split=split, files=(path,))


def mask_THW(anomalous: Iterable[int], count: int = FRAMES) -> NDArray[np.bool_]:
    """Return masks with a block of 4 x 5 pixels in the frames named."""
    mask = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    for frame in anomalous:
        mask[frame, 4:8, 3:8] = True
    return mask


def make_ucsd(
    root: Path,
    *,
    name: str = "UCSDped2",
    tests: Sequence[int] = (1, 2, 6),
    masked: Sequence[int] = (1, 2, 6),
    anomalous: Iterable[int] = range(5, 11),
) -> Path:
    """Write ``root/name`` as UCSD published it; ``masked`` are the test videos that have a ``_gt`` folder."""
    base = root / name
    for number in (1, 2):
        litter(write_frames(base / "Train" / f"Train{number:03d}", "{:03d}.tif", first=1))
    mask = mask_THW(anomalous) * np.uint8(255)
    for number in tests:
        litter(write_frames(base / "Test" / f"Test{number:03d}", "{:03d}.tif", first=1))
        if number in masked:
            prefix = "frame" if number in (6, 9, 12) else ""
            for i, mask_HW in enumerate(mask, start=1):
                write_image(base / "Test" / f"Test{number:03d}_gt" / f"{prefix}{i:03d}.bmp", mask_HW)
    litter(base / "Test")
    return base


def write_intervals(path: Path, lines: Iterable[str]) -> Path:
    """Write a file like ``UCSDped2.m``; ``lines`` are the insides of the brackets."""
    rows = "".join(f"TestVideoFile{{end+1}}.gt_frame = [{line}];\n" for line in lines)
    path.write_text(f"% ground truth, gt_frame = frames\nTestVideoFile = {{}};\n{rows}")
    return path


def make_frames_layout(
    root: Path, *, tests: Sequence[str] = ("01", "02"), counts: Sequence[int] = (FRAMES, FRAMES + 2), first: int = 0
) -> Path:
    """Write ``root`` with training/ and testing/, without labels."""
    for name in ("01", "02", "03"):
        litter(write_frames(root / "training" / "frames" / name, first=first))
    for name, count in zip(tests, counts, strict=True):
        write_frames(root / "testing" / "frames" / name, first=first, count=count)
        write_frames(root / "testing" / "frames" / f"{name}_gt", first=first, count=3)
    litter(root / "testing" / "frames")
    return root


def make_folder(root: Path) -> Path:
    """Write two training and three test videos, as files and as folders of frames, some nested."""
    write_video(root / "train" / "lobby.mp4")
    write_frames(root / "train" / "cam2" / "day", "img_{}.png", first=8)
    write_video(root / "test" / "night" / "gate.avi", codec="MJPG")
    write_frames(root / "test" / "night" / "yard", "{:05d}.jpg", first=1)
    write_video(root / "test" / "noon.mp4")
    litter(root / "train")
    return root


def write_masks(path: Path, masks: NDArray[np.bool_]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, mask_bits=np.packbits(masks, axis=-1), shape=np.array(masks.shape))
    return path


def write_labels(path: Path, anomalous: Iterable[int], count: int = FRAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(count, np.bool_)
    labels[list(anomalous)] = True
    np.save(path, labels)
    return path


def make_synthetic(root: Path) -> Path:
    """Write what ``stpa data synth`` writes, in the small."""
    size = (HEIGHT, WIDTH)
    write_video(root / "train" / "train-000.mp4", size=size)
    for name, anomalous in (("test-000", range(4, 9)), ("test-001", range(0))):
        write_video(root / "test" / f"{name}.mp4", size=size)
        write_labels(root / "labels" / "frames" / f"{name}.npy", anomalous)
        write_masks(root / "labels" / "masks" / f"{name}.npz", mask_THW(anomalous))
    listed = {"train": [{"id": "train-000"}], "test": [{"id": "test-000"}, {"id": "test-001"}]}
    (root / "dataset.json").write_text(json.dumps({"kind": "synthetic", "videos": listed}))
    return root


def make_avenue(root: Path, *, version: str = "5", anomalous: Iterable[int] = range(4, 9)) -> Path:
    """Write ``root`` with ``Avenue Dataset`` and ``ground_truth_demo`` beside it, as the two archives unpack."""
    base = root / "Avenue Dataset"
    for title in ("training_videos", "testing_videos"):
        for number in (1, 2):
            write_video(base / title / f"{number:02d}.avi", FRAMES, "MJPG", (HEIGHT, WIDTH))
    (base / "training_vol").mkdir()
    litter(base / "training_videos")
    masks = mask_THW(anomalous).astype(np.uint8)
    for number in (1, 2):
        path = root / "ground_truth_demo" / "testing_label_mask" / f"{number}_label.mat"
        write_mat(path, list(masks), version=version, name="volLabel")
    return base


def make_shanghaitech(root: Path, *, anomalous: Iterable[int] = range(4, 9)) -> Path:
    """Write ``root/shanghaitech`` as published: training videos, testing frames, two kinds of masks."""
    base = root / "shanghaitech"
    for name in ("01_001", "12_003"):
        write_video(base / "training" / "videos" / f"{name}.avi", FRAMES, "MJPG", (HEIGHT, WIDTH))
    masks = mask_THW(anomalous)
    for name in ("01_0014", "12_0142"):
        litter(write_frames(base / "testing" / "frames" / name))
        for kind, values in (("frame", masks.any(axis=(1, 2)).astype(np.int8)), ("pixel", masks)):
            path = base / "testing" / f"test_{kind}_mask" / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
    return base


UBNORMAL = {
    "normal_training": ("normal_scene_1_scenario_1", "normal_scene_1_scenario_2_fog"),
    "abnormal_training": ("abnormal_scene_1_scenario_3",),
    "normal_validation": ("normal_scene_2_scenario_1",),
    "abnormal_validation": ("abnormal_scene_2_scenario_2",),
    "normal_test": ("normal_scene_2_scenario_3",),
    "abnormal_test": ("abnormal_scene_2_scenario_4",),
}
"""Videos by the list that names them."""


def make_ubnormal(root: Path) -> Path:
    """Write scenes, annotations and the six lists, which end without a line break.

    In the abnormal test video object 7 is anomalous in frames 4 to 8, object 9 in frames 8 to 10; object 3 always is there.
    """
    (root / "scripts").mkdir(parents=True)
    for title, names in UBNORMAL.items():
        (root / "scripts" / f"{title}_video_names.txt").write_text("\n".join(names))
        for name in names:
            write_video(root / f"Scene{name.split('_')[2]}" / f"{name}.mp4", size=(HEIGHT, WIDTH))
    name = UBNORMAL["abnormal_test"][0]
    folder = root / "Scene2" / f"{name}_annotations"
    for frame in range(FRAMES):
        ids = np.zeros((HEIGHT, WIDTH), np.uint8)
        ids[4:8, 3:8], ids[10:12, 20:30], ids[20:22, 1:3] = 7, 9, 3
        write_image(folder / f"{name}_{frame:04d}_gt.png", ids)
    (folder / f"{name}_tracks.txt").write_text("7,4,8\n9,8,10")
    return root


def link_frames(folder: Path, count: int, seed: int, *, pattern: str = "{:03d}.jpg", size: tuple[int, int]) -> Path:
    """Fill a folder with many frames quickly: links to a few pictures of (height, width), in an order of its own."""
    suffix = pattern[pattern.rindex(".") :]
    store = folder.parents[2] / f".pictures-{size[0]}-{size[1]}"
    pictures = [store / f"{i}{suffix}" for i in range(16)]
    for i, path in enumerate(pictures):
        if not path.exists():
            write_image(path, picture(i, *size))
    folder.mkdir(parents=True)
    for frame, i in enumerate(np.random.default_rng(seed).integers(0, 16, count).tolist()):
        os.link(pictures[i], folder / pattern.format(frame))
    return folder


def write_mat(
    path: Path, per_video: Sequence[Any], *, version: str = "5", wrapped: bool = False, name: str = "gt"
) -> Path:
    """Write ``gt`` as MATLAB does: a 1 x N cell of one matrix per video; ``wrapped``: each in a further cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gt = cell(cell([np.array(entry)]) if wrapped else np.array(entry) for entry in per_video)
    if version == "5":
        scipy.io.savemat(path, {name: gt}, do_compression=True)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        _write_hdf5(file, name, gt)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    with path.open("r+b") as raw:
        raw.write(head)
    return path


def cell(values: Iterable[Any]) -> NDArray[Any]:
    """Return a MATLAB cell row."""
    listed = list(values)
    row = np.empty((1, len(listed)), object)
    row[0] = listed if len(listed) != 1 else None
    if len(listed) == 1:
        row[0, 0] = listed[0]
    return row


def _write_hdf5(file: Any, name: str, value: NDArray[Any]) -> None:
    """Format 7.3: axes in reverse, cells as references into #refs#, empty matrices as their size."""
    if value.dtype == object:
        names = [f"#refs#/{name.replace('/', '_')}_{i}" for i in range(value.size)]
        for entry, child in zip(value.reshape(-1), names, strict=True):
            _write_hdf5(file, child, entry)
        references = np.array([file[child].ref for child in names], h5py.ref_dtype).reshape(value.shape).T
        file.create_dataset(name, data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = b"cell"
    elif value.size == 0:
        file[name] = np.zeros(2, np.uint64)
        file[name].attrs["MATLAB_empty"] = np.uint8(1)
    else:
        file[name] = value.T.astype(float)
        file[name].attrs["MATLAB_class"] = b"double"
