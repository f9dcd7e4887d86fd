"""Every kind of inpainter from the command line: opened, painted with, shown, recorded."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hub_cache import COMMIT, put_into_cache
from street import status, stpa
from test_previews import cells
from tiny_pipelines import write_tiny_sd

MODEL = "owner/tiny-inpainting"


@pytest.fixture
def project(street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a project that went through every stage; the hub's cache is empty, and there is no network."""
    shutil.copytree(street, tmp_path / "project")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path / "project"


@pytest.mark.timeout(400)
def test_a_pipeline_of_the_hub_is_asked_for_then_painted_with_then_shown(project: Path, tmp_path: Path) -> None:
    chosen = ("--set", f"inpaint.model={MODEL}", "--set", "inpaint.view=zoom", "--set", "inpaint.prompt=the dog")
    told = stpa(project, "inpaint", *chosen, code=1).stderr
    assert f"hf download {MODEL} --revision main" in told
    put_into_cache(tmp_path / "home" / "hub", MODEL, write_tiny_sd(tmp_path / "sd"), revision="main")
    assert status(project, *chosen)["inpaint"]["state"] != "fresh"
    path = project / stpa(project, "inpaint", *chosen, "--preview", "1").stdout.strip()
    assert status(project, *chosen)["inpaint"]["state"] == "fresh"
    replaced(path)
    receipt = json.loads(next((path.with_suffix("") / "receipts").iterdir()).read_text())
    assert receipt["provenance"]["pipeline"] == "StableDiffusionInpaintPipeline"
    manifest = json.loads((path.with_suffix("") / "manifest.json").read_text())
    assert f"{MODEL}@{COMMIT}" in json.dumps(manifest)


@pytest.mark.timeout(400)
def test_the_classical_control_is_shown_like_any_other(project: Path) -> None:
    replaced(project / stpa(project, "inpaint", "--set", "inpaint.model=opencv-telea", "--preview", "1").stdout.strip())


def replaced(path: Path) -> None:
    """Check that a preview shows a frame of which the masked part was changed and nothing else."""
    frame, mask, _, spatial, _ = cells(np.asarray(cv2.imread(str(path)), np.uint8), 0)
    changed_HW, masked_HW = (spatial != frame).any(-1), mask[..., 0] == 255
    assert changed_HW[masked_HW].mean() > 0.5
    assert not changed_HW[~masked_HW].any()
