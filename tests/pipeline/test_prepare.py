"""``stpa data prepare``: from archives and folders to a checked dataset and a settings file."""

import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.config import load_config
from pipeline.datasets import published
from pipeline.datasets.instructions import HOW_TO_GET
from pipeline.datasets.prepare import NAMES
from pipeline.datasets.published import Published, Totals
from pipeline.prepare_cli import TEMPLATES
from pipeline.settings_file import switched_off, with_dataset
from stpa import main
from tests.pipeline import layouts

FRAMES = layouts.FRAMES


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that what the makers write is what was published."""
    totals = {
        "ped1": Published(title="UCSD Ped1", splits={"train": Totals(videos=2), "test": Totals(videos=3)}),
        "ped2": Published(title="UCSD Ped2", splits={"train": Totals(videos=2), "test": Totals(videos=3, frames=60)}),
        "avenue": Published(title="CUHK Avenue", splits={"train": Totals(videos=2), "test": Totals(videos=2)}),
        "shanghaitech": Published(title="ShanghaiTech", splits={"train": Totals(videos=2), "test": Totals(videos=2)}),
        "ubnormal": Published(title="UBnormal", splits={"train": Totals(videos=2), "test": Totals(videos=2)}),
    }
    monkeypatch.setattr("pipeline.datasets.check.PUBLISHED", totals)
    monkeypatch.setattr("pipeline.datasets.check._check_doubles", lambda *_: None)  # all small videos are alike
    assert set(totals) == set(published.PUBLISHED)


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> Result:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, ["data", "prepare", *words])
    assert done.exit_code == code, done.output
    return done


def pack(archive: Path, folder: Path) -> Path:
    """Put a folder's content into a zip or tar archive."""
    files = sorted(path for path in folder.rglob("*"))
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for path in files:
                opened.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz") as tar:
            for path in files:
                tar.add(path, path.relative_to(folder), recursive=False)
    return archive


@pytest.mark.parametrize("name", NAMES)
def test_without_a_source_the_steps_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told = prepare(tmp_path, monkeypatch, name).output
    assert "1. " in told
    assert f"stpa data prepare {name} " in told
    assert "licence" in told
    assert not list(tmp_path.iterdir())
    if name in ("shanghaitech", "ubnormal"):
        assert "in a browser" in told
    assert set(HOW_TO_GET) == set(NAMES)


def test_ped1_and_ped2_come_out_of_one_archive_that_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "src" / "UCSD_Anomaly_Dataset.v1p2"
    layouts.make_ucsd(both)
    layouts.make_ucsd(both, name="UCSDped1", masked=(1, 2, 6))
    archive = pack(tmp_path / "UCSD_Anomaly_Dataset.tar.gz", tmp_path / "src")
    told = prepare(tmp_path, monkeypatch, "ped2", str(archive)).output
    assert "next: for stage in flows inpaint features train eval; do stpa $stage --config ped2.toml" in told
    assert "0 problem(s)" in told
    found = load_config(tmp_path / "ped2.toml")
    assert str(found.dataset.root) == "data/ucsd/UCSD_Anomaly_Dataset.v1p2/UCSDped2"
    assert (found.dataset.kind, found.dataset.part, found.dataset.name) == ("ucsd", "ped2", "ped2")
    assert found.train == load_config(TEMPLATES / "ped2.toml").train
    unpacked = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.tif")}
    assert len(unpacked) == 2 * 5 * FRAMES
    prepare(tmp_path, monkeypatch, "ped1", str(archive))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.tif")} == unpacked
    assert load_config(tmp_path / "ped1.toml").dataset.part == "ped1"


def test_a_folder_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.make_ucsd(tmp_path / "elsewhere" / "deep")
    (tmp_path / "here").mkdir()
    prepare(tmp_path / "here", monkeypatch, "ped2", str(tmp_path / "elsewhere"))
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["ped2.toml"]
    assert load_config(tmp_path / "here" / "ped2.toml").dataset.root == tmp_path / "elsewhere" / "deep" / "UCSDped2"


