"""Archives come from strangers: nothing of them lands outside the folder, and nothing fills the disk."""

import io
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contract import DataError
from pipeline.datasets.archives import Limits, is_archive, no_archive, unpack


def make_zip(path: Path, files: dict[str, bytes], *, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            opened.writestr(info, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE, to: str = "") -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), to
            opened.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(".unpacked")}


MAKERS: list[tuple[str, Callable[[Path, dict[str, bytes]], Path]]] = [("a.zip", make_zip), ("a.tar.gz", make_tar)]
FILES = {"d/01/000.jpg": b"one", "d/01/001.jpg": b"two", "d/labels.npy": b"x" * 1000}
LITTER = {"__MACOSX/d/._000.jpg": b"x", "d/.DS_Store": b"x", "d/01/._000.jpg": b"x"}


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_an_archive_is_unpacked_once_and_litter_is_left_out(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / name, FILES | LITTER)
    assert is_archive(archive)
    assert unpack(archive, tmp_path / "to", Limits())
    assert tree(tmp_path / "to") == FILES
    (tmp_path / "to" / "d" / "labels.npy").unlink()
    assert not unpack(archive, tmp_path / "to", Limits())
    assert "d/labels.npy" not in tree(tmp_path / "to")


@pytest.mark.parametrize("name", ["../out.jpg", "d/../../out.jpg", "/tmp/out.jpg", "d\\..\\out.jpg"])
@pytest.mark.parametrize(("kind", "make"), MAKERS)
def test_names_that_lead_out_are_refused_and_nothing_is_put_in_place(
    tmp_path: Path, kind: str, make: Callable[..., Path], name: str
) -> None:
    archive = make(tmp_path / kind, {"d/fine.jpg": b"x", name: b"evil"})
    with pytest.raises(DataError, match=r"expected names below the folder it is unpacked to, found .*out\.jpg"):
        unpack(archive, tmp_path / "in" / "to", Limits())
    assert not list(tmp_path.rglob("out.jpg"))
    assert not (tmp_path / "in" / "to" / "d").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"d/link": b""}, kind=kind, to="/etc")
    with pytest.raises(DataError, match=r"expected files and folders only, found 'd/link', a link or a device"):
        unpack(archive, tmp_path / "to", Limits())


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"d/link": b"/etc"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(DataError, match=r"expected files and folders only, found 'd/link'"):
        unpack(archive, tmp_path / "to", Limits())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_bytes=100_000), "at most 100,000 bytes unpacked"),
        (Limits(max_files=2), "at most 2 files"),
        (Limits(free_ratio_bytes=1000, max_ratio=20), "at most 20 times its .* as in archives made to fill disks"),
    ],
    ids=["bytes", "files", "ratio"],
)
@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_archives_that_unpack_to_too_much_are_stopped(
    tmp_path: Path, name: str, make: Callable[..., Path], limits: Limits, message: str
) -> None:
    archive = make(tmp_path / name, {f"d/{i}.bmp": bytes(60_000) for i in range(4)})
    fresh = Limits(
        max_bytes=limits.max_bytes,
        max_files=limits.max_files,
        max_ratio=limits.max_ratio,
        free_ratio_bytes=limits.free_ratio_bytes,
    )
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "to", fresh)
    assert not (tmp_path / "to" / "d").exists()


def test_limits_hold_over_archives_in_archives(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"000.jpg": bytes(90_000)}).read_bytes()
    archive = make_zip(tmp_path / "a.zip", {"d/one.zip": inner, "e/two.zip": inner})
    with pytest.raises(DataError, match="at most 100,000 bytes"):
        unpack(archive, tmp_path / "small", Limits(max_bytes=100_000))
    assert unpack(archive, tmp_path / "to", Limits())
    assert sorted(tree(tmp_path / "to")) == ["d/000.jpg", "e/000.jpg"]


