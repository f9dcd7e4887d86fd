"""What is left between stretches that are left out, if it is less than a clip."""

from pathlib import Path

import pytest

from pipeline.datasets.check import check_dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, take_inventory
from tests.pipeline import layouts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.write_video(tmp_path / "train" / "a.mp4", 100)
    layouts.write_video(tmp_path / "test" / "b.mp4", 100)
    return tmp_path


def leave_out(root: Path, *rows: str) -> None:
    (root / "left_out.csv").write_text("\n".join(("video,start,end", *rows, "")))


def take(root: Path, fps: float | None = None) -> Inventory:
    return take_inventory(FolderDataset(root, fps=fps), root / "inventory.json")


@pytest.mark.parametrize("rows", [("b,20,45", "b,50,90"), ("b,0.8s,1.8s", "b,2s,3.6s")])
def test_remainders_are_left_aside_and_their_recording_is_used(root: Path, rows: tuple[str, str]) -> None:
    leave_out(root, *rows)
    (root / "labels.csv").write_text("video,start,end\nb,10,55\n")
    inventory = take(root)
    assert not inventory.problems
    assert [(record.id, record.num_frames) for record in inventory.records] == [("b@1", 20), ("a", 100)]
    checked = check_dataset(FolderDataset(root))
    assert not checked.problems
    assert (checked.splits[1].frames, checked.splits[1].labelled) == (20, 20)
    for said in (inventory.remarks, checked.warnings):
        assert any("b.mp4: expected at least 16 frames (one clip) in its part test/b@2, found 5" in line for line in said)
        assert any("in its part test/b@3, found 10; left aside: widen a stretch of left_out.csv" in line for line in said)


def test_a_part_that_thinning_out_makes_too_short_is_left_aside(root: Path) -> None:
    leave_out(root, "b,50,80")
    assert [record.id for record in take(root).records if record.split == "test"] == ["b@1", "b@2"]
    inventory = take(root, fps=12.5)
    assert [record.id for record in inventory.records if record.split == "test"] == ["b@1"]
    assert not inventory.problems
    assert not check_dataset(FolderDataset(root, fps=12.5)).problems


def test_leaving_out_exactly_up_to_the_end_leaves_nothing_behind_it(root: Path) -> None:
    leave_out(root, "b,60,100")
    assert not take(root).problems
    assert not check_dataset(FolderDataset(root)).problems


def test_a_recording_of_which_only_a_remainder_is_left_is_a_problem_that_names_the_table(root: Path) -> None:
    leave_out(root, "b,10,")
    (problem,) = take(root).problems
    assert "16 frames (one clip) in what left_out.csv leaves, found 10; leave out less, or all of it" in problem.message
    assert problem.message in check_dataset(FolderDataset(root)).problems


@pytest.mark.parametrize(("name", "split"), [("a", "train"), ("b", "test")])
def test_a_split_of_which_all_is_left_out_names_the_table(root: Path, name: str, split: str) -> None:
    leave_out(root, f"{name},0,")
    checked = check_dataset(FolderDataset(root))
    assert any(f"expected {split} videos, found none" in found for found in checked.problems)
    assert f"{root}/left_out.csv: leaves nothing of the {split} recordings; leave out less of them" in checked.warnings


def test_a_split_of_which_only_remainders_are_left_is_a_problem(root: Path) -> None:
    leave_out(root, "b,10,20", "b,30,")
    problems = check_dataset(FolderDataset(root)).problems
    assert "expected test videos of which frames count, found none; leave out less of them" in problems