def test_avenue_is_put_together_from_its_archives_and_the_labels_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.make_avenue(tmp_path / "src")
    sources = []
    for part in ("Avenue Dataset", "ground_truth_demo"):
        (tmp_path / part).mkdir()
        (tmp_path / "src" / part).rename(tmp_path / part / part)
        sources.append(str(pack(tmp_path / f"{part}.zip", tmp_path / part)))
    labels = tmp_path / "frame_labels_avenue.npy"
    np.save(labels, np.arange(2 * FRAMES)[None] % 2)
    told = prepare(tmp_path, monkeypatch, "avenue", *sources, str(labels), "--labels", "3867").output
    assert "labels of test: frame_labels_avenue.npy (set 3867)" in told
    assert load_config(tmp_path / "avenue.toml").dataset.labels == "3867"
    told = prepare(tmp_path, monkeypatch, "avenue", *sources, "--config", "other.toml").output
    assert "testing_label_mask (set 3712)" in told


def test_ubnormal_takes_its_lists_from_the_repository_of_its_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.make_ubnormal(tmp_path / "src" / "UBnormal")
    (tmp_path / "src" / "UBnormal" / "scripts").rename(tmp_path / "scripts")
    archive = pack(tmp_path / "UBnormal.zip", tmp_path / "src")
    told = prepare(tmp_path, monkeypatch, "ubnormal", str(archive), code=3).output
    assert "expected this list of videos" in told
    assert "mend the problems above" in told
    prepare(tmp_path, monkeypatch, "ubnormal", str(archive), str(tmp_path / "scripts"))


@pytest.mark.parametrize("clone", ["UBnormal", "UBnormal-main"])
def test_ubnormal_finds_its_lists_in_a_clone_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clone: str
) -> None:
    layouts.make_ubnormal(tmp_path / "src" / "UBnormal")
    (tmp_path / "git" / clone).mkdir(parents=True)
    (tmp_path / "src" / "UBnormal" / "scripts").rename(tmp_path / "git" / clone / "scripts")
    archive = pack(tmp_path / "UBnormal.zip", tmp_path / "src")
    for _ in range(2):
        prepare(tmp_path, monkeypatch, "ubnormal", str(tmp_path / "git" / clone), str(archive))
    assert str(load_config(tmp_path / "ubnormal.toml").dataset.root) == "data/ubnormal/UBnormal"


def test_what_was_unpacked_may_be_named_as_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.make_ubnormal(tmp_path / "data" / "ubnormal" / "UBnormal")
    (tmp_path / "data" / "ubnormal" / "UBnormal" / "scripts").rename(tmp_path / "scripts")
    prepare(tmp_path, monkeypatch, "ubnormal", "data/ubnormal/UBnormal", "scripts")


@pytest.mark.parametrize(("name", "likely"), [("a.zip", "cut off"), ("a.tar.gz", "a web page")])
def test_a_download_that_is_no_archive_is_to_be_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, likely: str
) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and so on" if name == "a.zip" else b"<html>")
    told = prepare(tmp_path, monkeypatch, "ped2", name, code=3).output
    assert f"{name}: expected a {name[1:]} archive as its name says" in told
    assert f"(most likely {likely}); download it again" in told


def test_shanghaitech_is_told_from_the_common_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.make_shanghaitech(tmp_path / "one")
    prepare(tmp_path, monkeypatch, "shanghaitech", str(tmp_path / "one"))
    assert load_config(tmp_path / "shanghaitech.toml").dataset.kind == "shanghaitech"
    layouts.make_frames_layout(tmp_path / "two" / "shanghai", tests=("01_0014", "12_0142"))
    np.save(tmp_path / "two" / "frame_labels_shanghai.npy", np.zeros(2 * FRAMES + 2, int))
    prepare(tmp_path, monkeypatch, "shanghaitech", str(tmp_path / "two"), "--config", "two.toml", code=3)  # 3 videos, not 2
    assert load_config(tmp_path / "two.toml").dataset.kind == "frames"


