"""``stpa status --why``: every cause in a line of its own."""

import json
import os
from pathlib import Path

import pytest

import stpa
from tests.pipeline.upkeep import STAGES, make_project, run, settings, write_video


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stpa, "STAGES", [f"tests.pipeline.upkeep:{stage.__name__}" for stage in STAGES])
    run("train", *settings())


def causes(stage: str, *overrides: str) -> list[str]:
    """Return the lines about a stage, and compare them with those for programs."""
    lines = run("status", *settings(*overrides), "--why").stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"{stage} "))
    texts = [lines[first].split("shards  ")[1]]
    for line in lines[first + 1 :]:
        if not line.startswith(" "):
            break
        texts.append(line.strip())
    rows = json.loads(run("status", *settings(*overrides), "--json").stdout)["stages"]
    row = next(row for row in rows if row["stage"] == stage)
    assert (row["causes"], row["why"]) == (texts, "; ".join(texts))
    return texts


def test_every_setting_that_changed_has_its_line_and_none_when_it_is_changed_back() -> None:
    assert causes("frames") == ["complete"]
    two = ("frames.height=48", "frames.colour=grey")
    assert causes("frames", *two) == ["frames.colour rgb -> grey", "frames.height 32 -> 48"]
    assert causes("train", "frames.height=48", "train.seed=3") == ["train.seed 0 -> 3", "upstream frames changed"]
    assert causes("frames") == ["complete"]


def test_videos_that_were_added_replaced_renamed_or_touched() -> None:
    write_video(Path("data/train/c"), seed=5)
    write_video(Path("data/train/a"), seed=6)
    for path in Path("data/train/b").iterdir():
        os.utime(path, (1e9, 1e9))
    assert causes("frames") == ["the content of train/a changed (3 shards)", "train/c not made yet (3 shards)"]
    assert causes("train") == ["train/c added", "train/a changed"]
    Path("data/train/b").rename("data/train/d")
    renamed = "train/d has the content of train/b, renamed"
    assert causes("frames")[1:] == [f"{renamed} (3 shards)", "train/c not made yet (3 shards)"]
    assert causes("train") == ["train/c added", "train/a changed", renamed]


def test_a_video_that_was_truncated_is_named_and_putting_it_back_costs_nothing() -> None:
    for number in (38, 39):
        Path(f"data/train/b/{number:03d}.png").rename(f"{number}.png")
    assert causes("frames") == ["the content of train/b changed (3 shards)"]
    for number in (38, 39):
        Path(f"{number}.png").rename(f"data/train/b/{number:03d}.png")
    assert causes("frames") == causes("train") == ["complete"]


def test_a_repair_that_is_not_finished_is_told_apart_from_what_is_new() -> None:
    receipts = next(Path("cache/small").glob("frames-*/receipts"))
    next(receipts.glob("train-a@*.00001-of-*")).unlink()
    assert causes("frames") == ["train/a unfinished (1 shards)"]
