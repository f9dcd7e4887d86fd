"""What comes from elsewhere runs no code, fills no memory and leaves the cache by no name; what is left holds no secret."""

import ast
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd

import stpa
from pipeline.artifacts.bounded import MOST_BYTES, BoundedZstd, read_whole, unpacked_size
from pipeline.artifacts.place import LocalPlace, open_place
from pipeline.config import ConfigError, load_config, redact
from pipeline.contract import DataError
from pipeline.datasets.truth import MOST_LABEL_BYTES, load_npy, load_npz
from pipeline.execution.inputs import StoredInputs
from tests.pipeline.s3_server import SECRET, new_bucket, use_s3
from tests.pipeline.upkeep import make_project, run, settings, space, verify, work_in

HOME = Path(stpa.__file__).parent
DECLARED = {
    "pipeline/models/importing/unpickle.py": {"pickle.Unpickler"},  # restricted: it imports nothing
    "pipeline/execution/processes.py": {"pickle.loads"},  # of an error that this process has just pickled, to see if it can
}


# ---- nothing is unpickled


def sources() -> list[Path]:
    folders = [HOME / name for name in ("pipeline", "trainer", "scoring", "tools")]
    return [HOME / "stpa.py", *(path for folder in folders for path in folder.rglob("*.py"))]


