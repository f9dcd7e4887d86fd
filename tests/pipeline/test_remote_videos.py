"""Datasets behind a URL: listed, fetched when decoded, and otherwise as if they lay on a disk."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec import AbstractFileSystem

from pipeline.config import load_config
from pipeline.contract import DataError
from pipeline.datasets import remote
from pipeline.datasets.remote import _date, fetch, is_listed, local_root
from pipeline.files import connect
from tests.pipeline.s3_server import new_bucket, use_s3
from tests.pipeline.upkeep import make_project, run, settings, space, verify, work_in, write_video


def upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            put(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def put(url: str, data: bytes) -> None:
    system, path = connect(url)
    system.pipe_file(path, data)


def drop(url: str) -> None:
    system, path = connect(url)
    for file in system.find(path):
        system.rm_file(file)


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Work in a project of two videos that lie behind a URL too, with a scratch folder of its own."""
    if request.param == "s3":
        use_s3(monkeypatch)
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "scratch"))
    make_project(tmp_path)
    work_in(tmp_path, monkeypatch)
    where = f"{new_bucket()}/my videos" if request.param == "s3" else f"memory://{tmp_path.name}/videos"
    upload(tmp_path / "data", where)
    return where


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what is fetched."""
    found: list[str] = []
    real: Callable[..., Any] = remote._copy

    def counted(source: str, target: Path, date: int) -> None:
        found.append(source.rpartition("/")[2])
        real(source, target, date)

    monkeypatch.setattr(remote, "_copy", counted)
    return found


def behind(url: str, *more: str) -> tuple[str, ...]:
    return settings(f"dataset.root='{url}'", "run.cache='far'", *more)


def test_frames_are_the_same_as_those_of_files_on_a_disk(url: str) -> None:
    run("frames", *settings())
    run("frames", *behind(url))
    here, far = space(), space(f"dataset.root='{url}'", "run.cache='far'")
    assert [(r.split, r.id, r.digest, r.num_frames) for r in far.records] == [
        (r.split, r.id, r.digest, r.num_frames) for r in here.records
    ]
    assert far.key("frames") == here.key("frames")
    for file in here.artifact("frames").folder.glob("data/**/c/*/*/*/*"):
        assert (far.folder / file.relative_to(here.folder)).read_bytes() == file.read_bytes()
    assert "nothing to do" in run("frames", *behind(url)).stderr


def test_a_date_that_is_told_more_exactly_in_a_list_is_no_other_where_a_tag_tells_the_content() -> None:
    second = datetime(2026, 11, 30, 9, 0, 7, tzinfo=UTC)
    exact = second.replace(microsecond=123_000)
    assert _date({"LastModified": exact, "ETag": "a"}) == _date({"LastModified": second, "ETag": "a"})
    assert _date({"LastModified": exact, "ETag": "a"}) != _date({"LastModified": exact, "ETag": "b"})
    assert _date({"LastModified": exact}) != _date({"LastModified": second})


def test_what_is_known_is_fetched_no_more_on_any_machine(
    url: str, fetches: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("frames", *behind(url))
    assert len(fetches) == 80  # two videos of forty pictures, each picture once
    run("status", *behind(url))
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "another"))
    run("status", *behind(url))
    assert len(fetches) == 80


def test_a_video_that_is_added_replaced_or_removed_is_noticed(url: str, fetches: list[str]) -> None:
    run("frames", *behind(url))
    before = len(fetches)
    write_video(Path("other"), 7)
    upload(Path("other"), f"{url}/train/b")
    upload(Path("other"), f"{url}/train/c")
    drop(f"{url}/train/a")
    assert "made 6 shards" in run("frames", *behind(url)).stderr
    assert len(fetches) == before + 80
    assert [record.id for record in space(f"dataset.root='{url}'", "run.cache='far'").records] == ["b", "c"]


def test_a_video_replaced_after_it_was_listed_is_never_taken_for_what_it_was(url: str) -> None:
    run("frames", *behind(url, "dataset.name='first'"))
    before = space(f"dataset.root='{url}'", "run.cache='far'")
    shutil.rmtree(remote.scratch() / remote.FETCHED)
    image = before.records[0].video.files[0]
    put(f"{url}/train/a/{image.name}", (Path("data/train/b") / image.name).read_bytes())
    with pytest.raises(OSError, match="replaced since it was listed; run the command again"):
        fetch(image)
    run("frames", *behind(url))
    assert space(f"dataset.root='{url}'", "run.cache='far'").records[0].digest != before.records[0].digest


def test_several_processes_read_from_a_server_and_write_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch)
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "scratch"))
    make_project(tmp_path)
    work_in(tmp_path, monkeypatch)
    bucket = new_bucket()
    upload(tmp_path / "data", f"{bucket}/data")
    shutil.rmtree(tmp_path / "data")
    where = settings(f"dataset.root='{bucket}/data'", f"run.cache='{bucket}/cache'")
    run("frames", *where, "--workers", "2")
    assert "no findings" in run("verify", *where).stdout
    assert "nothing to do" in run("frames", *where).stderr


def test_a_worker_without_the_listing_fetches_by_the_name_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = local_root(url)
    path = root / "train" / "a" / "003.png"
    assert is_listed(path)
    assert path.stat().st_size == (tmp_path / "data" / "train" / "a" / "003.png").stat().st_size
    assert path.stat().st_blocks == 0
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "another"))
    shutil.rmtree(root)
    for _ in range(2):
        assert fetch(path).read_bytes() == (tmp_path / "data" / "train" / "a" / "003.png").read_bytes()
    assert str(fetch(path)).startswith(str(tmp_path / "another"))


def test_scratch_is_bounded_and_the_longest_unused_goes_first(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "IN_HAND", -1.0)
    size = (tmp_path / "data" / "train" / "a" / "000.png").stat().st_size
    monkeypatch.setenv("STPA_SCRATCH_GB", str(10.5 * size / 1e9))
    root = local_root(url)
    for number in range(40):
        fetch(root / "train" / "a" / f"{number:03d}.png")
        fetch(root / "train" / "a" / "000.png")
    kept = {path.name for path in (tmp_path / "scratch" / remote.FETCHED).rglob("*.png")}
    assert len(kept) <= 12
    assert {"000.png", "039.png"} <= kept


def test_what_cannot_be_fetched_is_a_problem_of_that_video_alone(url: str) -> None:
    local_root(url)
    run("frames", *behind(url))
    for receipt in Path("far/small").glob("frames-*/receipts/*"):
        receipt.unlink()
    shutil.rmtree(Path("scratch") / remote.FETCHED)
    root = local_root(url)
    drop(f"{url}/train/a")
    with pytest.raises(OSError, match="cannot be fetched from"):
        fetch(root / "train" / "a" / "003.png")
    assert verify() == []


def test_nothing_behind_a_url_is_said(url: str) -> None:
    assert "expected the files of a dataset, found none" in run("status", *behind(f"{url}/none"), code=3).stderr
    assert "a URL of a kind that fsspec knows" in run("status", *behind("nonsense://x/y"), code=2).stderr


def test_a_server_that_is_gone_ends_the_command(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch, "http://127.0.0.1:9")
    assert "cannot be listed" in run("status", *behind("s3://bucket/x"), code=1).stderr


@pytest.mark.parametrize("name", ["a/../../escape.png", "train//x.png", "x" * 300 + ".png", "train/a\0b.png"])
def test_names_in_a_store_lead_nowhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "deep" / "scratch"))
    store = f"/{tmp_path.name}"

    def find(self: AbstractFileSystem, path: str, detail: bool) -> dict[str, dict[str, Any]]:
        return {f"{store}/{name}": {"size": 3, "created": None}}

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", find)
    with pytest.raises(DataError, match=r"expected (names|a name) that a folder can have"):
        local_root(f"memory:/{store}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_on_a_disk_are_left_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert fetch(path) is path
    assert local_root(tmp_path) is tmp_path
    assert local_root(f"file://{tmp_path}") == tmp_path
    assert not is_listed(path)


def test_labels_and_checks_read_through_the_same_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("training", "testing")):
        write_video(tmp_path / "data" / split / "frames" / "01", seed)
    np.save(tmp_path / "data" / "frame_labels_data.npy", np.arange(40)[None] % 2)
    url = f"memory://{tmp_path.name}"
    upload(tmp_path / "data", url)
    for root in ("data", url):
        given = ("--set", f"dataset.root={root}", "--set", "dataset.kind=frames")
        run("data", "check", *given, "--deep")
        assert "40" in run("data", "check", *given).stdout
    config = load_config(None, [f"dataset.root={url}", "dataset.kind=frames"])
    from pipeline.datasets.registry import open_dataset

    dataset = open_dataset(config.dataset)
    (video,) = [video for video in dataset.videos() if video.split == "test"]
    labels = dataset.labels(video, 40)
    assert labels is not None
    assert labels.frame_T.tolist() == [False, True] * 20


def test_nothing_is_rendered_into_a_url() -> None:
    assert "expected a folder to write into" in run("data", "synth", "--set", "dataset.root=s3://bucket/x", code=2).stderr
