"""stpa data check names every problem of a dataset with its file and the remedy, and no problem hides another."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import stpa
from pipeline.datasets.check_totals import missing_names
from pipeline.datasets.headers import image_size
from tests.pipeline import layouts

FRAMES = layouts.FRAMES


def check(root: Path, kind: str, *arguments: str, **settings: str) -> tuple[int, str]:
    """Return exit code and output; nothing may be written, wherever it runs."""
    before = sorted(root.rglob("*"))
    options = [f"dataset.{name}={value}" for name, value in {"root": str(root), "kind": kind, **settings}.items()]
    command = ["data", "check", *arguments, *(word for option in options for word in ("--set", option))]
    result = CliRunner().invoke(stpa.main, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert sorted(root.rglob("*")) == before
    return result.exit_code, result.output


def report(root: Path, kind: str, *arguments: str, **settings: str) -> dict[str, Any]:
    code, output = check(root, kind, "--json", *arguments, **settings)
    found: dict[str, Any] = json.loads(output)
    assert code == (0 if found["ok"] else 3)
    assert found["ok"] == (not found["problems"])
    return found


def problems(root: Path, kind: str, *arguments: str, **settings: str) -> list[str]:
    found = report(root, kind, *arguments, **settings)
    listed: list[str] = found["problems"]
    return listed


def row(found: dict[str, Any], split: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = found["splits"]
    return next(table for table in rows if table["split"] == split)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a dataset with nothing wrong: four videos of one size that differ."""
    for number, place in enumerate(("train/a", "train/b", "test/c")):
        layouts.write_frames(tmp_path / "data" / place, count=FRAMES + number)
    layouts.write_video(tmp_path / "data" / "train" / "d.avi", codec="MJPG", size=(layouts.HEIGHT, layouts.WIDTH))
    (tmp_path / "data" / "labels.csv").write_text("video,start,end\nc,3,7\n")
    return tmp_path / "data"


# ---- the table


def test_the_table_counts_videos_frames_sizes_rates_and_labels(folder: Path) -> None:
    found = report(folder, "folder")
    assert (found["ok"], found["published"]) == (True, None)
    train, test = row(found, "train"), row(found, "test")
    assert (train["videos"], train["frames"], train["labelled_frames"]) == (3, 3 * FRAMES + 1, 0)
    assert train["sizes"] == {"24 x 36": 3}
    assert train["frames_per_second"] == {"": 2, "25": 1}
    assert (test["videos"], test["frames"], test["labelled_frames"], test["anomalous_frames"]) == (1, 22, 22, 4)
    assert test["anomalous_share"] == pytest.approx(4 / 22)
    assert test["label_sources"] == ["labels.csv"]


def test_the_table_is_printed_with_the_share_and_a_verdict(folder: Path) -> None:
    code, output = check(folder, "folder")
    assert code == 0
    assert "18.2 %" in output
    assert "0 problem(s)" in output
    assert "no totals to compare it with" in output


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_a_sound_dataset_is_sound_also_when_every_frame_is_decoded(folder: Path, deep: tuple[str, ...]) -> None:
    assert problems(folder, "folder", *deep) == []


def test_a_check_that_is_interrupted_does_not_claim_to_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.check.check_dataset", interrupt)
    code, output = check(folder, "folder")
    assert (code, "interrupted; nothing is kept of a check, and the same command begins anew" in output) == (1, True)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


# ---- every kind of problem, named with its file


