"""``stpa eval --baselines`` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
from street import stpa

pytestmark = pytest.mark.timeout(400)


def test_one_command_trains_what_is_missing_and_tells_all_methods_side_by_side(street: Path, tmp_path: Path) -> None:
    street = shutil.copytree(street, tmp_path / "copy")  # others count what the shared one holds
    before = set(street.glob("cache/street/*-*"))
    told = stpa(street, "eval", "--baselines", "as-set,temporal,steal", "--json")
    rows = {row["method"]: row for row in json.loads(told.stdout)["rows"]}
    results = json.loads((street / "results.json").read_text())
    assert list(rows) == ["as-set", "temporal", "steal"]
    for protocol, found in results["protocols"].items():
        shown = {name: row["protocols"][protocol] for name, row in rows.items()}
        assert shown["as-set"]["fused"]["micro_auc"] == found["fused"]["micro_auc"]
        assert shown["temporal"]["temporal"] == shown["as-set"]["temporal"]
        assert set(shown["steal"]["fusion_weights"]) == {"spatial", "temporal"}
    alone = rows["temporal"]["protocols"]["deployment"]
    assert alone["fused"] == alone["temporal"]  # evidence has the order of what it is made of
    assert rows["temporal"]["model"] == rows["as-set"]["model"] != rows["steal"]["model"]
    made = sorted(path.name.partition("-")[0] for path in set(street.glob("cache/street/*-*")) - before)
    assert made == ["eval", "eval", "train"]  # nothing before the training is made again
    again = stpa(street, "eval", "--baselines", "as-set,temporal,steal", "--json")
    assert again.stdout == told.stdout
    assert again.stderr.count("train: nothing to do") == again.stderr.count("eval: nothing to do") == 3
