"""An evaluation's artifacts in, one HTML file out."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.workspace import Workspace
from pipeline.contract import Inputs, Report
from pipeline.execution.inputs import StoredInputs
from pipeline.files import write_atomically
from pipeline.session import Session
from scoring.report.data import lines_size, page_data
from scoring.report.evaluation import read_evaluation
from scoring.report.highlights import false_alarms, highest_unlabelled, misses
from scoring.report.page import assemble
from scoring.report.pictures import make_pictures
from scoring.report.samples import make_samples

LEAST_PICTURES = 3  # a third of the budget, however long the lines are


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written."""

    size: int
    """Bytes."""
    step: int
    """One frame in this many has pictures."""
    videos: int


def write_report(session: Session, output: Path, *, budget: int, progress: Report) -> Written:
    """Write the report of the evaluation that the settings name; ``budget`` is about what the file may take, bytes.

    Raises
    ------
    MissingShardError
        The evaluation, or frames or flow of a test video, are not there; the message names the command.
    OSError
        The file cannot be written; one that was there is as it was.
    """
    inputs = StoredInputs(session.workspace, session.labels)
    page, step = make_page(inputs, session.workspace, budget=budget, progress=progress)
    data = page.encode("utf-8", "replace")  # a name of a video may hold what no encoding has
    write_atomically(output, data)
    return Written(size=len(data), step=step, videos=len(inputs.videos("test")))


def make_page(inputs: Inputs, workspace: Workspace, *, budget: int, progress: Report) -> tuple[str, int]:
    """Return the page, of about ``budget`` characters, and of how many frames one has pictures."""
    evaluation = read_evaluation(inputs)
    moments = {
        "false_alarms": false_alarms(evaluation),
        "misses": misses(evaluation),
        "highest_unlabelled": highest_unlabelled(evaluation),
    }
    wanted = [
        {moment.frame for found in moments.values() for moment in found if moment.video == place}
        for place in range(len(evaluation.videos))
    ]
    left = max(round(budget - lines_size(evaluation)), budget // LEAST_PICTURES)
    pictures = make_pictures(evaluation, inputs, wanted, left, progress)
    samples = make_samples(inputs, workspace.config.train, progress)
    size = workspace.config.frames.height, workspace.config.frames.width
    described = page_data(evaluation, pictures, moments, size)
    return assemble(workspace, evaluation, pictures, described, samples), pictures.step