def test_no_problem_hides_another(folder: Path) -> None:
    (folder / "train" / "a" / "005.jpg").unlink()
    (folder / "train" / "a" / "011.jpg").unlink()
    (folder / "train" / "b" / "002.jpg").write_bytes(b"no picture")
    layouts.write_image(folder / "train" / "b" / "009.jpg", layouts.picture(9, 48, 64))
    (folder / "train" / "d.avi").write_bytes((folder / "train" / "d.avi").read_bytes()[:-3000])
    layouts.write_frames(folder / "test" / "short", count=9)
    (folder / "test" / "empty").mkdir()
    (folder / "train" / "gone.mp4").symlink_to(folder / "unplugged" / "gone.mp4")
    layouts.write_labels(folder / "labels" / "c.npy", [1])
    found = "\n".join(problems(folder, "folder"))
    for text in (
        "a/005.jpg: expected this frame after 004.jpg",
        "a/011.jpg: expected this frame after 010.jpg",
        "b/002.jpg: expected an image, found 10 bytes",
        "b: expected one size for all frames, found 19 of 24 x 36 (height x width) and 1 of 48 x 64 (first 009.jpg)",
        "d.avi: expected",
        "short: expected at least 16 frames (one clip), found 9; remove it",
        f"{folder}/test/empty: expected frames, found an empty folder; fill or remove it",
        f"gone.mp4: expected a file, found a link to {folder}/unplugged/gone.mp4, which is gone; restore that, or remove",
        "c.npy: expected one source of labels for c",
    ):
        assert text in found


def test_a_picture_that_was_cut_off_is_found_though_opencv_decodes_it(folder: Path) -> None:
    path = folder / "train" / "a" / "007.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (layouts.HEIGHT, layouts.WIDTH, 3)).astype(np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(whole)
    assert problems(folder, "folder") == []
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert cv2.imread(str(path)) is not None
    (problem,) = problems(folder, "folder")
    assert "a/007.jpg: expected the end of an image, found none" in problem


def test_damage_behind_sound_headers_is_found_by_decoding_everything_and_in_every_frame(folder: Path) -> None:
    for number in (3, 8):
        path = layouts.write_image(folder / "train" / "a" / f"{number:03d}.png", layouts.picture(number))
        path.with_suffix(".jpg").unlink()
        data = bytearray(path.read_bytes())
        middle = data.index(b"IDAT") + 4
        data[middle : middle + 8] = b"\xff" * 8
        path.write_bytes(data)
    assert problems(folder, "folder") == []
    first, second = problems(folder, "folder", "--deep")
    assert ["a/003.png" in first, "a/008.png" in second] == [True, True]


def test_a_video_that_claims_frames_it_lacks_is_counted_before_its_labels_are_blamed(tmp_path: Path) -> None:
    path = layouts.write_video(tmp_path / "test" / "gate.avi", count=30, codec="MJPG")
    layouts.write_video(tmp_path / "train" / "yard.avi", codec="MJPG")
    data = path.read_bytes()
    path.write_bytes(data.replace((30).to_bytes(4, "little"), (29).to_bytes(4, "little")))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 29
    layouts.write_labels(tmp_path / "labels" / "gate.npy", [3], count=30)
    found = report(tmp_path, "folder")
    assert found["problems"] == []
    assert (row(found, "test")["frames"], row(found, "test")["frames_are_counted"]) == (30, True)
    assert not row(found, "train")["frames_are_counted"]
    deep = report(tmp_path, "folder", "--deep")
    assert deep["problems"] == []
    assert f"{path}: its header claims 29 frames, 30 can be decoded and count" in deep["warnings"]
    assert row(deep, "train")["frames_are_counted"]


@pytest.mark.parametrize("place", ["train/again", "test/again"])
def test_the_same_content_twice_is_found_whatever_it_is_called(folder: Path, place: str) -> None:
    shutil.copytree(folder / "train" / "a", folder / place)
    (problem,) = problems(folder, "folder")
    assert "train/a: expected every video once, found the same content in" in problem
    assert place in problem
    assert ("knows what it was trained on" in problem) == place.startswith("test")


def test_videos_that_differ_in_one_frame_are_no_doubles(folder: Path) -> None:
    shutil.copytree(folder / "train" / "a", folder / "train" / "again")
    layouts.write_image(folder / "train" / "again" / "004.jpg", layouts.picture(5))
    assert problems(folder, "folder") == []


def test_masks_that_were_left_among_the_videos_are_recognised(folder: Path) -> None:
    for i, mask_HW in enumerate(layouts.mask_THW(range(FRAMES))):
        layouts.write_image(folder / "test" / "c-masks" / f"{i:03d}.png", mask_HW * np.uint8(255))
    (problem,) = problems(folder, "folder")
    assert "c-masks: expected pictures, found only black and white, as masks are; move it away, or give" in problem


