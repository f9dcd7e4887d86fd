"""``stpa data prepare``: from a download, or recordings, to a checked dataset and a settings file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pipeline.cli import BAD_DATA, exit_codes
from pipeline.config import ConfigError, load_config
from pipeline.datasets.archives import Limits
from pipeline.datasets.instructions import instructions
from pipeline.datasets.prepare import NAMES, Found, cameras_of, gather, settings_text
from pipeline.disk_needed import disk_needed, print_disk
from pipeline.files import write_atomically
from pipeline.progress import Progress

TEMPLATES = Path(__file__).parents[1] / "configs"
_TEMPLATE = {"folder": "cameras"}
_NEXT = "flows inpaint features train eval"


@click.command()
@click.argument("name", type=click.Choice(NAMES), metavar="NAME")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[SOURCE]...")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where to unpack and link; data/NAME if not given.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file to write; NAME.toml.")
@click.option("--force", is_flag=True, help="Write over a settings file of another dataset.")
@click.option("--labels", type=click.Choice(["3712", "3867"]), help="Label set of Avenue.")
@click.option("--called", metavar="NAME", help="Own recordings: what to call them (dataset.name); the folder's name.")
@click.option("--test", "pattern", default="", metavar="GLOB", help="Own recordings: which are test videos, as a pattern.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Own recordings: thin them out to this rate.")
@click.option("--each-camera", is_flag=True, help="Own recordings: a settings file, so a model, per camera.")
@click.option("--deep", is_flag=True, help="Decode every frame when checking.")
@click.option("--max-gigabytes", type=click.FloatRange(min=0, min_open=True), default=300, show_default=True)
def prepare(
    name: str,
    sources: tuple[Path, ...],
    target: Path | None,
    config_file: Path | None,
    force: bool,
    labels: str | None,
    called: str | None,
    pattern: str,
    fps: float | None,
    each_camera: bool,
    deep: bool,
    max_gigabytes: float,
) -> None:
    """Make a checked dataset and a settings file of archives, folders and label files.

    NAME is ped1, ped2, avenue, shanghaitech, ubnormal, or folder: your own recordings. Folders are read where they are,
    archives unpacked once. Without a SOURCE it says how to get the dataset.
    """
    if not sources:
        click.echo(instructions(name))
        return
    with exit_codes():
        own = {"fps": fps, "damaged": "use"} if name == "folder" else {}
        given = {option for option, value in (("--test", pattern), ("--fps", fps), ("--each-camera", each_camera)) if value}
        if name != "folder" and given:
            raise ConfigError(f"{', '.join(sorted(given))}: expected with own recordings only (folder), found with {name}")
        if labels and name != "avenue":
            raise ConfigError(f"--labels: expected with avenue only, found with {name}")
        title = _title(called or (sources[0].resolve().name if name == "folder" else name))
        place = target or Path("data") / (title if name == "folder" else {"ped1": "ucsd", "ped2": "ucsd"}.get(name, name))
        with Progress() as progress:
            found = gather(
                name, sources, place, Limits(max_bytes=int(max_gigabytes * 1e9)), test=pattern, report=progress
            )
        settings = _settings(title, found, own | {"labels": labels or ("3712" if found.kind == "avenue" else None)})
        files = _write_all(name, title, found, settings, config_file, each_camera=each_camera, force=force)
    bad = [file for file in files if not _check(file, deep=deep)]
    _say_next(files, bad)
    if bad:
        raise click.exceptions.Exit(BAD_DATA)


def _title(name: str) -> str:
    """Return a name that dataset.name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "recordings"


def _settings(title: str, found: Found, more: Mapping[str, str | float | None]) -> dict[str, str | float]:
    root = found.root.absolute()
    here = Path.cwd()
    shown = root.relative_to(here) if root.is_relative_to(here) else root
    where = {"name": title, "kind": found.kind, "part": found.part, "benchmark": found.benchmark, "root": str(shown)}
    return {name: value for name, value in {**where, **more}.items() if value}


def _write_all(
    name: str,
    title: str,
    found: Found,
    settings: Mapping[str, str | float],
    config_file: Path | None,
    *,
    each_camera: bool,
    force: bool,
) -> list[Path]:
    path = config_file or Path(f"{title}.toml")
    source = TEMPLATES / f"{_TEMPLATE.get(name, name)}.toml"
    template = source.read_text(encoding="utf-8") if source.is_file() else ""  # a wheel holds none: the defaults will do
    if not each_camera:
        return [_write(path, template, settings, force=force)]
    cameras = cameras_of(found.root)
    if not cameras:
        raise ConfigError(f"--each-camera: expected a folder per camera in {found.root}/train, found recordings only")
    return [
        _write(
            path.with_name(f"{path.stem}-{_title(camera)}.toml"),
            template,
            {**settings, "name": f"{title}-{_title(camera)}", "camera": camera},
            force=force,
        )
        for camera in cameras
    ]


def _write(path: Path, template: str, settings: Mapping[str, str | float], *, force: bool) -> Path:
    """Write a settings file; one that has the same section [dataset] is kept, with whatever else was changed in it."""
    text = settings_text(template, settings)
    if path.exists() and not force:
        kept = load_config(path).dataset
        if kept.model_dump(exclude_unset=True) == _parsed(text):
            click.echo(f"{path}: kept, it is of this dataset already", err=True)
            return path
        raise ConfigError(f"{path}: expected no file here, or one of this dataset, found another; give --config or --force")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{settings['root']!r}: expected a path in UTF-8, as TOML needs it; rename the folder") from None
    write_atomically(path, data)
    click.echo(f"{path}: written", err=True)
    return path


def _parsed(text: str) -> dict[str, object]:
    import tomllib

    from pipeline.config import parse_config

    return parse_config(tomllib.loads(text)).dataset.model_dump(exclude_unset=True)


def _check(file: Path, *, deep: bool) -> bool:
    from pipeline.check_table import print_checked
    from pipeline.datasets.check import check_dataset
    from pipeline.datasets.registry import open_dataset

    with exit_codes(), Progress() as progress:
        config = load_config(file)
        checked = check_dataset(
            open_dataset(config.dataset), label_set=config.dataset.labels, deep=deep, report=progress
        )
    print_checked(checked, str(config.dataset.root))
    stages = click.get_current_context().obj() if click.get_current_context().obj else ()
    print_disk(disk_needed(stages, config, {table.split: table.frames for table in checked.splits}))
    return not checked.problems


def _say_next(files: Sequence[Path], bad: Sequence[Path]) -> None:
    for file in files:
        if file in bad:
            click.echo(f"{file}: mend the problems above, then: stpa data check --config {file}")
        else:
            click.echo(f"next: for stage in {_NEXT}; do stpa $stage --config {file} || break; done")
