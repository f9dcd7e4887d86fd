"""Reading a checkpoint executes nothing that is in it, and notices whatever is wrong with the file."""

import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from published import BAD_DATA, CONTENTS, foreign_packages, publish

from pipeline.contract import DataError
from pipeline.models.importing.checkpoint import Checkpoint
from pipeline.models.importing.unpickle import Inert, Storage, StoredTensor, read_pickle
from stpa import main


class RunsSomething:
    """Runs a command when an ordinary unpickler meets it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, kind: str, legacy: bool
) -> None:
    trace, path, out = (tmp_path / name for name in ("trace", "evil.pth", "out"))
    publish(path, kind, lambda tensors: tensors.update(evil=RunsSomething(trace)), legacy=legacy)
    result = CliRunner().invoke(main, ["import-weights", kind, str(path), str(out)])
    assert result.exit_code == BAD_DATA, result.output
    assert f"imports {os.system.__module__}.system" in result.output
    assert list(tmp_path.iterdir()) == [path]
    with foreign_packages():
        torch.load(path, weights_only=False)  # it is no toy: this runs it
    assert trace.exists()


@pytest.mark.parametrize(
    "place",
    [
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "torch.load",
        "torch._utils._import_dotted_name",
        "yacsx.config",
        "numpy.load",
    ],
)
def test_whatever_else_is_imported_is_refused_by_name(place: str) -> None:
    module, _, name = place.rpartition(".")
    with pytest.raises(pickle.UnpicklingError, match=rf"^{place}$"):
        read_pickle(BytesIO(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"."))


def test_objects_of_foreign_packages_become_nothing_and_need_not_be_installed(tmp_path: Path) -> None:
    path = publish(tmp_path / "vifi.pth", "vifi-clip")
    assert "yacs" not in sys.modules
    content = Checkpoint(path).content
    assert isinstance(content["config"], Inert)
    assert (len(content["config"]), content["epoch"], content["max_accuracy"]) == (0, 9, 83.9)


def test_functions_of_foreign_packages_are_not_called() -> None:
    found = read_pickle(BytesIO(b"\x80\x02cyacs.config\nload_cfg\nX\x04\x00\x00\x00a: 1\x85R."))
    assert isinstance(found, Inert)


@pytest.mark.parametrize(
    "place", ["torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "yacs.config\nCfgNode", "builtins\nset"]
)
def test_a_pickle_cannot_change_what_it_imports(place: str) -> None:
    state = b"N}X\x04\x00\x00\x00nameK\x01s\x86b"  # BUILD with (None, {"name": 1}), which sets attributes
    with pytest.raises((AttributeError, TypeError)):
        read_pickle(BytesIO(b"\x80\x02c" + place.encode() + b"\n" + state + b"."))
    assert not hasattr(torch._utils._rebuild_tensor_v2, "name")
    assert not hasattr(OrderedDict, "name")
    assert not hasattr(Inert, "name")


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_are_read_as_torch_reads_them(tmp_path: Path, legacy: bool) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    saved: dict[str, Any] = {
        "half": torch.randn(3, 2).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "integers": torch.tensor([1, 2**40]),
        "truths": torch.tensor([True, False, True]),
        "view": base[1:3, ::2],
        "transposed": base.T,
        "number": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }
    path = tmp_path / "some.pth"
    torch.save(OrderedDict(saved), path, _use_new_zipfile_serialization=not legacy)
    checkpoint = Checkpoint(path)
    found = checkpoint.state_dict()
    assert set(found) == set(saved)
    for name, stored in found.items():
        tensor = checkpoint.tensor(stored)
        assert tensor.is_contiguous()
        torch.testing.assert_close(tensor, saved[name].detach(), rtol=0, atol=0)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_refused_and_nothing_is_written(tmp_path: Path, legacy: bool, kept: float) -> None:
    path = publish(tmp_path / "cut.pth", "raft", legacy=legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else int(kept)])
    result = CliRunner().invoke(main, ["import-weights", "raft", str(path), str(tmp_path / "out")])
    assert result.exit_code == BAD_DATA, result.output
    assert "cut.pth: expected" in result.output
    assert list(tmp_path.iterdir()) == [path]


def test_one_wrong_bit_among_the_numbers_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    numbers = np.arange(1000, dtype=np.float32)
    torch.save({"a": torch.from_numpy(numbers)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(numbers[500:510].tobytes())] ^= 1
    path.write_bytes(data)
    checkpoint = Checkpoint(path)
    with pytest.raises(DataError, match="not those that were saved"):
        checkpoint.tensor(checkpoint.state_dict()["a"])


BEYOND: dict[str, Callable[[Storage], StoredTensor]] = {
    "too long": lambda storage: StoredTensor(storage, 0, (5,), (1,)),
    "begins too late": lambda storage: StoredTensor(storage, 2, (3,), (1,)),
    "strides too far": lambda storage: StoredTensor(storage, 0, (2, 2), (3, 1)),
    "one number, endlessly": lambda storage: StoredTensor(storage, 0, (10**12,), (0,)),
    "negative": lambda storage: StoredTensor(storage, -1, (2,), (1,)),
    "no numbers": lambda storage: StoredTensor(storage, 0, ("x",), (1,)),  # type: ignore[arg-type]
    "another length": lambda storage: StoredTensor(storage._replace(length=10**6), 0, (10**6,), (1,)),
    "another type": lambda storage: StoredTensor(storage._replace(dtype="float64"), 0, (4,), (1,)),
    "another storage": lambda storage: StoredTensor(storage._replace(key="7"), 0, (4,), (1,)),
}


@pytest.mark.parametrize("how", BEYOND)
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path: Path, how: str) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "some.pth")
    checkpoint = Checkpoint(tmp_path / "some.pth")
    storage = checkpoint.state_dict()["a"].storage
    assert checkpoint.tensor(StoredTensor(storage, 0, (2, 2), (2, 1))).shape == (2, 2)
    with pytest.raises(DataError, match="cut off or damaged"):
        checkpoint.tensor(BEYOND[how](storage))


def test_an_old_file_whose_numbers_lie_before_its_beginning_is_refused(tmp_path: Path) -> None:
    path, numbers = tmp_path / "old.pth", np.arange(4, dtype=np.float32)
    torch.save({"a": torch.from_numpy(numbers)}, path, _use_new_zipfile_serialization=False)
    whole, before = path.read_bytes(), struct.pack("<q", 4)
    path.write_bytes(whole.replace(before + numbers.tobytes(), struct.pack("<q", -(10**6)) + numbers.tobytes()))
    with pytest.raises(DataError, match="impossible places"):
        Checkpoint(path)


def test_a_compiled_program_is_refused(tmp_path: Path) -> None:
    path = publish(tmp_path / "raft.pth", "raft")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("raft/constants.pkl", b"")
    with pytest.raises(DataError, match="TorchScript"):
        Checkpoint(path)


def test_a_tar_of_the_oldest_torch_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "storages").write_bytes(b"x")
    with tarfile.open(tmp_path / "old.pth", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "storages", "storages")
    with pytest.raises(DataError, match=r"older tar archive.*save it again"):
        Checkpoint(tmp_path / "old.pth")


@pytest.mark.parametrize("content", [b"GIF89a", pickle.dumps({"a": 1}, 2), pickle.dumps([1, 2], 4)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"other\.pth: expected a file that torch\.save wrote"):
        Checkpoint(tmp_path / "other.pth")


def test_what_is_no_dict_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    for content, found in (([1, 2], "found list"), ({"a": "text"}, "found str"), ({}, "found")):
        torch.save(content, path)
        with pytest.raises(DataError, match=found):
            Checkpoint(path).state_dict()
    torch.save({"weights": {}}, path)
    with pytest.raises(DataError, match=r"expected 'model' in the checkpoint, found weights"):
        Checkpoint(path).state_dict("model")


def test_foreign_packages_are_only_pretended_while_something_is_saved() -> None:
    with foreign_packages():
        assert "yacs.config" in sys.modules
    assert "yacs.config" not in sys.modules