LOADERS = {"pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load"}
UNPICKLING = {"cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Yield everything named that would run what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
            yield from (name for name in names if name in LOADERS or name.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in LOADERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            call = ast.unparse(node.func)
            if call in {"eval", "exec"} or (call == "torch.load" and given.get("weights_only") != "True"):
                yield call
            if given.get("allow_pickle", "False") != "False":
                yield "allow_pickle"


def test_nothing_in_the_packages_unpickles_or_evaluates() -> None:
    found = {path.relative_to(HOME).as_posix(): set(unsafe(ast.parse(path.read_text()))) for path in sources()}
    assert len(found) > 100
    assert {name: calls for name, calls in found.items() if calls} == DECLARED


@pytest.mark.parametrize(
    "line",
    [
        *("pickle.load(f)", "from pickle import loads", "class U(pickle.Unpickler): pass", "import joblib.numpy_pickle"),
        *("np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=yes)", "yaml.load(f)", "eval(text)"),
        *("torch.load(f)", "torch.load(f, weights_only=False)"),
    ],
)
def test_what_would_unpickle_is_seen(line: str) -> None:
    assert list(unsafe(ast.parse(line)))


# ---- nothing fills the memory


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a project with frames; return the folder of one array of it."""
    make_project(tmp_path)
    work_in(tmp_path, monkeypatch)
    run("frames", *settings())
    return next((space().artifact("frames").folder / "data").glob("*a@*/frames"))


def read() -> Any:
    inputs = StoredInputs(space())
    return [inputs.read("frames", "frames", record) for record in inputs.videos("train")]


class Peak:
    """Most bytes that were held at once in a block."""

    def __enter__(self) -> "Peak":
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def edit(path: Path, **changes: Any) -> None:
    content = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**content, **changes}))


HUGE = 10**12
GRID = {"name": "regular", "configuration": {"chunk_shape": [16, HUGE, 1, 3]}}


@pytest.mark.parametrize(
    "changes", [{"shape": [HUGE, 32, 48, 3]}, {"shape": [40, HUGE, HUGE, 3]}, {"chunk_grid": GRID}, {"data_type": "float64"}]
)
def test_metadata_that_declare_another_array_are_refused_before_anything_is_unpacked(
    made: Path, changes: dict[str, Any]
) -> None:
    edit(made, **changes)
    refused = r"cannot be read \(ValueError: .*(expected metadata with|divisible|endian)"
    with Peak() as peak, pytest.raises(OSError, match=refused):
        read()
    assert peak.bytes < 50e6
    with Peak() as peak:
        found = verify(code=1)
    assert peak.bytes < 50e6
    place = made.relative_to(space().artifact("frames").folder).as_posix()
    assert {finding["place"] for finding in found} == {f"{place}/zarr.json"}


def test_an_artifact_of_settings_of_others_is_not_believed_either(made: Path) -> None:
    edit(made, shape=[40, HUGE, 1, 3], chunk_grid=GRID)
    run("frames", *settings("frames.height=48"))
    with Peak() as peak:
        rows = json.loads(run("verify", *settings("frames.height=48"), "--all", "--json", code=1).stdout)["artifacts"]
    assert peak.bytes < 50e6
    assert any(finding["place"].endswith("zarr.json") for row in rows for finding in row["findings"])


def bomb(size: int) -> bytes:
    return bytes(Zstd(level=3, checksum=True).encode(np.zeros(size, np.uint8)))


def false_bomb(size: int, claimed: int) -> bytes:
    """Return a frame of zeros that claims to unpack to fewer of them."""
    data = bytearray(bomb(size))
    assert data[4] >> 6 == 2  # a size of four bytes
    start = 5 + (not data[4] >> 5 & 1)
    data[start : start + 4] = claimed.to_bytes(4, "little")
    assert unpacked_size(bytes(data)) == claimed
    return bytes(data)


@pytest.mark.parametrize(
    "chunk", [bomb(500_000_000), bomb(4608) + bomb(500_000_000), false_bomb(500_000_000, 4608), b"", b"rubbish" * 9]
)
def test_a_chunk_never_unpacks_to_more_than_its_shape(chunk: bytes, tmp_path: Path) -> None:
    """4608 bytes are a picture of 32 x 48 x 3."""
    shape = (2, 32, 48, 3)
    array = zarr.create_array(tmp_path / "a", shape=shape, chunks=(1, *shape[1:]), dtype="u1", compressors=BoundedZstd())
    array[:] = 7
    assert np.array_equal(zarr.open_array(tmp_path / "a")[:], np.full(shape, 7))
    (tmp_path / "a" / "c" / "1" / "0" / "0" / "0").write_bytes(chunk)
    with Peak() as peak, pytest.raises((ValueError, RuntimeError)):
        zarr.open_array(tmp_path / "a")[:]
    assert peak.bytes < 5e6


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 1_000_000])
def test_the_size_in_a_header_is_read_as_it_was_written(size: int) -> None:
    assert unpacked_size(bomb(size)[:18]) == size


def test_zarr_reads_what_is_written_here_with_its_own_codec(made: Path) -> None:
    with zarr.config.set({"codecs.zstd": "zarr.codecs.zstd.ZstdCodec"}):
        array = zarr.open_array(made, mode="r")
        assert "BoundedZstd" not in repr(array.metadata)
        values = np.asarray(array[:])
    assert (values == read()[0]).all()


def test_an_array_that_nothing_declares_is_refused_by_its_size(tmp_path: Path) -> None:
    for shape, chunks in (((MOST_BYTES + 1,), (1,)), ((10,), (MOST_BYTES + 1,))):
        array = zarr.create_array({}, shape=shape, chunks=chunks, dtype="u1")
        with Peak() as peak, pytest.raises(ValueError, match="at most 4,294,967,296 bytes"):
            read_whole(array)
        assert peak.bytes < 1e6


def npy_head(elements: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (elements,)})
    return file.getvalue()


def test_labels_never_unpack_to_more_than_labels_have(tmp_path: Path) -> None:
    zeros = MOST_LABEL_BYTES + 1
    (tmp_path / "a.npy").write_bytes(npy_head(HUGE) + b"x" * 100)
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("x.npy", npy_head(HUGE) + b"x" * 100)
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as file,
    ):
        file.write(npy_head(zeros))
        for _ in range(-(-zeros // 2**24)):
            file.write(bytes(2**24))
    assert (tmp_path / "bomb.npz").stat().st_size < 10e6
    with Peak() as peak:
        with pytest.raises(DataError, match="bytes when unpacked, more than any labels have"):
            load_npz(tmp_path / "bomb.npz", "x")
        with pytest.raises(DataError, match="expected NumPy data"):
            load_npy(tmp_path / "a.npy")
    assert peak.bytes < 5e6
    with pytest.raises(DataError, match="expected NumPy data"):  # memory that nobody writes to is asked for, or refused
        load_npz(tmp_path / "claims.npz", "x")


# ---- no secret is left behind


URLS = ("s3://user:hunter2@bucket/x", "http://host/x?token=hunter2", "ftp://:hunter2@host/a", "s3://b/p?X-Amz-Signature=hunter2")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("setting", ["run.cache", "dataset.root"])
def test_a_url_with_a_secret_is_refused_without_repeating_it(setting: str, url: str) -> None:
    with pytest.raises(ConfigError, match="credentials belong into the environment") as refusal:
        load_config(None, [f"{setting}='{url}'"])
    assert "hunter2" not in str(refusal.value)
    assert redact(url).split("://")[0] in str(refusal.value)


@pytest.mark.parametrize("url", URLS)
def test_secrets_are_taken_out_of_any_text(url: str) -> None:
    assert "hunter2" not in redact(f"{{'cache': '{url}'}}: cannot be read ({url})")
    assert redact("s3://bucket/a@b and C:\\x?y=1, a@b?c") == "s3://bucket/a@b and C:\\x?y=1, a@b?c"


def test_no_credential_is_left_in_any_file_or_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch)
    url = new_bucket()
    make_project(tmp_path)
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text() + f'cache = "{url}"\n')
    work_in(tmp_path, monkeypatch)
    said = run("train", *settings(), "--upstream").output
    for command in (("status", "--json"), ("verify", "--json"), ("gc", "--json"), ("frames", "--force", "--dry-run")):
        said += run(command[0], *settings(), *command[1:]).output
    stored = open_place(url)
    texts = [stored.read(entry.name) for entry in stored.tree()]
    texts += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 100
    for secret in (SECRET, "AKIAIOSFODNN7EXAMPLE"):
        assert not any(secret.encode() in text for text in texts)
        assert secret not in said


# ---- no name leads out


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x"])
def test_a_receipt_fetches_nothing_from_outside_its_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text() + f'cache = "memory://{tmp_path.name}"\n')
    work_in(tmp_path, monkeypatch)
    run("train", *settings(), "--upstream")
    artifact = space().artifact("train")
    (receipt,) = artifact.receipts()
    content = artifact.read_receipt(receipt)
    assert content is not None
    artifact.write_receipt(receipt, {**content, "files": {name: "0" * 32}})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"found a name that leads out of the folder|found no file"):
        StoredInputs(space()).folder("train")
    assert set(tmp_path.rglob("*")) == before


def test_no_name_of_a_place_leads_out_of_the_cache(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "cache") / "dataset"
    with pytest.raises((OSError, ValueError)):
        place.write("a\0b", b"x")
    with pytest.raises(OSError, match="too long"):
        place.write("x" * 300, b"x")
    assert not (tmp_path / "cache" / "dataset").exists() or not list((tmp_path / "cache" / "dataset").iterdir())
