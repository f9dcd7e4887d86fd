"""Models of the Hugging Face hub that lie in this machine's cache of it. Nothing here asks the network.

A model is named by its id and a revision: a branch, a tag or a commit. What a branch or tag means is what it meant when the
model was fetched; the commit is part of the key, so that another one makes other artifacts. The cache is where
``huggingface_hub`` keeps it (HF_HOME, HF_HUB_CACHE). What is not there is named with the command that fetches it: a model of
gigabytes is no side effect, and a machine without a network (HF_HUB_OFFLINE) behaves like one with it. Imports no torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ConfigError

DEFAULT_REVISION = "main"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model at one commit; whether its files are here says :meth:`require`."""

    setting: str
    """Of the settings file, for messages: features.model, inpaint.model."""
    id: str
    """OWNER/NAME."""
    revision: str
    """As it was asked for."""
    commit: str
    """40 hexadecimal digits."""
    include: tuple[str, ...] = ()
    """Patterns of the files that are wanted, for the command that fetches them; none = all."""
    halves: tuple[str, ...] = ()
    """Patterns of weights of half precision, which do where a repository has no others."""

    @property
    def identity(self) -> str:
        """What identifies the weights, part of the key."""
        return f"{self.id}@{self.commit}"

    @property
    def folder(self) -> Path:
        """Where its files lie if they were fetched."""
        return repository_folder(self.id) / "snapshots" / self.commit

    def require(self, needs: Sequence[str | tuple[str, ...]] = ()) -> Path:
        """Return the folder; FileNotFoundError, with the command that fetches it, if it or a file it needs is missing.

        Parameters
        ----------
        needs
            Files, relative to the folder; one of several where a tuple stands.
        """
        choices = [(need,) if isinstance(need, str) else need for need in needs]
        missing = [names for names in choices if not any((self.folder / name).is_file() for name in names)]
        if self.folder.is_dir() and not missing:
            return self.folder
        what = ", ".join(" or ".join(names) for names in missing) or "files"
        halves = f"; of one with weights of half precision alone, add{_included(self.halves)}" if self.halves else ""
        raise FileNotFoundError(
            f"{self.setting} = {self.id}, revision {self.revision}: expected {what} in {self.folder}, found none; where "
            f"there is a network, run: {fetch_command(self.id, self.revision, self.include)} (if the repository has no "
            f"such file at this revision, choose a revision or model that does{halves})"
        )


def is_hub_id(model: str, revision: str, *, setting: str) -> bool:
    """Say whether a model setting names a model of the hub: OWNER/NAME that is no folder here.

    Raises
    ------
    ConfigError
        A revision is given for something else, or cannot be one.
    """
    folder = Path(model).expanduser().is_dir()
    named = not folder and _ID.fullmatch(model) is not None and "--" not in model and ".." not in model
    if not revision:
        return named
    section = setting.partition(".")[0]
    if not named:
        found = "a folder" if folder else "no such id"
        raise ConfigError(
            f"{section}.revision = {revision!r}: expected {setting} to be the id of a model of the hub (OWNER/NAME), "
            f"found {model!r}, {found}; leave the revision out, or name the model"
        )
    if _REVISION.fullmatch(revision) is None or ".." in revision:
        raise ConfigError(f"{section}.revision: expected a branch, a tag or a commit, found {revision!r}")
    return True


def find_hub_model(
    model: str, revision: str, *, setting: str, include: Sequence[str] = (), halves: Sequence[str] = ()
) -> HubModel:
    """Return a model of the hub with its commit, which is read off the cache unless the revision is one.

    Raises
    ------
    ConfigError
        This is no id, or no revision (:func:`is_hub_id`).
    FileNotFoundError
        The revision is no commit and was never fetched, so that nothing here tells its commit; the command is named.
    """
    if not is_hub_id(model, revision, setting=setting):
        raise ConfigError(f"{setting}: expected the id of a model of the hub (OWNER/NAME), found {model!r}")
    revision = revision or DEFAULT_REVISION
    commit, reference = revision, repository_folder(model) / "refs" / revision
    if _COMMIT.fullmatch(revision) is None:
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
        if _COMMIT.fullmatch(commit) is None:
            raise FileNotFoundError(
                f"{setting} = {model!r}: expected a folder of that name, or a model of the hub that was fetched "
                f"({reference}), found neither; give an existing folder or, where there is a network, run: "
                f"{fetch_command(model, revision, include)}"
            )
    patterns = {"include": tuple(include), "halves": tuple(halves)}
    return HubModel(setting=setting, id=model, revision=revision, commit=commit, **patterns)


def repository_folder(model: str) -> Path:
    """Return where the hub's cache keeps a model, by the rules of ``huggingface_hub`` (HF_HOME, HF_HUB_CACHE)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")


def fetch_command(model: str, revision: str, include: Sequence[str] = ()) -> str:
    """Return the command that fetches a model into the hub's cache."""
    return f"hf download {model} --revision {revision}{_included(include)}"


def _included(patterns: Sequence[str]) -> str:
    return "".join(f" --include '{pattern}'" for pattern in patterns)
