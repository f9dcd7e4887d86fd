"""Methods to compare with: each a few settings, chosen by name, shown as one table."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from made_detector import MadeDetector, MadeInputs, make_config, silent

from pipeline.config import ConfigError, load_config
from scoring.cli import evaluate as eval_command
from scoring.evaluate import evaluate
from scoring.methods import METHODS, choose_methods, format_methods, indicators_of, row_of
from trainer.pseudo_anomalies import make_pseudo_anomalies

ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}


ALL = ("spatial", "temporal", "motion", "semantic", "objects")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_set_of_settings_that_are_taken(name: str) -> None:
    method = METHODS[name]
    config = load_config(None, method.overrides(ALL))
    make_pseudo_anomalies(config.train)
    left = tuple(indicator for indicator in ALL if indicator != method.without)
    assert config.eval.indicators == (left if method.without else method.indicators)


def test_what_a_model_has_is_told_by_its_settings() -> None:
    assert indicators_of(load_config(None, ["train.motion_epochs=1"]).train) == ALL
    without = ["train.objects=false", "train.discriminator_epochs=0"]
    assert indicators_of(load_config(None, without).train) == ("spatial", "temporal")


def test_what_differs_in_scoring_alone_shares_the_training_and_the_others_have_their_own() -> None:
    def settings(name: str) -> dict[str, Any]:
        given = ["train.temporal_pa=bodies", "train.motion_epochs=1"]
        return load_config(None, [*given, *METHODS[name].overrides(ALL)]).train.determining()

    shared = [name for name in METHODS if settings(name) == settings("as-set")]
    parts = ["without-discriminator", "without-objects", "without-motion"]
    assert shared == ["as-set", *parts, "two-networks", "spatial", "temporal"]
    others = [json.dumps(settings(name), sort_keys=True) for name in METHODS if name not in shared]
    assert len(set(others)) == len(METHODS) - len(shared)


def test_published_recipes_are_as_their_programs_have_them() -> None:
    recipes = {name: load_config(None, METHODS[name].overrides(ALL)).train for name in METHODS}
    assert (recipes["autoencoder"].p_s, recipes["autoencoder"].p_t) == (0, 0)
    assert (recipes["steal"].spatial_pa, recipes["steal"].p_s) == ("steal", 0.01)
    assert (recipes["lntra-skip"].temporal_pa, recipes["lntra-skip"].p_t) == ("skip", 0.2)
    assert (recipes["lntra-patch"].spatial_pa, recipes["lntra-patch"].p_s) == ("patch", 0.2)


def test_methods_are_chosen_by_name_and_an_unknown_one_is_refused_with_those_that_are_known() -> None:
    assert choose_methods("all") == list(METHODS)
    assert choose_methods("steal, paper") == ["steal", "paper"]
    with pytest.raises(ConfigError, match=r"expected all, or some of as-set, .*lntra-patch, found 'memae'"):
        choose_methods("steal,memae")


def test_the_table_has_a_row_per_method_with_its_numbers_and_how_far_it_is_from_the_first(tmp_path: Path) -> None:
    rows = []
    for name, indicators in {"as-set": ("spatial", "temporal", "semantic"), "temporal": ("temporal",)}.items():
        out = tmp_path / name
        out.mkdir()
        inputs = MadeInputs({"a": 40, "b": 50}, {"a": range(20, 30), "b": range(5, 9)})
        with patch("scoring.evaluate.draw_picture"):
            metrics = evaluate(MadeDetector(indicators), inputs, make_config(bootstrap=0), out, silent, ORIGIN)
        rows.append(row_of(name, ALL, metrics))
    table = format_methods("made-up", rows)
    for protocol in ("paper", "deployment"):
        first, second = (row["protocols"][protocol]["fused"]["micro_auc"] for row in rows)
        block = table[table.index(protocol) :]
        line = next(line for line in block.splitlines() if line.startswith("temporal "))
        assert line.split()[1:3] == [f"{second:.3f}", f"{second - first:+.3f}"]
        assert "-" in line.split()[3:]  # it has no spatial score
    assert "train-4567" in table


def test_options_that_make_other_things_do_not_go_with_it() -> None:
    done = CliRunner().invoke(eval_command, ["--baselines", "steal", "--force"], obj=tuple)
    assert done.exit_code == 2
    assert "--force does not go with --baselines" in done.stderr
