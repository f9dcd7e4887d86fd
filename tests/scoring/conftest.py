"""One small bundle, shared by the tests of ``stpa score``."""

from pathlib import Path

import live_street
import pytest


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_street.make_bundle(tmp_path_factory.mktemp("model") / "bundle")
