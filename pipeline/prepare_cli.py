"""``stpa data prepare``: from a download, or recordings, to a checked dataset and a settings file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pipeline.cli import BAD_DATA, exit_codes
from pipeline.config import ConfigError, load_config
from pipeline.datasets.archives import Limits
from pipeline.datasets.instructions import instructions
from pipeline.datasets.prepare import NAMES, Found, cameras_of, gather
from pipeline.disk_needed import disk_needed, print_disk
from pipeline.progress import Progress
from pipeline.settings_file import Values, check_same, switched_off, with_dataset, write_settings

TEMPLATES = Path(__file__).parents[1] / "configs"
_TEMPLATE = {"folder": "cameras"}
_UNASKED: Mapping[str, dict[str, str | float]] = {"folder": {"damaged": "use"}, "avenue": {"labels": "3712"}}
"""Settings of a kind that are written where the user names no others, and are kept as the user changed them."""
_OF_ONE_CAMERA = ("place", "objects")
_NEXT = "flows inpaint features train eval"


@click.command()
@click.argument("name", type=click.Choice(NAMES), metavar="NAME")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[SOURCE]...")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where to unpack and link; data/NAME if not given.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file to write; NAME.toml.")
@click.option("--force", is_flag=True, help="In a settings file of another dataset, replace [dataset].")
@click.option("--labels", type=click.Choice(["3712", "3867"]), help="Label set of Avenue.")
@click.option("--called", metavar="NAME", help="Own recordings: what to call them (dataset.name); the folder's name.")
@click.option("--test", "pattern", default="", metavar="GLOB", help="Own recordings: which are test videos, as a pattern.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Own recordings: thin them out to this rate.")
@click.option("--each-camera", is_flag=True, help="Own recordings: a settings file, so a model, per camera.")
@click.option(
    "--camera-level", type=click.IntRange(min=1), help="With --test: which folder of a recording's path is its camera; 1."
)
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
    camera_level: int | None,
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
        own = {"--test": pattern, "--fps": fps, "--each-camera": each_camera, "--camera-level": camera_level}
        given = {option for option, value in own.items() if value}
        if camera_level and not pattern:
            raise ConfigError("--camera-level: expected with --test, as links are made then, found it alone")
        if name != "folder" and given:
            raise ConfigError(f"{', '.join(sorted(given))}: expected with own recordings only (folder), found with {name}")
        if labels and name != "avenue":
            raise ConfigError(f"--labels: expected with avenue only, found with {name}")
        title = _title(called or (sources[0].resolve().name if name == "folder" else name))
        path = config_file or Path(f"{title}.toml")
        asked = _given({"fps": fps, "labels": labels})
        if not (force or each_camera):
            check_same(path, {"name": title, **asked})  # before anything is unpacked
        place = target or Path("data") / (title if name == "folder" else {"ped1": "ucsd", "ped2": "ucsd"}.get(name, name))
        with Progress() as progress:
            limits = Limits(max_bytes=int(max_gigabytes * 1e9))
            level = camera_level or 1
            found = gather(name, sources, place, limits, test=pattern, camera_level=level, report=progress)
        wanted = _settings(title, found) | asked
        cameras = cameras_of(found.root) if name == "folder" else []
        files = _for_each_camera(path, found, wanted, cameras) if each_camera else {path: wanted}
        if not force:
            for file, settings in files.items():
                check_same(file, settings)
        for file, settings in files.items():
            _write(file, _template(name), settings, [] if each_camera else cameras, force=force)
    bad = [file for file in files if not _check(file, deep=deep)]
    _say_next(list(files), bad)
    if bad:
        raise click.exceptions.Exit(BAD_DATA)


def _title(name: str) -> str:
    """Return a name that dataset.name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "recordings"


def _settings(title: str, found: Found) -> dict[str, str | float]:
    """Return what tells this dataset from another."""
    root = found.root.absolute()
    here = Path.cwd()
    shown = str(root.relative_to(here) if root.is_relative_to(here) else root)
    try:
        shown.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{shown!r}: expected a path in UTF-8, as TOML needs it; rename the folder") from None
    named = {"name": title, "kind": found.kind, "part": found.part, "benchmark": found.benchmark, "root": shown}
    return _given(named)


def _given(settings: Mapping[str, str | float | None]) -> dict[str, str | float]:
    return {name: value for name, value in settings.items() if value}


def _for_each_camera(
    path: Path, found: Found, settings: Values, cameras: Sequence[str]
) -> dict[Path, dict[str, str | float]]:
    if not cameras:
        raise ConfigError(f"--each-camera: expected a folder per camera in {found.root}/train, found recordings only")
    files: dict[Path, dict[str, str | float]] = {}
    for camera in cameras:
        file = path.with_name(f"{path.stem}-{_title(camera)}.toml")
        if file in files:
            raise ConfigError(f"--each-camera: expected {file} for one camera, found {camera!r} as well; rename its folder")
        files[file] = {**settings, "name": f"{settings['name']}-{_title(camera)}", "camera": camera}
    return files


def _template(name: str) -> str:
    source = TEMPLATES / f"{_TEMPLATE.get(name, name)}.toml"
    return source.read_text(encoding="utf-8") if source.is_file() else ""  # a wheel holds none: the defaults will do


def _write(path: Path, template: str, settings: Values, sharing: Sequence[str], *, force: bool) -> None:
    """Write a settings file; one that is there is kept, or, by force, given another section [dataset]."""
    new = not path.exists()
    if new or force:
        text = template
        if not new:
            load_config(path)  # what is no settings file is left alone
            text = path.read_text(encoding="utf-8")
        more = {name: value for name, value in _UNASKED.get(str(settings["kind"]), {}).items() if name not in settings}
        text = with_dataset(text, {**settings, **more})
        write_settings(path, switched_off(text, "train", _OF_ONE_CAMERA) if new and len(sharing) > 1 else text)
    click.echo(f"{path}: {'written' if new or force else 'kept, it is of this dataset already'}", err=True)
    if len(sharing) > 1:
        _say_shared(path, len(sharing))


def _say_shared(path: Path, cameras: int) -> None:
    train = load_config(path).train
    why = f"since {cameras} cameras share this model, and what is normal at a place differs between them"
    settings = " and ".join(f"train.{name}" for name in _OF_ONE_CAMERA)
    if train.place or train.objects:
        click.echo(f"{path}: set {settings} to false, {why}; or give --each-camera: a model per camera", err=True)
    else:
        click.echo(f"{path}: {settings} are false, {why}; --each-camera makes a model per camera", err=True)


def _check(file: Path, *, deep: bool) -> bool:
    from pipeline.check_table import print_checked
    from pipeline.datasets.check import check_dataset
    from pipeline.datasets.registry import open_dataset

    with exit_codes(f"{file} is there; stpa data check --config {file} checks it anew"), Progress() as progress:
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
