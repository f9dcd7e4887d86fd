"""Writing a synthetic dataset: real video files with complete labels, in the layout of ``pipeline.datasets.synthetic``.

Protocol, so that half a dataset is never taken for a whole one:

1. ``.writing.json`` says which settings are being written here.
2. Per video: labels, masks and tracks, then the video under a hidden name; it is decoded again and counted, then renamed.
   A video under its own name is therefore complete, and a second run goes on where the first one stopped.
3. ``dataset.json`` is written last, to a side name and renamed; ``.writing.json`` goes.

A dataset without ``dataset.json`` is refused by its reader. Nothing is deleted but files whose names follow from the
settings in one of the two JSON files, and only with ``force``.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from pipeline.config import ConfigError, SyntheticSettings
from pipeline.contract import DataError
from pipeline.synthetic.render import RenderedVideo, render_video
from pipeline.synthetic.settings import GENERATOR_VERSION, SPLITS, kinds_of_test_videos, video_count
from pipeline.synthetic.texture import ByteArray

CODEC = "mp4v"
"""MPEG-4 part 2: OpenCV brings the encoder along. About 35 dB against the rendered frames, as a cheap camera's."""

Job = tuple[SyntheticSettings, Path, str, int]


def write_dataset(
    settings: SyntheticSettings,
    root: Path,
    report: Callable[[str, float, float], None],
    *,
    force: bool = False,
    workers: int = 1,
) -> int:
    """Write the dataset of ``settings`` below ``root`` and return how many videos were written.

    A complete dataset of the same settings is left alone (0 is returned), an interrupted one is finished. The frames are
    the same for the same settings, whatever ``workers`` (processes) is; the files are, for the same version of OpenCV.

    Raises
    ------
    ConfigError
        A dataset of other settings lies there and ``force`` is not given.
    DataError
        Files lie in train/, test/ or labels/ that no synthetic dataset put there.
    OSError
        A file cannot be written, or a video cannot be read back in full, as on a full disk.
    """
    wanted = _header(settings)
    found = _read_header(root / "dataset.json")
    if found is not None and _same(found, wanted) and not force and not _missing(settings, root):
        return 0
    _clear_the_way(root, wanted, found, force=force)
    _write_json(root / ".writing.json", wanted)
    jobs: list[Job] = [
        (settings, root, split, index) for split in SPLITS for index in range(video_count(settings, split))
    ]
    todo = [job for job in jobs if not video_file(job[1], job[2], job[3]).exists()]
    for done, _ in enumerate(_run(todo, workers), start=1):
        report("synthetic videos", done, len(todo))
    _write_json(root / "dataset.json", {**wanted, "videos": _describe(settings, root)})
    (root / ".writing.json").unlink()
    return len(todo)


def video_id(split: str, index: int) -> str:
    """Return the name of a video, unique over both splits."""
    return f"{split}-{index:03d}"


def video_file(root: Path, split: str, index: int) -> Path:
    """Return where a video lies."""
    return root / split / f"{video_id(split, index)}.mp4"


def label_files(root: Path, index: int) -> dict[str, Path]:
    """Return where the labels of a test video lie: ``frames``, ``masks`` and ``tracks``."""
    name, labels = video_id("test", index), root / "labels"
    return {
        "frames": labels / "frames" / f"{name}.npy",
        "masks": labels / "masks" / f"{name}.npz",
        "tracks": labels / "tracks" / f"{name}.txt",
    }


def _files(settings: SyntheticSettings, root: Path) -> Iterator[Path]:
    for split in SPLITS:
        yield from (video_file(root, split, index) for index in range(video_count(settings, split)))
    for index in range(settings.test_videos):
        yield from label_files(root, index).values()


def _missing(settings: SyntheticSettings, root: Path) -> list[Path]:
    return [path for path in _files(settings, root) if not path.is_file()]


def _header(settings: SyntheticSettings) -> dict[str, Any]:
    return {
        "kind": "synthetic",
        "generator_version": GENERATOR_VERSION,
        "codec": CODEC,
        "opencv": cv2.__version__,
        "settings": settings.model_dump(mode="json"),
    }


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Another version of OpenCV is no reason to write again: what lies there is still what its header says."""
    return all(found.get(name) == wanted[name] for name in ("kind", "generator_version", "codec", "settings"))


def _read_header(path: Path) -> dict[str, Any] | None:
    """Return what a dataset says of itself, None where there is no such file.

    Raises
    ------
    DataError
        The file is not one that :func:`write_dataset` wrote: it is left alone.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: expected JSON of a synthetic dataset, found: {error}; move it away") from error
    if not isinstance(found, dict) or found.get("kind") != "synthetic":
        raise DataError(f"{path}: expected JSON of a synthetic dataset, found something else; move it away")
    return found


