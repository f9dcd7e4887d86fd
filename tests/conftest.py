"""One project that went through the whole pipeline, shared by the tests that look at what it left behind."""

from pathlib import Path

import pytest
from street import SETTINGS, stpa


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run everything once: takes a minute, so that tests of it have ``pytest.mark.timeout(400)``."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "s.toml").write_text(SETTINGS)
    stpa(folder, "data", "synth")
    for name in ("flows", "inpaint", "features", "train"):
        stpa(folder, name)
    (folder / "results.json").write_text(stpa(folder, "eval", "--json").stdout)
    return folder


