"""Names of videos and datasets, whoever chose them, lead nowhere outside the cache."""

import os
from pathlib import Path

import pytest

import stpa
from pipeline.artifacts.plan import make_plan
from pipeline.config import ConfigError, load_config
from tests.pipeline.upkeep import SETTINGS, STAGES, files, run, settings, space, verify, write_video

NAMES = (
    " ..%2F..%2Fescape",
    " .. ",
    " ..\\..\\escape",
    "-rf",
    "train-a@0123456789ab",
    "a.00000-of-00001.json",
    "zarr.json",
    "caf\u00e9",
    "cafe\u0301",
    "\u202egnp.exe",
    "line\nbreak",
    "\udcff\udcfe",
    "x" * 200,
    "x" * 199 + "y",
    "$(touch escape)",
    "%2e%2e",
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    (folder / "s.toml").write_text(SETTINGS)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(stpa, "STAGES", [f"tests.pipeline.upkeep:{stage.__name__}" for stage in STAGES[:1]])
    return tmp_path


def outside(folder: Path) -> set[str]:
    """Return every file and link that lies neither in the cache nor in the data."""
    here = folder / "in" / "here"
    return {str(path) for path in folder.rglob("*") if not {here / "cache", here / "data"} & {path, *path.parents}}


def test_videos_of_any_name_stay_in_the_cache_and_apart(project: Path) -> None:
    for seed, name in enumerate(NAMES):
        write_video(Path(os.fsdecode(b"data/train/" + os.fsencode(name))), seed)
    before = outside(project)
    run("frames", *settings())
    assert verify() == []
    assert outside(project) == before
    workspace = space()
    assert len(workspace.records) == len(NAMES)
    artifact = workspace.artifact("frames")
    assert len(artifact.receipts()) == 3 * len(NAMES)
    assert len({path.parents[4] for path in artifact.folder.rglob("c/0/0/0/0")}) == len(NAMES)
    assert {path.parent for path in artifact.folder.rglob("*@*") if path.is_dir()} == {artifact.folder / "data"}
    assert all(name.isascii() and name.isprintable() for name in files(Path("cache")))
    run("gc", *settings(), "--yes")
    assert make_plan(workspace, "frames").complete


def test_links_among_the_videos_are_read_and_nothing_is_written_behind_them(project: Path) -> None:
    write_video(project / "elsewhere", 1)
    Path("data/train").mkdir(parents=True)
    Path("data/train/linked").symlink_to(project / "elsewhere")
    before = outside(project)
    run("frames", *settings())
    assert outside(project) == before
    assert make_plan(space(), "frames").complete


@pytest.mark.parametrize("name", ["..", ".", "../x", "/etc", "a/b", "", "a\n", "a\0", ".x", "-x", "\u00e9", "a\\b", "~"])
def test_a_dataset_is_never_called_like_a_way_out(name: str) -> None:
    text = "".join(f"\\u{ord(character):04x}" for character in name)
    with pytest.raises(ConfigError, match=r"dataset\.name"):
        load_config(None, [f'dataset.name="{text}"'])


@pytest.mark.parametrize("place", [".", "frames-*", "frames-*/receipts", "frames-*/data", "frames-*/data/*@*/frames"])
def test_nothing_is_written_behind_a_link_in_the_cache(project: Path, place: str) -> None:
    write_video(Path("data/train/a"), 1)
    run("frames", *settings())
    for receipt in Path("cache/small").glob("frames-*/receipts/*"):
        receipt.unlink()
    (link,) = Path("cache/small").glob(place) if place != "." else [Path("cache/small")]
    elsewhere = project / "elsewhere"
    link.rename(elsewhere)
    link.symlink_to(elsewhere)
    before = set(elsewhere.rglob("*")) | {elsewhere / ".locks"}
    result = run("frames", *settings(), code=1)
    assert f"{link}: expected a folder of the cache, found a symbolic link to {elsewhere}" in result.stderr
    assert set(elsewhere.rglob("*-*/**")) <= before
