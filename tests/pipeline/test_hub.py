"""Models of the hub are found in its cache at one commit, without a network; what is missing is named with the command."""

import subprocess
import sys
from pathlib import Path

import pytest
from hub_cache import COMMIT, put_into_cache
from huggingface_hub import constants, snapshot_download

from pipeline.config import ConfigError
from pipeline.models.hub import find_hub_model, is_hub_id

ROOT = Path(__file__).parents[2]
OTHER = "b" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the hub's cache be an empty folder."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files" / "unet").mkdir(parents=True)
    (tmp_path / "files" / "config.json").write_text("{}")
    (tmp_path / "files" / "unet" / "model.safetensors").write_bytes(b"0")
    return tmp_path / "files"


def test_a_branch_is_the_commit_that_was_fetched(cache: Path, files: Path) -> None:
    put_into_cache(cache, "owner/name", files, revision="main")
    found = find_hub_model("owner/name", "", setting="features.model")
    assert (found.commit, found.identity) == (COMMIT, f"owner/name@{COMMIT}")
    folder = found.require(["config.json", ("unet/model.bin", "unet/model.safetensors")])
    assert (folder / "config.json").read_text() == "{}"


@pytest.mark.parametrize("revision", ["main", "refs/pr/3", COMMIT])
def test_the_folder_is_the_one_that_the_hub_s_own_library_finds(cache: Path, files: Path, revision: str) -> None:
    put_into_cache(cache, "owner/name", files, revision=revision)
    ours = find_hub_model("owner/name", revision, setting="features.model").require()
    theirs = snapshot_download("owner/name", revision=revision, cache_dir=cache, local_files_only=True)
    assert ours == Path(theirs)


def test_a_branch_that_moves_is_another_identity(cache: Path, files: Path) -> None:
    put_into_cache(cache, "owner/name", files, revision="main")
    before = find_hub_model("owner/name", "main", setting="features.model").identity
    put_into_cache(cache, "owner/name", files, revision="main", commit=OTHER)
    after = find_hub_model("owner/name", "main", setting="features.model").identity
    assert (before, after) == (f"owner/name@{COMMIT}", f"owner/name@{OTHER}")
    assert find_hub_model("owner/name", COMMIT, setting="features.model").identity == before  # the commit stays what it is


def test_a_commit_identifies_a_model_that_was_never_fetched() -> None:
    found = find_hub_model("owner/name", COMMIT, setting="features.model")
    assert found.identity == f"owner/name@{COMMIT}"
    with pytest.raises(FileNotFoundError, match=f"run: hf download owner/name --revision {COMMIT} "):
        found.require()


def test_a_model_that_was_never_fetched_is_named_with_the_command() -> None:
    with pytest.raises(FileNotFoundError, match=r"found neither; .* run: hf download owner/name --revision main$"):
        find_hub_model("owner/name", "", setting="features.model")
    with pytest.raises(FileNotFoundError, match=r"hf download owner/name --revision v2 --include '\*\.json'$"):
        find_hub_model("owner/name", "v2", setting="features.model", include=("*.json",))


def test_a_file_that_is_missing_is_named_with_the_command(cache: Path, files: Path) -> None:
    put_into_cache(cache, "owner/name", files, revision="main")
    found = find_hub_model("owner/name", "main", setting="inpaint.model")
    with pytest.raises(
        FileNotFoundError, match=r"inpaint\.model = owner/name.*expected a\.json or b\.json in .*hf download owner/name"
    ):
        found.require(["config.json", ("a.json", "b.json")])


@pytest.mark.parametrize("model", ["embedded", "/a/b", "./a/b", "a/b/c", "a/b/", "../b", "a/..", "a--b/c", "a b/c", "~/b"])
def test_what_cannot_be_an_id_is_taken_for_a_folder(model: str) -> None:
    assert not is_hub_id(model, "", setting="features.model")
    with pytest.raises(ConfigError, match=r"features\.revision = 'main': expected features\.model to be the id"):
        is_hub_id(model, "main", setting="features.model")


def test_a_folder_that_is_there_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights" / "vifi").mkdir(parents=True)
    assert is_hub_id("weights/vifi", "", setting="features.model")
    monkeypatch.chdir(tmp_path)
    assert not is_hub_id("weights/vifi", "", setting="features.model")
    with pytest.raises(ConfigError, match="found 'weights/vifi', a folder; leave the revision out"):
        is_hub_id("weights/vifi", "main", setting="features.model")


@pytest.mark.parametrize("revision", ["../../etc", "a b", "/main", "x'; rm", "a/../b"])
def test_what_cannot_be_a_revision_is_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match=r"features\.revision: expected a branch, a tag or a commit"):
        find_hub_model("owner/name", revision, setting="features.model")


@pytest.mark.parametrize(("variable", "place"), [("HF_HOME", "hub"), ("HF_HUB_CACHE", "")])
def test_the_cache_is_where_the_environment_says_and_torch_is_not_loaded(
    tmp_path: Path, files: Path, variable: str, place: str
) -> None:
    put_into_cache(tmp_path / "home" / place, "owner/name", files, revision="main")
    program = """if True:
        import sys
        from pipeline.models.hub import find_hub_model
        print(find_hub_model("owner/name", "main", setting="features.model").require(), "torch" in sys.modules)
    """
    environment = {variable: str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    folder = tmp_path / "home" / place / "models--owner--name" / "snapshots" / COMMIT
    assert done.stdout.split() == [str(folder), "False"]
