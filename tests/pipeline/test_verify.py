"""Whatever happens to a file of the cache is found, and a repair makes again what was damaged and nothing else."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.checksums import checksum_file
from pipeline.artifacts.keys import digest_bytes
from pipeline.artifacts.layout import Layout
from pipeline.artifacts.receipts import make_receipt, receipt_name
from pipeline.artifacts.seals import sealed
from pipeline.artifacts.shard_rows import pack_rows
from pipeline.artifacts.store import Artifact, DamagedShardError, MissingShardError
from pipeline.artifacts.subject import subject_of
from pipeline.artifacts.use import in_use
from pipeline.artifacts.verify import verify as verify_artifact
from pipeline.contract import ArraySpec, ShardStage
from pipeline.execution.inputs import StoredInputs
from pipeline.files import write_json
from tests.pipeline.upkeep import files, make_whole, run, settings, space, verify, work_in_copy, write_video


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_whole(tmp_path_factory.mktemp("made"), ("flows", ()), ("train", ()))


@pytest.fixture(autouse=True)
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of a project of which everything is made."""
    return work_in_copy(made, tmp_path, monkeypatch)


def artifact(name: str) -> Artifact:
    return space().artifact(name)


def shard_file(name: str = "frames", index: int = 1) -> Path:
    return next((artifact(name).folder / "data").glob(f"*a@*/*/c/{index}/0/0/0"))


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def dates(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*-*/**/*") if path.is_file()}


# ---- finding


def test_all_is_well_with_what_was_just_made() -> None:
    assert verify() == []
    assert verify("--fast") == []
    assert verify("--all") == []
    out = run("verify", *settings()).stdout
    assert [line.split()[1:4] for line in out.splitlines()] == [["6", "receipts,", "no"]] * 2 + [["1", "receipts,", "no"]]


@pytest.mark.parametrize("name", ["frames", "flows", "train"])
def test_every_flipped_bit_is_found_in_every_file(name: str) -> None:
    subject = subject_of(space(), name)
    folder = subject.artifact.folder
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(paths) > 3
    rng = np.random.default_rng(len(paths))
    for path in paths:
        whole = path.read_bytes()
        for bit in rng.choice(8 * len(whole), 6, replace=False):
            flip(path, int(bit))
            findings = verify_artifact(subject, deep=False).wrong
            places = {finding.place for finding in findings}
            assert path.relative_to(folder).as_posix() in places, f"bit {bit} of {path}"
            path.write_bytes(whole)
    assert verify_artifact(subject).findings == []


@pytest.mark.parametrize("name", ["frames", "train"])
def test_a_flipped_bit_ends_the_command_with_code_1_and_a_remedy(name: str) -> None:
    path = shard_file() if name == "frames" else next(artifact("train").folder.glob("data-*/model.bin"))
    flip(path, 1234)
    (finding,) = verify(code=1)
    assert (finding["kind"], finding["artifact"]) == ("damaged", f"small/{artifact(name).folder.name}")
    assert finding["place"] == path.relative_to(artifact(name).folder).as_posix()
    assert "checksum" in finding["expected"]
    assert "checksum" in finding["found"]
    assert f"stpa {name} makes it again" in finding["remedy"]
    result = run("verify", *settings(), code=1)
    assert finding["place"] in result.stdout
    assert "--repair" in result.stderr


@pytest.mark.parametrize("change", ["gone", "empty", "cut", "longer", "link", "folder"])
@pytest.mark.parametrize("name", ["shard", "model", "metadata", "receipt", "manifest"])
def test_a_file_that_is_not_as_it_was_is_found(name: str, change: str, tmp_path: Path) -> None:
    frames, train = artifact("frames").folder, artifact("train").folder
    folder, pattern = {
        "shard": (frames, "data/*a@*/frames/c/2/0/0/0"),
        "model": (train, "data-*/deep/means.json"),
        "metadata": (frames, "data/*a@*/frames/zarr.json"),
        "receipt": (train, "receipts/all@*.json"),
        "manifest": (frames, "manifest.json"),
    }[name]
    path = next(folder.glob(pattern))
    whole = path.read_bytes()
    path.unlink()
    if change in ("empty", "cut", "longer"):
        path.write_bytes({"empty": b"", "cut": whole[:-1], "longer": whole + b"\n"}[change])
    elif change == "link":
        (tmp_path / "elsewhere").write_bytes(whole)
        path.symlink_to(tmp_path / "elsewhere")
    elif change == "folder":
        path.mkdir()
    findings = verify(code=1)
    place = path.relative_to(folder).as_posix()
    if name == "receipt" and change == "gone":
        place = next(train.glob("data-*")).name  # nothing vouches for the files that it was the receipt of
    assert place in {finding["place"] for finding in findings}


@pytest.mark.parametrize("place", ["notes.txt", "data/x", "receipts/x", "receipts/all@12.txt", "data/zarr.json~"])
@pytest.mark.parametrize("name", ["frames", "train"])
def test_a_file_that_nobody_wrote_is_a_stray_and_goes(name: str, place: str) -> None:
    stray = artifact(name).folder / place
    stray.parent.mkdir(exist_ok=True)
    before = files(artifact(name).folder)
    stray.write_bytes(b"rubbish")
    (finding,) = verify(code=1)
    assert (finding["kind"], finding["place"]) == ("stray", place)
    run("verify", *settings(), "--repair")
    assert files(artifact(name).folder) == before
    assert verify() == []


def test_what_interrupted_runs_leave_is_found_and_goes() -> None:
    frames, train = artifact("frames"), artifact("train")
    (shard_file().parent / ".partial-abc").write_bytes(b"half")
    (frames.receipts_folder / ".partial-abc").write_bytes(b"half")
    (train.folder / ".partial-abc").mkdir()
    (train.folder / ".partial-abc" / "model.bin").write_bytes(b"half")
    next(frames.receipts_folder.glob("*a@*.00002-of-00003.json")).unlink()  # killed before the receipt was written
    found = [(finding["kind"], Path(finding["place"]).name) for finding in verify(code=1)]
    assert sorted(found)[0][0] == "missing"
    assert sorted(found)[1:] == [("stray", ".partial-abc")] * 3 + [("stray", "0")]
    result = run("verify", *settings(), "--repair")
    assert "made 1 again" in result.stderr
    assert verify() == []
    assert not list(Path("cache").rglob(".partial-*"))


def test_whole_shards_that_changed_places_are_found() -> None:
    one, other = sorted((artifact("frames").folder / "data").glob("*/frames/c/0/0/0/0"))[:2]
    before = one.read_bytes(), other.read_bytes()
    one.write_bytes(before[1])
    other.write_bytes(before[0])
    assert len(verify(code=1)) == 2
    run("verify", *settings(), "--repair")
    assert (one.read_bytes(), other.read_bytes()) == before


def test_a_receipt_with_a_checksum_of_the_whole_file_stays_valid() -> None:
    frames = artifact("frames")
    path = next(iter(sorted((frames.folder / "receipts").glob("*.json"))))
    content = {name: value for name, value in json.loads(path.read_text()).items() if name != "seal"}
    ((file, checksum),) = content["files"].items()
    assert checksum.startswith("crc32c/")
    whole = checksum_file(frames.folder / file, "crc32c:")
    frames.write_receipt(path.name, content | {"files": {file: whole}})
    assert verify() == []
    data = bytearray((frames.folder / file).read_bytes())
    data[5] ^= 1
    (frames.folder / file).write_bytes(data)
    assert len(verify(code=1)) == 1


def write_falsely(values: np.ndarray, spec: ArraySpec | None = None) -> None:
    """Write a shard of flow, with a receipt that vouches for it, past every check."""
    workspace = space()
    flows, stage, record = workspace.artifact("flows"), workspace.stages["flows"], workspace.records[0]
    assert isinstance(stage, ShardStage)
    shard = flows.shards(record, stage.length(record))[1]
    real = stage.arrays(record)[0]
    data = b"".join(pack_rows(values, Layout(spec or real, flows.shard_frames, real.packed))[0])
    ((file, _),) = flows.shard_files(shard, (real,)).items()
    (flows.folder / file).write_bytes(data)
    receipt = make_receipt(shard, seconds=1, files={file: digest_bytes(data)}, provenance={})
    flows.write_receipt(receipt_name(record, 1, 3), asdict(receipt))


def test_packed_pictures_are_as_good_as_others_and_are_repaired_as_what_they_were() -> None:
    folder, flows = artifact("frames").folder, files(artifact("flows").folder)
    plain = files(folder)
    shutil.rmtree(folder)
    run("frames", *settings("run.compress=true"))
    packed = files(folder)
    assert packed.keys() == plain.keys()
    changed = {name for name in packed if packed[name] != plain[name]}
    assert changed == {name for name in packed if name.count("/") > 2}  # arrays, but not what is above them
    assert verify() == []
    assert "nothing to do" in run("frames", *settings()).stderr
    run("flows", *settings("run.workers=2"), "--force")
    assert files(artifact("flows").folder) == flows
    shard, (metadata, *_) = shard_file(), sorted(folder.glob("data/*a@*/*/zarr.json"))
    for path, bit in ((shard, 999), (metadata, 999)):
        flip(path, bit)
        assert [finding["place"] for finding in verify(code=1)] == [path.relative_to(folder).as_posix()]
        run("verify", *settings(), "--repair")
        assert files(folder) == packed
    metadata.write_bytes(plain[metadata.relative_to(folder).as_posix()])  # sound, but of shards that are not packed
    assert len(verify(code=1)) == 3
    run("verify", *settings(), "--repair")
    assert verify() == []
    assert files(artifact("frames").folder / "data" / metadata.parent.parent.name) == {
        name.removeprefix(f"data/{metadata.parent.parent.name}/"): data
        for name, data in plain.items()
        if metadata.parent.parent.name in name
    }


def test_nan_is_found_though_its_receipt_vouches_for_it() -> None:
    flow_T2HW = np.zeros((16, 2, 32, 48), np.float16)
    flow_T2HW[3, 1, 2, 5:7] = np.nan
    write_falsely(flow_T2HW)
    (finding,) = verify(code=1)
    assert (finding["kind"], finding["found"]) == ("damaged", "2 values that are not finite")
    assert verify("--fast") == []
    run("verify", *settings(), "--repair", "--upstream")
    assert verify() == []


@pytest.mark.parametrize(("shape", "dtype"), [((40, 2, 32, 40), "float16"), ((40, 2, 32, 48), "float32")])
def test_wrong_shapes_and_dtypes_are_found_though_their_receipt_vouches_for_them(shape: tuple[int, ...], dtype: str) -> None:
    spec = ArraySpec(name="flow", shape=shape, dtype=dtype, dimension_names=("t", "xy", "y", "x"))
    write_falsely(np.ones((16, *shape[1:]), dtype), spec)
    (finding,) = verify(code=1)
    assert finding["kind"] == "damaged"
    assert "cannot be unpacked as such" in finding["found"]


def test_a_receipt_that_vouches_for_anything_else_is_refused_and_nothing_outside_is_touched(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_bytes(b"gold")
    path = next(artifact("train").receipts_folder.iterdir())
    content = json.loads(path.read_text())
    for name in ("../../../../treasure", str(treasure), "deep/../../../../../treasure"):
        write_json(path, sealed({**content, "files": {name: "0" * 32}}))
        assert any(name in finding["place"] for finding in verify(code=1))
    shard = next(artifact("frames").receipts_folder.glob("*.00000-of-*"))
    content = json.loads(shard.read_text())
    write_json(shard, sealed({**content, "files": {"../../../treasure": "0" * 32}}))
    assert f"receipts/{shard.name}" in {finding["place"] for finding in verify(code=1)}
    run("verify", *settings(), "--repair")
    assert verify() == []
    assert treasure.read_bytes() == b"gold"


def test_a_receipt_under_the_name_of_another_shard_is_found() -> None:
    first, second, _ = sorted(artifact("frames").receipts_folder.glob("*a@*"))
    shutil.copy(first, second)
    (finding,) = verify(code=1)
    assert finding["place"] == f"receipts/{second.name}"
    assert "shard 0, elements 0:16" in finding["found"]


def test_receipts_of_before_there_were_checksums_are_no_fault() -> None:
    for name in ("frames", "train"):
        for path in artifact(name).receipts_folder.iterdir():
            content = json.loads(path.read_text())
            del content["seal"]
            if name == "train":
                del content["files"]
            write_json(path, content)
    (finding,) = verify()
    assert (finding["kind"], finding["artifact"].startswith("small/train")) == ("unchecked", True)
    flip(shard_file(), 77)
    assert len(verify(code=1)) == 2


def test_a_symbolic_link_is_named_and_neither_followed_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_bytes(b"mine")
    link = artifact("frames").folder / "data" / "linked"
    link.symlink_to(tmp_path / "other")
    (finding,) = verify(code=1)
    assert (finding["place"], finding["found"]) == ("data/linked", "a symbolic link")
    result = run("verify", *settings(), "--repair", code=1)
    assert "cannot be mended" in result.stderr
    assert link.is_symlink()
    assert (tmp_path / "other" / "mine").read_bytes() == b"mine"


# ---- of other settings and videos that are gone


def test_arrays_of_replaced_videos_are_looked_at_too() -> None:
    old = next((artifact("frames").folder / "data").glob("*a@*/frames/c/0/0/0/0"))
    write_video(Path("data/train/a"), seed=9)
    run("flows", *settings())
    run("train", *settings())
    assert verify() == []
    flip(old, 999)
    (finding,) = verify(code=1)
    assert finding["place"] == old.relative_to(artifact("frames").folder).as_posix()
    flip(old, 999)
    flip(old.parents[4] / "zarr.json", 40)
    (finding,) = verify(code=1)
    assert finding["place"].endswith("frames/zarr.json")


def test_artifacts_of_other_settings_are_looked_at_with_all() -> None:
    other = ("frames.height=48", "train.seed=1")
    run("train", *settings(*other))
    flip(next(space(*other).artifact("frames").folder.rglob("c/1/0/0/0")), 5)
    flip(next(space(*other).artifact("train").folder.rglob("model.bin")), 5)
    assert verify() == []
    assert len(verify("--all", code=1)) == 2
    receipts = space(*other).artifact("frames").receipts
    assert len(receipts()) == 6
    run("verify", *settings(), "--all", "--repair")
    assert len(receipts()) == 5
    run("train", *settings(*other))
    assert verify("--all") == []


def test_a_run_of_other_settings_that_was_interrupted_is_no_fault() -> None:
    run("frames", *settings("frames.height=48"))
    other = space("frames.height=48").artifact("frames")
    for name in other.receipts():
        if name.startswith("train-b@"):  # begun, and stopped before its first shard was there
            other.remove_receipt(name)
    shutil.rmtree(next((other.folder / "data").glob("train-b@*/frames/c")))
    assert verify("--all") == []
    (other.folder / "data" / "zarr.json").with_name("notes.txt").touch()
    (finding,) = verify("--all", code=1)
    assert finding["place"] == "data/notes.txt"


def test_nothing_is_concluded_from_an_artifact_whose_settings_are_lost() -> None:
    folder = space("frames.height=48").artifact("frames").folder
    run("frames", *settings("frames.height=48"))
    (folder / "manifest.json").write_text("{}")
    (finding,) = verify("--all", code=1)
    assert finding["place"] == "manifest.json"
    before = files(folder)
    run("verify", *settings(), "--all", "--repair", code=1)
    assert files(folder) == before
    run("verify", *settings("frames.height=48"), "--repair")
    assert verify("--all") == []


# ---- repair


def test_a_repair_makes_exactly_the_damaged_shards_again_to_the_same_bytes() -> None:
    cache = Path("cache")
    before = files(cache)
    damaged = [shard_file("frames", 0), shard_file("frames", 2)]
    flip(damaged[0], 4321)
    damaged[1].unlink()
    untouched = {path: date for path, date in dates(cache).items() if path not in damaged}
    result = run("verify", *settings(), "--repair")
    assert "cleared 2 of 2 findings, made 2 again" in result.stderr
    assert files(cache) == before
    after = dates(cache)
    changed = [path for path, date in untouched.items() if after[path] != date]
    assert len(changed) == 2  # the receipts of those shards
    assert {path.parent.name for path in changed} == {"receipts"}
    assert verify() == []


def test_a_repair_names_the_command_of_what_is_costly_and_makes_it_if_told_so() -> None:
    cache = Path("cache")
    before = files(cache)
    for name in ("frames", "flows"):
        flip(shard_file(name), 800)
    result = run("verify", *settings(), "--repair", code=5)
    assert "stpa flows" in result.stderr
    with pytest.raises(MissingShardError):
        StoredInputs(space()).read("flows", "flow", space().records[0], 16, 20)
    assert "made 1 shards" in run("flows", *settings()).stderr
    assert files(cache) == before
    for name in ("frames", "flows"):
        flip(shard_file(name), 800)
    assert "made 2 again" in run("verify", *settings(), "--repair", "--upstream").stderr
    assert files(cache) == before
    assert verify() == []


def test_a_repair_makes_a_damaged_model_again() -> None:
    before = files(Path("cache"))
    flip(next(artifact("train").folder.rglob("model.bin")), 3)
    with pytest.raises(DamagedShardError, match=r"model\.bin: expected a file with checksum .* stpa verify --repair"):
        StoredInputs(space()).folder("train")
    run("verify", *settings(), "--repair")
    assert files(Path("cache")) == before
    assert StoredInputs(space()).folder("train").is_dir()


def test_damaged_metadata_and_manifests_are_written_anew_and_no_shard_is_made() -> None:
    before = files(Path("cache"))
    folder = artifact("frames").folder
    for path in (folder / "manifest.json", *folder.rglob("zarr.json")):
        flip(path, 30)
    result = run("verify", *settings(), "--repair")
    assert "made 0 again" in result.stderr
    assert files(Path("cache")) == before


def test_what_a_run_is_writing_is_no_fault_and_is_left_alone() -> None:
    partial = shard_file().parent / ".partial-now"
    partial.write_bytes(b"half")
    damaged = shard_file("frames", 2)
    with in_use([artifact("frames").place]):
        assert verify() == []
        flip(damaged, 100)
        assert [finding["kind"] for finding in verify(code=1)] == ["damaged"]
        assert "a run uses it" in run("verify", *settings(), "--repair", code=1).stderr
        assert len(artifact("frames").receipts()) == 6
    assert len(verify(code=1)) == 2
    run("verify", *settings(), "--repair")
    assert not partial.exists()


def test_videos_that_were_never_begun_are_no_fault() -> None:
    write_video(Path("data/train/c"), seed=4)
    found = verify()
    assert found == []


def test_an_interrupted_repair_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(Path("cache"))
    for index in range(3):
        flip(shard_file("frames", index), 50)
    (artifact("frames").folder / "stray").write_bytes(b"x")
    real = os.unlink
    for calls in range(1, 4):
        left = [calls]

        def unlink(*arguments: object, left: list[int] = left, **more: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            real(*arguments, **more)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink)
            assert "interrupted" in run("verify", *settings(), "--repair", code=1).stderr
        verify(code=1)
    run("verify", *settings(), "--repair")
    run("frames", *settings())
    assert files(Path("cache")) == before
    assert verify() == []