def test_what_is_interrupted_in_its_check_can_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    layouts.make_ucsd(tmp_path)
    monkeypatch.setattr("pipeline.datasets.check.check_dataset", interrupt)
    told = prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", code=1).output
    assert "interrupted; ped2.toml is there; stpa data check --config ped2.toml checks it" in told


@pytest.mark.parametrize("name", ["ped2", "avenue", "shanghaitech", "ubnormal"])
def test_the_common_layout_is_compared_with_what_was_asked_for_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its three training videos are one more than what the others have."""
    layouts.make_frames_layout(tmp_path / "dl" / "mirror")
    np.save(tmp_path / "dl" / f"frame_labels_{name}.npy", np.arange(2 * FRAMES + 2) % 2)
    told = prepare(tmp_path, monkeypatch, name, "dl", code=3).output
    dataset = load_config(tmp_path / f"{name}.toml").dataset
    assert (dataset.kind, dataset.benchmark) == ("frames", name)
    assert f"{published.PUBLISHED[name].title.split()[0]}" in told
    assert re.search(r"train: expected 2 videos as published, found 3", told), told
    assert f"labels of test: frame_labels_{name}.npy" in told


def test_a_dataset_that_is_called_like_another_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.make_frames_layout(tmp_path / "copy")
    np.save(tmp_path / "copy" / "frame_labels_ped2.npy", np.arange(2 * FRAMES + 2) % 2)
    told = prepare(tmp_path, monkeypatch, "avenue", "copy", code=3).output
    assert "CUHK Avenue" in told
    assert "frame_labels_ped2.npy: expected avenue (dataset.benchmark), found what is called ped2; get" in told
    (tmp_path / "copy").rename(tmp_path / "ped2")
    told = prepare(tmp_path, monkeypatch, "avenue", "ped2", "--config", "other.toml", code=3).output
    assert "ped2: expected avenue (dataset.benchmark), found what is called ped2" in told


def test_a_dataset_that_is_not_there_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.make_folder(tmp_path / "mine")
    told = prepare(tmp_path, monkeypatch, "ped2", str(tmp_path / "mine"), code=3).output
    assert "expected ped2 as published" in told
    assert "`stpa data prepare ped2` says what to get" in told
    assert "expected an archive or a folder" in prepare(tmp_path, monkeypatch, "ped2", "nowhere.zip", code=3).output


def test_settings_that_were_changed_since_are_kept_and_others_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.make_ucsd(tmp_path)
    prepare(tmp_path, monkeypatch, "ped2", "UCSDped2")
    path = tmp_path / "ped2.toml"
    path.write_text(path.read_text().replace("epochs = 3", "epochs = 7"))
    assert "kept" in prepare(tmp_path, monkeypatch, "ped2", "UCSDped2").output
    assert load_config(path).train.epochs == 7
    path.write_text('[dataset]\nname = "other"\ntracks = "theirs"\n\n# long\n[train]\nepochs = 9\n')
    told = prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", code=2).output
    assert "found another (name: other -> ped2); edit it, choose" in told
    path.write_text('[dataset]\nname = "ped2"\nroot = "elsewhere"\n\n' + path.read_text().partition("\n\n")[2])
    told = prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", code=2).output
    assert "found another (kind: none -> ucsd; root: elsewhere -> UCSDped2; part: none -> ped2)" in told
    prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", "--force")
    section = '[dataset]\nname = "ped2"\nkind = "ucsd"\npart = "ped2"\nroot = "UCSDped2"\n'
    assert path.read_text() == f"{section}\n# long\n[train]\nepochs = 9\n"
    path.write_text('dataset = {name = "other"}\n')
    told = prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", "--force", code=2).output
    assert "ped2.toml: expected a section [dataset] with a setting a line" in told
    path.write_text("[train]\nepochs = many\n")
    assert "cannot be read as TOML" in prepare(tmp_path, monkeypatch, "ped2", "UCSDped2", "--force", code=2).output


def test_another_rate_than_in_the_settings_file_is_told_before_anything_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_recordings(tmp_path / "nas")
    words = ("folder", str(source), "--called", "mine", "--test")
    prepare(tmp_path, monkeypatch, *words, "*/tuesday", "--fps", "25")
    links = sorted((tmp_path / "data").rglob("*"))
    told = prepare(tmp_path, monkeypatch, *words, "gate/*", "--fps", "12.5", code=2).output
    assert "mine.toml: expected no file here, or one of this dataset, found another (fps: 25.0 -> 12.5); edit it" in told
    assert sorted((tmp_path / "data").rglob("*")) == links
    path = tmp_path / "mine.toml"
    path.write_text(path.read_text().replace("fps = 25.0", "fps = 12.5").replace('damaged = "use"', 'damaged = "refuse"'))
    assert "kept" in prepare(tmp_path, monkeypatch, *words, "*/tuesday").output
    assert "kept" in prepare(tmp_path, monkeypatch, *words, "*/tuesday", "--fps", "12.5").output
    prepare(tmp_path, monkeypatch, *words, "*/tuesday", "--fps", "25", "--force")
    found = load_config(path).dataset
    assert (found.fps, found.damaged) == (25, "use")


def test_several_cameras_that_share_a_model_are_not_told_apart_by_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_recordings(tmp_path / "nas")
    words = ("folder", str(source), "--called", "mine", "--test", "*/tuesday")
    told = prepare(tmp_path, monkeypatch, *words).output
    assert "train.place and train.objects are false, since 2 cameras share this model" in told
    assert "--each-camera makes a model per camera" in told
    path = tmp_path / "mine.toml"
    train = load_config(path).train
    assert (train.place, train.objects, train.epochs) == (False, False, load_config(TEMPLATES / "cameras.toml").train.epochs)
    path.write_text(path.read_text().replace("objects = false", "objects = true"))
    assert "set train.place and train.objects to false" in prepare(tmp_path, monkeypatch, *words).output
    assert load_config(path).train.objects
    told = prepare(tmp_path, monkeypatch, *words, "--each-camera").output
    assert "share this model" not in told
    assert load_config(tmp_path / "mine-gate.toml").train.place


def test_settings_are_switched_off_where_no_template_is_installed() -> None:
    text = switched_off(with_dataset("", {"name": "mine"}), "train", ("place", "objects"))
    assert text == '[dataset]\nname = "mine"\n\n[train]\nplace = false\nobjects = false\n'
    assert switched_off("[train]\nplace = true # so\n\n[run]\n", "train", ("place", "objects")) == (
        "[train]\nplace = false # so\nobjects = false\n\n[run]\n"
    )


def test_a_settings_file_whose_last_line_does_not_end_is_kept_whole() -> None:
    assert switched_off("[train]\nskips = [2]", "train", ["place"]) == "[train]\nskips = [2]\nplace = false\n"
    assert with_dataset('[dataset]\nname = "a"\n# mine', {"name": "b"}) == '[dataset]\nname = "b"\n# mine\n'


def test_every_benchmark_has_a_settings_file_that_can_be_filled_in() -> None:
    for name in NAMES:
        config = load_config(TEMPLATES / f"{'cameras' if name == 'folder' else name}.toml")
        assert config.dataset.name == ("cameras" if name == "folder" else name)


# ---- your own recordings


def make_recordings(root: Path) -> Path:
    for camera, size in (("gate", (48, 64)), ("back yard", (36, 48))):
        for day in ("monday", "tuesday"):
            layouts.write_video(root / camera / f"{day}.avi", 40, "MJPG", size)
    (root / "labels.csv").write_text("video,start,end\ngate/tuesday,0:00:00.2,0.4s\n")
    return root


def test_recordings_are_linked_into_train_and_test_and_nothing_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_recordings(tmp_path / "nas")
    words = ("folder", str(source), "--called", "mine", "--test", "*/tuesday")
    told = prepare(tmp_path, monkeypatch, *words, "--fps", "12.5").output
    assert "labels of test: labels.csv" in told
    assert re.search(r"train +2 +40 ", told), told  # 20 of each at half the rate
    made = sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_symlink())
    assert made == [
        "mine/labels.csv",
        *(f"mine/test/{camera}/tuesday.avi" for camera in ("back yard", "gate")),
        *(f"mine/train/{camera}/monday.avi" for camera in ("back yard", "gate")),
    ]
    config = load_config(tmp_path / "mine.toml").dataset
    assert (config.kind, config.fps, config.damaged, str(config.root)) == ("folder", 12.5, "use", "data/mine")
    again = prepare(tmp_path, monkeypatch, *words, "--fps", "12.5").output
    assert "kept" in again


def test_recordings_in_an_archive_are_unpacked_beside_the_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "nas.zip", make_recordings(tmp_path / "nas"))
    words = ("folder", str(archive), "--called", "mine", "--test", "*/tuesday")
    for _ in range(2):
        prepare(tmp_path, monkeypatch, *words)
        links = [path for path in (tmp_path / "data" / "mine").rglob("*.avi") if path.is_symlink()]
        assert len(links) == 4
        assert all("recordings" in path.resolve().parts for path in links)


def test_links_are_never_made_among_the_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_recordings(tmp_path / "data" / "mine")
    before = sorted(source.rglob("*"))
    told = prepare(tmp_path, monkeypatch, "folder", str(source), "--called", "mine", "--test", "*/tuesday", code=2).output
    assert "choose one with --to" in told
    assert sorted(source.rglob("*")) == before


def test_another_choice_of_test_videos_moves_their_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_recordings(tmp_path / "nas")
    prepare(tmp_path, monkeypatch, "folder", str(source), "--called", "mine", "--test", "*/tuesday")
    (source / "labels.csv").unlink()
    (tmp_path / "data" / "mine" / "labels.csv").unlink()
    prepare(tmp_path, monkeypatch, "folder", str(source), "--called", "mine", "--test", "gate/*")
    links = {path.relative_to(tmp_path / "data" / "mine").parts[:2] for path in (tmp_path / "data").rglob("*.avi")}
    assert links == {("train", "back yard"), ("test", "gate")}


def test_links_to_recordings_that_are_gone_or_renamed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_recordings(tmp_path / "nas")
    layouts.write_frames(source / "frames" / "sunday")
    words = ("folder", str(source), "--called", "mine", "--test", "*/tuesday")
    prepare(tmp_path, monkeypatch, *words)
    (source / "gate" / "monday.avi").rename(source / "gate" / "first.avi")
    (source / "back yard" / "tuesday.avi").unlink()
    shutil.rmtree(source / "frames")
    made = tmp_path / "data" / "mine"
    (made / "train" / "own.txt").write_text("not a link")
    prepare(tmp_path, monkeypatch, *words)
    found = {str(path.relative_to(made)) for path in made.rglob("*") if not path.is_dir()}
    linked = {"labels.csv", "train/gate/first.avi", "train/back yard/monday.avi", "test/gate/tuesday.avi"}
    assert found == linked | {"train/own.txt"}
    assert not (made / "test" / "back yard").exists()


def test_links_move_also_where_the_recordings_are_named_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recordings(tmp_path / "nas")
    (tmp_path / "alias").symlink_to(tmp_path / "nas")
    prepare(tmp_path, monkeypatch, "folder", "nas", "--called", "mine", "--test", "*/tuesday")
    made = tmp_path / "data" / "mine"
    for source, chosen in (("alias", "gate/*"), ("data/../nas", "*/tuesday"), ("nas", "back yard/*")):
        (made / "labels.csv").unlink(missing_ok=True)
        (tmp_path / "nas" / "labels.csv").unlink(missing_ok=True)
        prepare(tmp_path, monkeypatch, "folder", source, "--called", "mine", "--test", chosen)
        assert len(list(made.rglob("*.avi"))) == 4


def test_what_is_not_a_link_to_these_recordings_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("folder", str(make_recordings(tmp_path / "nas")), "--called", "mine", "--test", "*/tuesday")
    made = tmp_path / "data" / "mine"
    (made / "train" / "empty").mkdir(parents=True)
    (made / "train" / "unplugged.avi").symlink_to(tmp_path / "other disk" / "unplugged.avi")
    told = prepare(tmp_path, monkeypatch, *words, code=3).output
    assert "other disk/unplugged.avi, which is gone; restore that" in told
    assert (made / "train" / "unplugged.avi").is_symlink()
    assert (made / "train" / "empty").is_dir()
    (made / "train").rename(tmp_path / "own")
    (made / "train").symlink_to(tmp_path / "own")
    before = sorted((tmp_path / "own").rglob("*"))
    told = prepare(tmp_path, monkeypatch, *words, code=2).output
    assert "data/mine/train: expected a folder to make links in, found a link to another" in told
    assert sorted((tmp_path / "own").rglob("*")) == before


def test_each_camera_gets_settings_so_a_model_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_recordings(tmp_path / "nas")
    words = ("folder", str(source), "--called", "mine", "--test", "*/tuesday", "--each-camera")
    told = prepare(tmp_path, monkeypatch, *words).output
    assert "--config mine-gate.toml" in told
    for file, camera in (("mine-gate.toml", "gate"), ("mine-back-yard.toml", "back yard")):
        config = load_config(tmp_path / file).dataset
        assert (config.name, config.camera) == (file.removesuffix(".toml"), camera)
    layouts.write_video(source / "back-yard" / "monday.avi", 40, "MJPG", (36, 48))
    told = prepare(tmp_path, monkeypatch, *words, code=2).output
    assert "expected mine-back-yard.toml for one camera, found" in told


def test_recorders_that_sort_by_date_first_have_cameras_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, place in enumerate(("06-01/gate", "06-01/yard", "06-02/gate", "06-02/yard")):
        layouts.write_video(tmp_path / "nas" / place / "08.avi", 40 + number, "MJPG", (36, 48))
    words = ("folder", str(tmp_path / "nas"), "--called", "mine", "--test", "06-02/*")
    prepare(tmp_path, monkeypatch, *words)  # dates as cameras: links of it do not stay
    told = prepare(tmp_path, monkeypatch, *words, "--each-camera", "--camera-level", "2").output
    assert "mine-gate.toml: written" in told
    assert "mine-yard.toml: written" in told
    made = tmp_path / "data" / "mine"
    links = {str(path.relative_to(made)) for path in made.rglob("*.avi")}
    expected = ("train/gate/06-01", "train/yard/06-01", "test/gate/06-02", "test/yard/06-02")
    assert links == {f"{place}/08.avi" for place in expected}
    assert not (made / "train" / "06-01").exists()
    told = prepare(tmp_path, monkeypatch, *words, "--camera-level", "3", code=2).output
    assert "expected recordings in 3 folders, of which the last is the camera, found 06-01/gate/08.avi" in told
    assert {str(path.relative_to(made)) for path in made.rglob("*.avi")} == links
    told = prepare(tmp_path, monkeypatch, *words[:4], "--camera-level", "2", code=2).output
    assert "--camera-level: expected with --test" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say which recordings are not for training"),
        (("--test", "x*"), "expected some of 4 recordings .* it fits none"),
        (("--test", "*"), "it fits all"),
    ],
)
def test_recordings_without_train_and_test_need_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    source = make_recordings(tmp_path / "nas")
    told = prepare(tmp_path, monkeypatch, "folder", str(source), *words, code=2).output
    assert re.search(message, told), told