def test_one_id_for_two_videos_does_not_hide_the_labels_that_do_not_fit(folder: Path) -> None:
    layouts.write_video(folder / "train" / "d.mp4")
    (folder / "labels.csv").write_text("video,start,end\nc,3,70\n")
    found = problems(folder, "folder")
    assert "expected one train video with the id 'd'" in found[0]
    assert "line 2: expected a stretch within the 22 frames of recording c" in found[1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_a_problem_and_a_missing_test_folder_a_warning(folder: Path, split: str) -> None:
    shutil.rmtree(folder / split)
    (folder / split).mkdir()
    (folder / "labels.csv").unlink()
    assert f"expected {split} videos, found none" in problems(folder, "folder")[0]
    (folder / split).rmdir()
    assert report(folder, "folder")["ok"] == (split == "test")


def test_sizes_and_rates_that_differ_between_videos_are_warnings(folder: Path) -> None:
    layouts.write_video(folder / "train" / "e.mp4", size=(48, 64))
    (folder / "train" / "d.avi").unlink()
    cv2_writer = cv2.VideoWriter(str(folder / "train" / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (36, 24))
    for i in range(FRAMES):
        cv2_writer.write(cv2.cvtColor(layouts.picture(i), cv2.COLOR_GRAY2BGR))
    cv2_writer.release()
    found = report(folder, "folder")
    assert found["ok"]
    assert any("train: videos of 2 sizes" in line for line in found["warnings"])
    assert any("train: videos of several frame rates" in line and "10 (1)" in line for line in found["warnings"])


def test_a_dataset_that_is_not_there_is_one_problem_with_the_remedy(tmp_path: Path) -> None:
    for kind in ("ucsd", "avenue", "shanghaitech", "ubnormal", "frames", "folder", "synthetic"):
        found = problems(tmp_path, kind)
        assert found, kind
        assert all(str(tmp_path) in line for line in found), found


# ---- published datasets


def make_ped2(root: Path, missing: int | None = None) -> Path:
    """Make UCSD Ped2 with its true numbers of frames; without masks, which its .m file makes unnecessary."""
    base = root / "UCSDped2"
    lengths = [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180]
    firsts = [61, 95, 1, 31, 1, 1, 46, 1, 1, 1, 1, 88]
    lasts = [180, 180, 146, 180, 129, 159, 180, 180, 120, 150, 180, 180]
    seed = 0
    for split, frames in (("Train", [160] * 15 + [150]), ("Test", lengths)):
        for number, length in enumerate(frames, start=1):
            seed += 1
            if (split, number) != ("Test", missing):
                folder = base / split / f"{split}{number:03d}"
                layouts.link_frames(folder, length, seed, pattern="{:03d}.tif", size=(24, 36))
    layouts.write_intervals(base / "Test" / "UCSDped2.m", [f"{a}:{b}" for a, b in zip(firsts, lasts, strict=True)])
    return base


def test_ped2_with_its_published_numbers_is_sound_but_for_its_size(tmp_path: Path) -> None:
    make_ped2(tmp_path)
    found = report(tmp_path, "ucsd")
    assert (found["ok"], found["published"]) == (True, "UCSD Ped2")
    test = row(found, "test")
    assert (test["frames"], test["anomalous_frames"]) == (2010, 1648)
    assert (row(found, "train")["videos"], row(found, "train")["frames"]) == (16, 2550)
    assert any("expected 240 x 360 pixels as published, found 24 x 36" in line for line in found["warnings"])


def test_ped2_of_a_mirror_that_lacks_test005_is_told_which_video_is_missing(tmp_path: Path) -> None:
    make_ped2(tmp_path, missing=5)
    found = problems(tmp_path, "ucsd")
    assert "expected 12 videos as published, found 11; missing: Test005 (some mirrors lack Test005)" in found[0]
    assert "expected 2010 frames as published, found 1860" in found[1]


def test_ped2_with_labels_of_another_release_is_told_both_numbers(tmp_path: Path) -> None:
    base = make_ped2(tmp_path)
    path = base / "Test" / "UCSDped2.m"
    path.write_text(path.read_text().replace("[61:180]", "[62:180]"))
    (problem,) = problems(tmp_path, "ucsd")
    assert f"{path}: expected 1648 anomalous frames as published, found 1647: labels of no known release" in problem


def make_avenue_frames(root: Path, anomalous: int) -> Path:
    """Make Avenue in the common layout, with all 15324 test frames and as many anomalous ones as asked for."""
    for number in range(1, 17):
        layouts.link_frames(root / "avenue" / "training" / "frames" / f"{number:02d}", 16, number, size=(24, 36))
    for number, length in enumerate([730] * 20 + [724], start=1):
        folder = root / "avenue" / "testing" / "frames" / f"{number:02d}"
        layouts.link_frames(folder, length, 100 + number, pattern="{:04d}.jpg", size=(24, 36))
    labels_N = np.zeros(15324, np.uint8)
    labels_N[:anomalous] = 1
    np.save(root / "avenue" / "frame_labels_avenue.npy", labels_N[None])
    return root


def test_avenue_label_sets_are_told_apart_by_their_anomalous_frames(tmp_path: Path) -> None:
    make_avenue_frames(tmp_path, 3712)
    named = report(tmp_path, "frames")
    assert named["ok"]
    source = f"{tmp_path}/avenue/frame_labels_avenue.npy"
    assert any(f"{source}: label set 3712 of 3712 and 3867; name it beside results" in line for line in named["warnings"])
    recalled = "expected 15328 frames as published (by papers, not counted by us), found 256"
    assert any(recalled in line for line in named["warnings"])
    (problem,) = problems(tmp_path, "frames", labels='"3867"')
    assert problem.startswith(f"{source}: expected 3867 anomalous frames (dataset.labels), found 3712: labels of another")
    assert report(tmp_path, "frames", labels='"3712"')["ok"]
    labels_N = np.zeros(15324)
    labels_N[:3000] = 1
    np.save(tmp_path / "avenue" / "frame_labels_avenue.npy", labels_N)
    (problem,) = problems(tmp_path, "frames")
    assert "expected 3712 or 3867 anomalous frames as published, found 3000: labels of no known release" in problem


def test_the_settings_say_which_benchmark_a_folder_of_another_name_holds(tmp_path: Path) -> None:
    make_avenue_frames(tmp_path, 3712)
    (tmp_path / "avenue").rename(tmp_path / "copy")
    (tmp_path / "copy" / "frame_labels_avenue.npy").unlink()
    assert report(tmp_path / "copy", "frames")["published"] is None
    assert report(tmp_path / "copy", "frames", benchmark="avenue")["published"] == "CUHK Avenue"
    code, output = check(tmp_path / "copy", "avenue", benchmark="avenue")
    assert (code, 'expected dataset.kind = "frames" with it, found \'avenue\'' in output) == (2, True)


def test_labels_of_another_length_are_said_once_for_all_videos(tmp_path: Path) -> None:
    root = layouts.make_frames_layout(tmp_path / "mine")
    for number, path in enumerate(sorted((root / "training" / "frames").iterdir())):
        layouts.write_image(path / "000.jpg", layouts.picture(number + 1))
    layouts.write_image(root / "testing" / "frames" / "02" / "000.jpg", layouts.picture(9))
    layouts.write_image(root / "testing" / "frames" / "01" / "001.jpg", layouts.picture(9))
    np.save(root / "frame_labels_mine.npy", np.zeros(40))
    found = report(root, "frames")
    assert len(found["problems"]) == 1, found["problems"]
    assert "expected labels of the 42 frames of 2 test videos, found 40; labels and frames must" in found["problems"][0]
    assert any("folders of masks among the videos are left aside: 01_gt, 02_gt" in line for line in found["warnings"])


def test_an_empty_training_folder_of_the_common_layout_does_not_hide_the_test_videos(tmp_path: Path) -> None:
    root = layouts.make_frames_layout(tmp_path / "mine")
    shutil.rmtree(root / "training" / "frames")
    (root / "training" / "frames").mkdir()
    (root / "testing" / "frames" / "01" / "004.jpg").unlink()
    found = "\n".join(problems(root, "frames"))
    assert "training/frames: expected one folder of frames per video, found no folder" in found
    assert "01/004.jpg: expected this frame after 003.jpg" in found


@pytest.mark.parametrize(
    ("kind", "make"),
    [("avenue", layouts.make_avenue), ("shanghaitech", layouts.make_shanghaitech), ("ubnormal", layouts.make_ubnormal)],
)
def test_small_parts_of_a_benchmark_lack_the_videos_that_were_published(tmp_path: Path, kind: str, make: Any) -> None:
    make(tmp_path)
    found = report(tmp_path, kind)
    assert row(found, "test")["labelled_frames"] == 2 * FRAMES
    assert row(found, "test")["anomalous_frames"] in (7, 10)
    assert [line for line in found["problems"] if "videos as published, found 2" in line]


def make_common(root: Path) -> Path:
    return layouts.make_frames_layout(root / "avenue")


@pytest.mark.parametrize(
    ("kind", "make", "lost", "place"),
    [
        ("ucsd", layouts.make_ucsd, "UCSDped2/Test/*_gt", "UCSDped2/Test/UCSDped2.m (or masks in Test001_gt/ ...)"),
        ("avenue", layouts.make_avenue, "ground_truth_demo", "ground_truth_demo/testing_label_mask/1_label.mat ... (ground"),
        ("shanghaitech", layouts.make_shanghaitech, "*/testing/test_*_mask", "testing/test_frame_mask/*.npy"),
        ("frames", make_common, "none", "avenue/frame_labels_avenue.npy (or avenue.mat)"),
    ],
)
def test_a_benchmark_without_any_labels_is_told_which_belong_where(
    tmp_path: Path, kind: str, make: Any, lost: str, place: str
) -> None:
    make(tmp_path)
    for folder in tmp_path.glob(lost):
        shutil.rmtree(folder)
    (problem,) = (line for line in problems(tmp_path, kind) if "expected the labels of" in line)
    assert problem.startswith(str(tmp_path))
    assert place in problem
    assert "found none; put them there (only metrics need them)" in problem


def test_your_own_recordings_need_no_labels(folder: Path) -> None:
    (folder / "labels.csv").unlink()
    found = report(folder, "folder")
    assert found["ok"]
    assert "test: no labels were found; scores need none, metrics do" in found["warnings"]


def test_frames_are_not_counted_one_by_one_where_whole_videos_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.make_avenue(tmp_path)
    counted: list[str] = []
    monkeypatch.setattr("pipeline.datasets.look.reader.count_frames", lambda video: counted.append(video.id) or FRAMES)
    found = problems(tmp_path, "avenue")
    assert counted == []
    missing = "03, 04, 05, 06, 07, 08, 09, 10, 11, 12 and 9 more"  # of hundreds the list would hide the rest
    assert [line for line in found if f"expected 21 videos as published, found 2; missing: {missing}" in line]
    assert not [line for line in found if "frames as published" in line]


def test_labels_missing_for_two_videos_are_two_problems(tmp_path: Path) -> None:
    base = layouts.make_shanghaitech(tmp_path)
    for kind in ("frame", "pixel"):
        for path in (base / "testing" / f"test_{kind}_mask").iterdir():
            path.unlink()
    missing = [line for line in problems(tmp_path, "shanghaitech") if "expected labels" in line]
    assert ["01_0014.npy" in missing[0], "12_0142.npy" in missing[1]] == [True, True]


def cut_mat(root: Path) -> None:
    path = root / "ground_truth_demo" / "testing_label_mask" / "2_label.mat"
    path.write_bytes(path.read_bytes()[:200])


def pickle_mask(root: Path) -> None:
    path = root / "shanghaitech" / "testing" / "test_frame_mask" / "12_0142.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)


def shorten_masks(root: Path) -> None:
    path = root / "shanghaitech" / "testing" / "test_pixel_mask" / "01_0014.npy"
    np.save(path, np.load(path)[:-1])


def lose_list(root: Path) -> None:
    (root / "scripts" / "abnormal_test_video_names.txt").unlink()


def lose_map(root: Path) -> None:
    next((root / "Scene2").glob("*/*_0006_gt.png")).unlink()


def lengthen_tracks(root: Path) -> None:
    next((root / "Scene2").glob("*/*_tracks.txt")).write_text("7,4,8\n9,15,20")


def lose_mask(root: Path) -> None:
    (root / "UCSDped2" / "Test" / "Test006_gt" / "frame020.bmp").unlink()


def fill_pipe(root: Path) -> None:
    path = root / "UCSDped2" / "Train" / "Train001" / "004.tif"
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("kind", "make", "harm", "text"),
    [
        ("avenue", layouts.make_avenue, cut_mat, "2_label.mat: expected a MATLAB file with volLabel, found"),
        ("shanghaitech", layouts.make_shanghaitech, pickle_mask, "12_0142.npy: expected NumPy data without Python objects"),
        ("shanghaitech", layouts.make_shanghaitech, shorten_masks, "01_0014.npy: expected labels of 20 frames"),
        ("ubnormal", layouts.make_ubnormal, lose_list, "abnormal_test_video_names.txt: expected this list of videos"),
        ("ubnormal", layouts.make_ubnormal, lose_map, "_annotations: expected an id map of each of the 7 frames in tracks"),
        ("ubnormal", layouts.make_ubnormal, lengthen_tracks, "_tracks.txt: expected anomalous intervals within"),
        ("ucsd", layouts.make_ucsd, lose_mask, "Test006_gt: expected labels of 20 frames (video Test006), found 19"),
        ("ucsd", layouts.make_ucsd, fill_pipe, "Train001/004.tif: expected an image, found 0 bytes"),
    ],
)
def test_traps_of_published_layouts_are_told_apart_from_what_is_sound(
    tmp_path: Path, kind: str, make: Any, harm: Any, text: str
) -> None:
    make(tmp_path)
    assert text not in "\n".join(problems(tmp_path, kind))
    harm(tmp_path)
    found = problems(tmp_path, kind)
    assert [line for line in found if text in line], found


# ---- parts


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".pgm", ".ppm"])
def test_sizes_from_headers_are_those_of_the_decoded_pictures(tmp_path: Path, suffix: str) -> None:
    picture = layouts.picture(3, 31, 57)
    colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if suffix == ".ppm" else picture
    path = layouts.write_image(tmp_path / f"a{suffix}", colour)
    assert image_size(str(path)) == (31, 57)
    path.write_bytes(path.read_bytes() + bytes(100))  # some programs append their own
    assert image_size(str(path)) == (31, 57)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_headers_tell_of_files_that_were_cut_off(tmp_path: Path, suffix: str) -> None:
    path = layouts.write_image(tmp_path / f"a{suffix}", layouts.picture(3))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="it was cut off: copy it anew"):
        image_size(str(path))


def test_the_size_of_a_jpeg_is_found_behind_a_large_preview(tmp_path: Path) -> None:
    path = layouts.write_image(tmp_path / "a.jpg", layouts.picture(3, 31, 57))
    data = path.read_bytes()
    preview = cv2.imencode(".jpg", layouts.picture(1, 8, 8))[1].tobytes() + bytes(9000)
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    path.write_bytes(data[:2] + segment + data[2:])
    assert image_size(str(path)) == (31, 57)


@pytest.mark.parametrize(
    ("names", "count", "missing"),
    [
        (["Test001", "Test003"], 3, ["Test002"]),
        (["01", "02"], 4, ["03", "04"]),
        (["0", "2"], 3, ["1"]),
        (["01_0014", "02_0014"], 4, []),
        (["a", "b"], 3, []),
        (["1", "9"], 3, []),
    ],
)
def test_missing_names_are_told_only_where_numbers_tell_them(names: list[str], count: int, missing: list[str]) -> None:
    assert missing_names(names, count) == missing
