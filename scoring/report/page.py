"""Puts the page together: one file, whose policy forbids every request and every script but its own."""

import base64
import hashlib
from pathlib import Path
from string import Template
from typing import Any

from pipeline.artifacts.workspace import Workspace
from scoring.report.comparison import table
from scoring.report.data import embed
from scoring.report.evaluation import Evaluation
from scoring.report.markup import Markup, join
from scoring.report.pictures import Encoded, Pictures
from scoring.report.provenance import provenance
from scoring.report.samples import Sample
from scoring.report.summary import cards, headline
from scoring.report.training import pseudo_anomalies

SCRIPTS = ("core.js", "pictures.js", "viewer.js", "timeline.js", "charts.js", "moments.js", "main.js")


def assemble(
    workspace: Workspace, evaluation: Evaluation, pictures: Pictures, data: dict[str, Any], samples: list[Sample] | str
) -> str:
    """Return the whole page."""
    script = "\n".join(["(() => {", '"use strict";', *map(_text, SCRIPTS), "})();"])
    style = _text("page.css")
    return Template(_text("page.html")).substitute(
        policy=policy(script, style),
        title=join(workspace.config.dataset.name),
        headline=headline(evaluation),
        cards=cards(evaluation),
        table=table(evaluation),
        provenance=provenance(workspace, evaluation),
        pseudo_anomalies=pseudo_anomalies(samples, workspace.config.train, pictures.scale.flow),
        data=embed(data),
        pictures=join(*(_block(kind, place, video) for place, video in enumerate(pictures.videos) for kind in video)),
        script=script,
        style=style,
    )


def policy(script: str, style: str) -> str:
    """Return a content security policy under which the page loads nothing and runs one script: that one."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _block(kind: str, place: int, video: Encoded) -> Markup:
    """Return the pictures of one kind of one video: a line each, which nobody decodes before it is looked at."""
    lines = "\n".join(video[kind].get(frame, "") for frame in sorted(video["frame"]))
    return Markup(f'<script type="text/plain" id="{kind}-{place}">{lines}</script>\n')


def _text(name: str) -> str:
    # not importlib.resources: Python 3.11 refuses packages without __init__.py that were installed with pip -e
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
