"""The commands with a cache behind a URL: the same arrays, the same findings, the same repairs as in a folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import stpa
from pipeline.artifacts.folders import kept_at
from pipeline.artifacts.place import LocalPlace, Place, open_place
from pipeline.execution.inputs import StoredInputs
from tests.pipeline.s3_server import SECRET, new_bucket, use_s3
from tests.pipeline.upkeep import make_project, run, settings, space, verify, work_in, write_video


@pytest.fixture(params=["memory", "s3"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Work in a project whose cache lies in an object store."""
    if request.param == "s3":
        use_s3(monkeypatch)
    url = f"{new_bucket()}/some/where" if request.param == "s3" else f"memory://{tmp_path.name}"
    make_project(tmp_path)
    with (tmp_path / "s.toml").open("a") as file:
        file.write(f'cache = "{url}"\n')
    work_in(tmp_path, monkeypatch)
    return open_place(url)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Work in a project whose cache lies on the server."""
    use_s3(monkeypatch)
    url = new_bucket()
    make_project(tmp_path)
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text() + f'cache = "{url}"\n')
    work_in(tmp_path, monkeypatch)
    return open_place(url)


def contents(place: Place) -> dict[str, bytes]:
    """Return every file but those that hold dates and times."""
    names = [entry.name for entry in place.tree() if entry.kind == "file"]
    return {name: place.read(name) for name in names if "receipts/" not in name and not name.endswith("inventory.json")}


def states(*overrides: str) -> dict[str, str]:
    stages = json.loads(run("status", *settings(*overrides), "--json").stdout)["stages"]
    return {stage["stage"]: stage["state"] for stage in stages}


def read_all(stage: str) -> None:
    inputs = StoredInputs(space())
    for record in inputs.videos("train"):
        inputs.read(stage, stage, record)


def flip(place: Place, file: str) -> None:
    data = bytearray(place.read(file))
    data[len(data) // 3] ^= 4
    place.write(file, bytes(data))


def test_a_store_holds_the_same_bytes_as_a_folder(cache: Place, tmp_path: Path) -> None:
    for where in ((), ("run.cache='local'",)):
        run("train", *settings(*where), "--upstream")
        run("flows", *settings(*where))
    local = {name: data for name, data in contents(LocalPlace(tmp_path / "local")).items() if ".locks/" not in name}
    assert contents(cache) == local
    assert len(local) > 20
    assert set(states().values()) == {"fresh"}
    assert not (tmp_path / "cache").exists()
    assert verify() == []


def test_what_is_read_from_a_store_is_what_a_folder_holds(cache: Place) -> None:
    run("train", *settings(), "--upstream")
    run("train", *settings("run.cache='local'"), "--upstream")
    store, folder = StoredInputs(space()), StoredInputs(space("run.cache='local'"))
    for record in store.videos("train"):
        for start, stop in ((0, None), (10, 26), (39, 40), (5, 5)):
            there = store.read("frames", "frames", record, start, stop)
            assert (there == folder.read("frames", "frames", record, start, stop)).all()
            assert len(there) == (40 if stop is None else stop - start)
    path = store.folder("train")
    assert (path.name, path.parent.name) == (folder.folder("train").name, folder.folder("train").parent.name)
    assert (path / "model.bin").read_bytes() == (folder.folder("train") / "model.bin").read_bytes()
    assert (path / "deep" / "means.json").read_text() == (folder.folder("train") / "deep" / "means.json").read_text()


def test_what_is_damaged_in_a_store_is_found_refused_and_mended(cache: Place) -> None:
    run("train", *settings(), "--upstream")
    frames, train = space().artifact("frames").place, space().artifact("train").place
    before = contents(cache)
    shards = [entry.name for entry in frames.tree("data") if "/c/1/" in entry.name]
    model = next(entry.name for entry in train.tree() if entry.name.endswith("model.bin"))
    flip(frames, f"data/{shards[0]}")
    frames.remove(f"data/{shards[1]}")
    frames.remove("data/zarr.json")
    flip(train, model)
    with pytest.raises(OSError, match=r"elements 0:40 have a receipt but cannot be read"):
        read_all("frames")
    with pytest.raises(OSError, match="expected a file with checksum"):
        StoredInputs(space()).folder("train")
    places = {finding["place"] for finding in verify(code=1)}
    assert places == {f"data/{shards[0]}", f"data/{shards[1]}", "data/zarr.json", model}
    run("verify", *settings(), "--repair", "--upstream")
    assert verify() == []
    assert contents(cache) == before


def test_what_is_told_of_a_folder_is_where_it_stays_not_where_it_was_fetched_to(cache: Place) -> None:
    run("train", *settings(), "--upstream")
    folder = StoredInputs(space()).folder("train")
    assert kept_at(folder) == f"{space().artifact('train').place}/{folder.name}"
    assert open_place(kept_at(folder)).is_file("model.bin")
    run("train", *settings("run.cache='here'"), "--upstream")
    folder = StoredInputs(space("run.cache='here'")).folder("train")
    assert kept_at(folder) == str(folder)


def test_an_empty_shard_is_never_read_as_fill_values(cache: Place) -> None:
    run("frames", *settings())
    frames = space().artifact("frames").place
    frames.write(next(f"data/{entry.name}" for entry in frames.tree("data") if "/c/0/" in entry.name), b"")
    with pytest.raises(OSError, match=r"elements 0:40 have a receipt but cannot be read \(EOFError: .* is empty"):
        read_all("frames")


def test_an_interrupted_run_goes_on_and_a_new_video_makes_its_own_shards(cache: Place, tmp_path: Path) -> None:
    run("frames", *settings())
    frames = space().artifact("frames")
    before = {entry.name: entry.modified for entry in frames.place.tree("data")}
    lost = sorted(frames.receipts())[1]
    frames.remove_receipt(lost)
    assert states()["frames"] == "partial"
    assert "made 1 shards" in run("frames", *settings()).stderr
    write_video(tmp_path / "data" / "train" / "c", 7)
    assert "made 3 shards" in run("frames", *settings()).stderr
    assert len(frames.receipts()) == 9
    assert sum(entry.modified == before.get(entry.name) for entry in frames.place.tree("data")) >= len(before) - 2
    assert "nothing to do" in run("frames", *settings()).stderr


def test_a_stray_goes_once_no_run_can_be_about_to_vouch_for_it(cache: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run("frames", *settings())
    frames = space().artifact("frames")
    frames.place.write("data/notes.txt", b"mine")
    name = sorted(frames.receipts())[1]
    frames.remove_receipt(name)
    kinds = sorted(finding["kind"] for finding in verify(code=1))
    assert kinds == ["missing", "stray", "stray"]
    result = run("verify", *settings(), "--repair", code=1)
    assert "written less than a day ago" in result.stderr
    assert frames.place.is_file("data/notes.txt")
    assert frames.has_receipt(name)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    run("verify", *settings(), "--repair")
    assert not frames.place.is_file("data/notes.txt")
    assert verify() == []


def test_gc_removes_from_a_store_what_was_not_written_to_for_a_day(cache: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 1):
        run("train", *settings(f"train.seed={seed}"), "--upstream")
    (row,) = json.loads(run("gc", *settings(), "--json").stdout)["garbage"]
    assert row["in_use"]  # for all that anybody can see: there are no locks
    assert "removed 0 of 1" in run("gc", *settings(), "--yes").stderr
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    kept = {name: data for name, data in contents(cache).items() if f"train-{row['key']}" not in name}
    assert "removed 1 of 1" in run("gc", *settings(), "--yes").stderr
    assert contents(cache) == kept
    assert states() == {"frames": "fresh", "flows": "absent", "train": "fresh"}
    assert verify("--all") == []


# ---- on the server alone


def test_two_commands_at_once_do_no_harm(s3: Place, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stpa", "frames", "--config", "s.toml"]
    environment = {**os.environ, "PYTHONPATH": str(Path(stpa.__file__).parent), "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [process.communicate(timeout=100)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], messages
    assert all(SECRET not in message for message in messages)
    assert verify() == []
    assert states()["frames"] == "fresh"
    run("frames", *settings("run.cache='local'"))
    local = {name: data for name, data in contents(LocalPlace(tmp_path / "local")).items() if ".locks/" not in name}
    assert contents(s3) == local


def test_planning_lists_receipts_and_opens_nothing(s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", *settings(), "--upstream")
    asked: list[str] = []
    for verb in ("read", "names", "tree", "is_file", "is_folder"):
        real = getattr(type(s3), verb)

        def count(self: Place, *names: object, verb: str = verb, real: object = real) -> object:
            asked.append(f"{verb} {names[0] if names else ''}")
            return real(self, *names)  # type: ignore[operator]

        monkeypatch.setattr(type(s3), verb, count)
    assert states() == {"frames": "fresh", "flows": "absent", "train": "fresh"}
    assert [ask for ask in asked if ask.startswith("read")] == ["read inventory.json"]
    assert asked.count("names receipts") == 3
    assert len(asked) < 10


@pytest.mark.parametrize("command", ["status", "frames", "verify", "gc"])
def test_a_wrong_bucket_and_a_server_that_is_gone_end_the_command(
    s3: Place, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = run(command, *settings("run.cache='s3://nobodys/x'"), code=1).stderr
    assert "s3://nobodys/x" in message
    use_s3(monkeypatch, "http://127.0.0.1:9")
    message = run(command, *settings(), code=1).stderr
    assert "cannot be reached or used" in message
    assert "Traceback" not in message
