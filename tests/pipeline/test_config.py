"""Settings are validated once and explained."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError, load_config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inpaint.step=3", "did you mean 'steps'"),
        ("inpant.steps=3", "did you mean 'inpaint'"),
        ("inpaint.steps=0", "found 0"),
        ("inpaint.steps", "SECTION.NAME=VALUE"),
        ("masks.min_area=0.5", "below max_area"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_reason(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[inpaint]\nsteps = 7\nseed = 3\n")
    config = load_config(path, ["inpaint.steps=9", "flows.estimator=dis"])
    assert (config.inpaint.steps, config.inpaint.seed, config.flows.estimator) == (9, 3, "dis")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inpaint.step=3", r"^--set: unknown setting 'inpaint\.step'"),
        ("inpaint.steps=0", r"^--set: inpaint\.steps: "),
        ("inpant.steps=3", "^--set: unknown setting 'inpant'"),
        ("train.skips=[9]", r"^--set: train\.skips"),
        ("flows.estimator=dis", r"^[^-].*a\.toml: unknown setting 'inpaint\.sed'"),
    ],
)
def test_what_is_wrong_is_looked_for_where_it_was_written(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[inpaint]\nsteps = 7\n" + ("sed = 3\n" if "dis" in override else ""))
    with pytest.raises(ConfigError, match=message):
        load_config(path, [override])


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[inpaint\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: cannot be read as TOML"):
        load_config(tmp_path / "bad.toml")


def test_where_work_runs_is_no_part_of_what_it_is() -> None:
    config = load_config(None, ["inpaint.batch_size=3"])
    assert config.inpaint.determining() == load_config(None).inpaint.determining()
