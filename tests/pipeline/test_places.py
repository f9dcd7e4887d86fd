"""What holds for every place in which artifacts may lie: one suite for folders, for memory and for a server of S3."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from moto.s3.models import s3_backends

from pipeline.artifacts.keys import digest_bytes
from pipeline.artifacts.place import LocalPlace, Place, local_copy, open_place
from pipeline.config import ConfigError
from tests.pipeline.s3_server import new_bucket, use_s3

KINDS = ("folder", "file", "memory", "s3")
ODD = ("train-%2E%2E@0123.00000-of-00001.json", "a+b @1", "-rf", "x" * 160)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return an artifact that was not begun, in a cache of each kind."""
    if request.param == "s3":
        use_s3(monkeypatch)
    caches: dict[str, Callable[[], Path | str]] = {
        "folder": lambda: tmp_path / "cache",
        "file": lambda: f"file://{tmp_path}/cache",
        "memory": lambda: f"memory://{tmp_path.name}/cache",
        "s3": lambda: f"{new_bucket()}/cache",
    }
    return open_place(caches[request.param]()) / "dataset" / "frames-0123456789abcdef"


def test_what_is_written_is_read_listed_and_removed(place: Place) -> None:
    for name in ("manifest.json", "receipts/a.json", "receipts/b.json", "data/v/x/c/0/0", "data/v/x/c/1/0"):
        place.write(name, name.encode())
    assert place.read("data/v/x/c/0/0") == b"data/v/x/c/0/0"
    assert sorted(place.names()) == ["data", "manifest.json", "receipts"]
    assert sorted(place.names("receipts")) == ["a.json", "b.json"]
    found = [entry for entry in place.tree("data") if entry.kind == "file"]
    assert [(entry.name, entry.size) for entry in found] == [("v/x/c/0/0", 14), ("v/x/c/1/0", 14)]
    assert all(abs(entry.modified - time.time()) < 3600 for entry in found)
    assert (place.is_file("manifest.json"), place.is_file("data"), place.is_file("none")) == (True, False, False)
    assert (place.is_folder(), place.is_folder("receipts"), place.is_folder("none")) == (True, True, False)
    assert place.digest("manifest.json") == digest_bytes(b"manifest.json")
    assert abs(place.modified("receipts") - time.time()) < 3600
    place.remove("receipts/a.json")
    place.remove("receipts/a.json")
    assert place.names("receipts") == ["b.json"]
    place.remove("data")
    assert sorted(place.names()) == ["manifest.json", "receipts"]
    place.remove()
    assert not place.is_folder()


def test_what_is_not_there_is_told_as_such(place: Place) -> None:
    assert (place.names(), list(place.tree()), place.modified(), place.is_folder()) == ([], [], 0.0, False)
    for ask in (place.read, place.digest):
        with pytest.raises(FileNotFoundError):
            ask("none")
    place.remove("none")
    place.remove()


def test_a_file_is_replaced_whole_and_may_be_empty(place: Place) -> None:
    for data in (b"first" * 100, b"second", b""):
        place.write("a/b", data)
        assert place.read("a/b") == data
    assert place.names("a") == ["b"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_come_back_as_they_were(place: Place, name: str) -> None:
    place.write(f"receipts/{name}", b"x")
    assert place.names("receipts") == [name]
    assert [entry.name for entry in place.tree("receipts")] == [name]
    assert place.read(f"receipts/{name}") == b"x"
    place.remove(f"receipts/{name}")
    assert place.names("receipts") == []


def test_places_are_told_apart_by_where_they_lie(place: Place) -> None:
    assert place == place.parent / place.name
    assert len({place, place.parent / place.name, place.parent}) == 2
    assert (place / "a" / "b").parent == place / "a"
    place.write("a/b/c", b"x")
    assert (place / "a" / "b").read("c") == (place / "a").read("b/c") == b"x"
    assert place.resolved().read("a/b/c") == b"x"
    assert (place.parent / "frames-0123456789abcde").names() == []


def test_a_listing_has_more_names_than_one_page_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch)
    bucket = new_bucket()
    names = [f"{i:04d}" for i in range(2001)]  # a page has a thousand
    for name in names:
        s3_backends["123456789012"]["aws"].put_object(bucket.removeprefix("s3://"), f"frames/receipts/{name}", b"x")
    place = open_place(bucket) / "frames"
    assert sorted(place.names("receipts")) == names
    assert [entry.name for entry in place.tree("receipts")] == names


def test_others_see_at_once_what_was_written_and_never_half_of_it(place: Place) -> None:
    contents = [bytes([i]) * 300_000 for i in range(6)]
    place.write("a", contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(place.read("a"))

    reader = threading.Thread(target=look)
    reader.start()
    for content in contents:
        place.write("a", content)
        assert place.read("a") == content
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_a_copy_of_a_file_is_put_back_when_it_was_changed(place: Place) -> None:
    for content in (b"one", b"one", b"two"):
        with local_copy(place, "inventory.json") as path:
            path.parent.mkdir(parents=True, exist_ok=True)
            assert path.exists() == place.is_file("inventory.json")
            path.write_bytes(content)
        assert place.read("inventory.json") == content


# ---- of URLs alone


def test_a_url_that_no_library_is_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected a folder, or a URL of a kind that fsspec knows"):
        open_place("nonsense://bucket/x")


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"expected the library for gs://, found none; run: pip install 'stpa\[gs\]'"):
        open_place("gs://bucket/x")


def test_a_bucket_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch)
    with pytest.raises(OSError, match="expected the bucket nobodys, found none"):
        open_place("s3://nobodys/x").names()
    with pytest.raises(OSError, match="s3://nobodys/x/manifest"):
        open_place("s3://nobodys/x").write("manifest.json", b"x")


def test_a_server_that_is_not_there_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch, "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(OSError, match="s3://bucket/x: cannot be reached or used: Could not connect"):
        open_place("s3://bucket/x").names()
    assert time.monotonic() - start < 30


# ---- of folders alone


def test_no_link_is_followed_when_a_file_is_written(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "cache") / "dataset"
    (tmp_path / "elsewhere").mkdir()
    place.write("a/b", b"x")
    (place.path / "l").symlink_to(tmp_path / "elsewhere")
    for name in ("l/x", "l/deep/x"):
        with pytest.raises(OSError, match="expected a folder of the cache, found a symbolic link"):
            place.write(name, b"x")
        with pytest.raises(OSError, match="found a symbolic link"):
            place.make(name)
    assert [(entry.name, entry.kind) for entry in place.tree()] == [("a", "folder"), ("a/b", "file"), ("l", "link")]
    assert (place.link("a/b"), place.link("l/x")) == ("", "l")
    place.remove("l")
    assert list((tmp_path / "elsewhere").iterdir()) == []
