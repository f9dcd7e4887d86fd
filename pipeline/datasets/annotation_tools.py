"""Labels from annotation tools, as far as a maintained library reads their files.

ELAN (https://archive.mpi.nl/tla/elan) marks stretches of time in video. ``pympi-ling`` reads its ``.eaf`` files: it is alive
and needs nothing else. The libraries that read CVAT's and Label Studio's files bring an OpenCV of their own, which
overwrites the one that decodes here (docs/datasets.md says what to do instead).
"""

from pathlib import Path

from pipeline.contract import DataError, Moment
from pipeline.datasets.remote import fetch
from pipeline.datasets.time_tables import Stretch

TIER = "anomaly"


def read_elan(path: Path) -> list[Stretch]:
    """Return the annotated stretches of an ``.eaf`` file, in seconds: those of its tier ``anomaly``, or of its only tier.

    Raises
    ------
    DataError
        The file cannot be read, or several tiers are used and none is called so, or pympi-ling is not installed.
    """
    try:
        from pympi.Elan import Eaf
    except ImportError:
        raise DataError(f"{path}: expected pympi-ling to read ELAN's files, found none; pip install 'stpa[elan]'") from None
    try:
        file = Eaf(str(fetch(path)))
        used = {str(name): file.get_annotation_data_for_tier(name) for name in file.get_tier_names()}
    except Exception as error:  # whatever its parser stumbles over: ParseError, KeyError, AttributeError ...
        raise DataError(f"{path}: expected a file of ELAN, found: {error!r}; save it anew") from error
    used = {name: rows for name, rows in used.items() if rows}
    named = [name for name in used if name.lower() == TIER]
    if not named and len(used) > 1:
        raise DataError(f"{path}: expected one tier, or one called {TIER!r}, found {', '.join(sorted(used))}; rename one")
    rows = used[named[0]] if named else next(iter(used.values()), [])
    return [_stretch(row[0], row[1], path) for row in rows]


def _stretch(start: float, end: float, path: Path) -> Stretch:
    if not 0 <= start < end:
        raise DataError(f"{path}: expected annotations with 0 <= start < end, found {start} to {end} ms; mend it in ELAN")
    begin, stop = (Moment(value=moment / 1000, unit="seconds") for moment in (start, end))
    return Stretch(begin, stop, f"{path}, annotation at {begin.value:g} s")
