"""Settings files that ``stpa data prepare`` writes: only what it was asked for changes, comments and all else are kept."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import ConfigError, load_config, parse_config
from pipeline.files import write_atomically

Values = Mapping[str, str | float]


def differences(path: Path, wanted: Values) -> list[str]:
    """Return in what the section [dataset] of a file is another than wanted, as ``name: old -> new``.

    Settings that are not named here are the user's own, and no difference.

    Raises
    ------
    ConfigError
        The file is no settings file.
    """
    found = load_config(path).dataset.model_dump(exclude_unset=True)
    asked = parse_config({"dataset": wanted}).dataset.model_dump(exclude_unset=True)
    return [f"{name}: {found.get(name, 'none')} -> {new}" for name, new in asked.items() if found.get(name) != new]


def check_same(path: Path, wanted: Values) -> None:
    """Raise ConfigError where a file is there already and its section [dataset] is another than wanted."""
    if path.exists() and (differs := differences(path, wanted)):
        raise ConfigError(
            f"{path}: expected no file here, or one of this dataset, found another ({'; '.join(differs)}); edit it, choose "
            "another file with --config, or give --force, which replaces its section [dataset] and keeps the rest"
        )


def write_settings(path: Path, text: str) -> None:
    """Write a settings file; ConfigError where it would be none, since [dataset] was written otherwise than as a section."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = f"{path}: expected a section [dataset] with a setting a line, found another form ({error}); write it so"
        raise ConfigError(found) from None
    write_atomically(path, text.encode())


def with_dataset(text: str, settings: Values) -> str:
    """Return settings with another section [dataset].

    Settings that are not named here are left out: they are those of another dataset.
    """
    lines = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())
    return _with_section(_ended(text), "dataset", f"[dataset]\n{lines}")


def switched_off(text: str, section: str, names: Sequence[str]) -> str:
    """Return settings in which some of a section are false; the section is added where it is missing."""
    text = _ended(text)
    match = _section(text, section)
    lines = match[0] if match else f"[{section}]\n"
    for name in names:
        lines, known = re.subn(rf"(?m)^({name}\s*=\s*)(?:true|false)", r"\1false", lines)
        if not known:
            lines += f"{name} = false\n"
    return _with_section(text, section, lines)


def _ended(text: str) -> str:
    """Return text whose last line ends, as another may follow it."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _with_section(text: str, name: str, lines: str) -> str:
    """Replace a section; at the end it is added, since settings at the top belong to none."""
    match = _section(text, name)
    if match is None:
        return f"{text.rstrip()}\n\n{lines}".lstrip()
    return f"{text[: match.start()]}{lines}{text[match.end() :]}"


def _section(text: str, name: str) -> re.Match[str] | None:
    """Find a section up to its last setting: what is said in the lines before the next section is about that one."""
    return re.search(rf"(?m)^\[{name}\].*\n?(?:(?!\[).+\n?|\n)*?(?=(?:(?:#.*)?\n)*(?:\[|\Z))", text)
