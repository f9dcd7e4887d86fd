"""``stpa regions``: RBDC and TBDC of anybody's files."""

import json
from pathlib import Path
from typing import Any

import click

from pipeline.cli import exit_codes

LAYOUTS = ("boxes", "merl", "ubnormal")
FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("tracks_dir", type=FOLDER)
@click.argument("detections_dir", type=FOLDER)
@click.option("--num-frames", type=click.IntRange(min=1), required=True, help="Frames of all test videos together.")
@click.option(
    "--ties", type=click.Choice(("keep", "collapse")), default="keep", show_default=True,
    help="keep: each detection is a threshold, equal scores in the order of the folder, as the reference program has it; "
    "collapse: equal scores pass together.",
)
@click.option("--format", "layout", type=click.Choice(LAYOUTS), default="boxes", show_default=True, help="Of TRACKS_DIR.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def regions(
    tracks_dir: Path, detections_dir: Path, num_frames: int, ties: str, layout: str, as_json: bool
) -> None:
    """RBDC and TBDC (Street Scene) of detections against tracks.

    One file per video in each folder: TRACKS_DIR/01.txt has lines track,frame,x1,y1,x2,y2 and DETECTIONS_DIR/01.txt lines
    frame,x1,y1,x2,y2,score; frames from 0, boxes with their last row and column. A normal video has an empty track file; no
    detection file means no detections. Other tracks: --format merl (frame track cx cy w h) or ubnormal (its folders).
    """
    with exit_codes():
        result, notes = measure(tracks_dir, detections_dir, num_frames, ties=ties, layout=layout)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(json.dumps(result, indent=1) if as_json else as_text(result))


def measure(
    tracks_dir: Path, detections_dir: Path, num_frames: int, *, ties: str, layout: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the result of :func:`scoring.region_metrics.region_metrics`, and what was taken for granted about files.

    Raises
    ------
    DataError
        A file is not as documented, or a video has detections and no tracks.
    """
    from pipeline.datasets.track_files import Form
    from scoring.region_metrics import Ties, no_tracks, region_metrics
    from scoring.track_files import read_detections, read_tracks
    from scoring.ubnormal_tracks import NORMAL, read_ubnormal

    rule: Ties = "collapse" if ties == "collapse" else "keep"
    form: Form = "merl" if layout == "merl" else "boxes"
    tracks = read_ubnormal(tracks_dir) if layout == "ubnormal" else read_tracks(tracks_dir, form)
    detections = read_detections(detections_dir)
    if layout == "ubnormal":
        tracks |= {video: no_tracks() for video in detections if video.startswith(NORMAL) and video not in tracks}
    result = region_metrics(tracks, detections, num_frames, ties=rule)
    total = result["regions"]
    notes = [
        f"video {video}: its track file is empty, 0 of {total} true regions; taken for a normal video"
        for video, truth in tracks.items()
        if not len(truth.frame_R) and layout != "ubnormal"
    ]
    notes += [
        f"video {video}: no detection file, so 0 of its {len(truth.frame_R)} true regions are found"
        for video, truth in tracks.items()
        if video not in detections
    ]
    if result["tied_detections"] and ties == "keep":
        notes.append(
            f"{result['tied_detections']} of {result['detections']} detections share their score with another: with "
            "--ties keep the result depends on the order in which this disk lists the files; --ties collapse does not"
        )
    return result, notes


def as_text(result: dict[str, Any]) -> str:
    """Return the result as a few lines."""
    lines = [
        f"{name.upper()} {'undefined: there is no true region' if result[name] is None else format(result[name], '.4f')}"
        for name in ("rbdc", "tbdc")
    ]
    lines.append(
        f"{result['regions']} true regions in {result['tracks']} tracks, {result['detections']} detections "
        f"({result['false_detections']} false) in {result['videos']} videos, "
        f"{result['frames']} frames; ties: {result['ties']}"
    )
    return "\n".join(lines)