def test_a_zip_that_claims_less_than_it_holds_is_damaged(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"d/a.bmp": bytes(50_000)})
    data = bytearray(archive.read_bytes())
    place = data.index((50_000).to_bytes(4, "little"))
    while place >= 0:
        data[place : place + 4] = (10).to_bytes(4, "little")
        place = data.find((50_000).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(DataError, match="download it again"):
        unpack(archive, tmp_path / "to", Limits())
    assert not (tmp_path / "to" / "d").exists()


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_download_that_was_cut_off_says_so(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / name, {f"d/{i}.jpg": i.to_bytes(2, "big") * 40_000 for i in range(9)})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    if not zipfile.is_zipfile(archive) and name.endswith("zip"):
        assert not is_archive(archive)  # a zip's list of contents is at its end
        return
    with pytest.raises(DataError, match=r"expected a whole archive, found: .*; download it again"):
        unpack(archive, tmp_path / "to", Limits())
    assert not list((tmp_path / "to").iterdir())  # it would only fill the disk


@pytest.mark.parametrize("gone", ["data", "data/one"])
def test_folders_that_were_removed_since_are_unpacked_again(tmp_path: Path, gone: str) -> None:
    files = {f"data/{name}/000.jpg": name.encode() for name in ("one", "two")}
    archive = make_zip(tmp_path / "a.zip", files)
    assert unpack(archive, tmp_path / "to", Limits())
    assert not unpack(archive, tmp_path / "to", Limits())
    shutil.rmtree(tmp_path / "to" / gone)
    assert unpack(archive, tmp_path / "to", Limits())
    assert tree(tmp_path / "to") == files


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"PK\x03\x04" + bytes(996), r"expected a \.zip archive .* found 1,000 bytes .* \(most likely cut off\)"),
        ("A.TAR.GZ", b"<!DOCTYPE html>", r"a \.tar\.gz archive .* begin with b'<!DOCTYPE ht' \(most likely a web page\)"),
    ],
)
def test_a_file_that_is_an_archive_by_its_name_only_is_to_be_downloaded_again(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert not is_archive(path)
    assert re.search(f"{message}; download it again", str(no_archive(path)))


def test_what_was_stopped_goes_on_with_the_files_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    free = iter([10**12, 10**12, 0])
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)
        patch.setattr("shutil.disk_usage", lambda _: usage._replace(free=next(free)))
        with pytest.raises(OSError, match=r"expected room for a file of 1,000 bytes .* choose another place with --to"):
            unpack(archive, tmp_path / "to", Limits())
    (side,) = (tmp_path / "to").iterdir()
    assert sorted(tree(side)) == ["d/01/000.jpg", "d/01/001.jpg"]
    kept = (side / "d" / "01" / "000.jpg").stat().st_mtime_ns
    assert unpack(archive, tmp_path / "to", Limits())
    assert tree(tmp_path / "to") == FILES
    assert (tmp_path / "to" / "d" / "01" / "000.jpg").stat().st_mtime_ns == kept


def test_two_archives_share_a_folder_but_never_a_file(tmp_path: Path) -> None:
    assert unpack(make_zip(tmp_path / "a.zip", {"d/one.avi": b"1"}), tmp_path / "to", Limits())
    assert unpack(make_zip(tmp_path / "b.zip", {"d/two.avi": b"2"}), tmp_path / "to", Limits())
    assert tree(tmp_path / "to") == {"d/one.avi": b"1", "d/two.avi": b"2"}
    with pytest.raises(DataError, match=r"d/one\.avi: expected nothing here, or what is in .*c\.zip"):
        unpack(make_zip(tmp_path / "c.zip", {"d/one.avi": b"another"}), tmp_path / "to", Limits())


def test_archives_that_python_cannot_read_come_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    with pytest.raises(DataError, match=r"unrar x .*a\.rar .*/a/\nand name the folder in place of the archive"):
        is_archive(tmp_path / "a.rar")


def test_a_zip_with_a_password_says_so(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"d/a.bmp": b"x"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="without a password"):
        unpack(archive, tmp_path / "to", Limits())