def _clear_the_way(root: Path, wanted: dict[str, Any], whole: dict[str, Any] | None, *, force: bool) -> None:
    """Remove an earlier dataset if that is asked for; refuse to write among the files of others."""
    begun = _read_header(root / ".writing.json")
    for earlier in (whole, begun):
        if earlier is not None and not _same(earlier, wanted) and not force:
            raise ConfigError(
                f"{root}: expected the synthetic dataset of these settings, found one that differs in "
                f"{_differences(earlier, wanted)}; choose another dataset.root, or overwrite it with --force"
            )
    ours = {path for earlier in (whole, begun) if earlier for path in _files_of(earlier, root)}
    foreign = [path for path in _present(root) if path not in ours and not path.name.startswith(".")]
    if foreign:
        raise DataError(
            f"{foreign[0]}: expected a folder for a synthetic dataset, found a file that it did not write; "
            "choose another dataset.root or move the file away"
        )
    if force:
        (root / "dataset.json").unlink(missing_ok=True)
        for path in ours:
            path.unlink(missing_ok=True)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    old, new = found.get("settings"), wanted["settings"]
    if not isinstance(old, dict) or old == new:
        return "the version of the generator"
    return ", ".join(f"{name} ({old.get(name)}, not {new[name]})" for name in new if old.get(name) != new[name])


def _files_of(header: dict[str, Any], root: Path) -> set[Path]:
    try:
        return set(_files(SyntheticSettings.model_validate(header.get("settings")), root))
    except ValidationError:
        return set()  # of another version: its files count as foreign, and are left alone


def _present(root: Path) -> Iterator[Path]:
    for name in (*SPLITS, "labels"):
        yield from sorted(path for path in (root / name).rglob("*") if not path.is_dir())


def _run(jobs: list[Job], workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) < 2:
        yield from map(_write_video, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        for future in as_completed([pool.submit(_write_video, job) for job in jobs]):
            yield future.result()


def _write_video(job: Job) -> None:
    settings, root, split, index = job
    video = render_video(settings, split, index)
    if split == "test":
        _write_labels(video, label_files(root, index))
    path = video_file(root, split, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(f".{path.name}")  # keeps the suffix, by which OpenCV chooses the container
    encode(side, video.frames_THWC, settings.fps)
    side.replace(path)


def _write_labels(video: RenderedVideo, files: dict[str, Path]) -> None:
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    np.save(files["frames"], video.labels_T)
    np.savez_compressed(
        files["masks"], mask_bits=np.packbits(video.mask_THW, axis=-1), shape=np.array(video.mask_THW.shape)
    )
    files["tracks"].write_text("".join(f"{','.join(map(str, row))}\n" for row in video.tracks), encoding="utf-8")


def encode(path: Path, frames_THWC: ByteArray, fps: int) -> None:
    """Write frames (T, H, W, 3) uint8 RGB as a video file and make sure that all of them can be read back.

    Raises
    ------
    OSError
        The file cannot be opened, or holds fewer frames afterwards: OpenCV's writer says nothing when a disk is full.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), float(fps), frames_THWC.shape[2:0:-1])
    if not writer.isOpened():
        raise OSError(f"{path}: expected to write a video with the codec {CODEC}, found that OpenCV cannot open it")
    for frame_HWC in frames_THWC:
        writer.write(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR))
    writer.release()
    found = _count_frames(path)
    if found != len(frames_THWC):
        raise OSError(f"{path}: expected {len(frames_THWC)} frames in it, found {found}; is the disk full?")


def _count_frames(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _describe(settings: SyntheticSettings, root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return id and kinds of every video: what a table of results by kind of anomaly needs."""
    kinds = kinds_of_test_videos(settings)
    tests = []
    for index, kind in enumerate(kinds):
        labels_T = np.load(label_files(root, index)["frames"])
        seen = [kind] if kind is not None and labels_T.any() else []
        tests.append({"id": video_id("test", index), "kinds": seen, "anomalous_frames": int(labels_T.sum())})
    return {"train": [{"id": video_id("train", i)} for i in range(settings.train_videos)], "test": tests}


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(f".{path.name}.side")
    side.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    side.replace(path)
