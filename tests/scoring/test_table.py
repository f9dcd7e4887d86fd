"""How scores are called in the printed table."""

from scoring.table import aligned, shown_name


def test_a_score_is_called_by_its_pooling_where_there_are_two() -> None:
    names = ("spatial", "objects", "semantic", "spatial_frame", "fused")
    assert shown_name("spatial", "region", names) == "spatial, by region"
    assert shown_name("spatial_frame", "region", names) == "spatial, by frame, not fused"
    plain = ("objects", "semantic", "fused")
    assert tuple(shown_name(name, "region", names) for name in plain) == plain


def test_an_indicator_with_an_underscore_keeps_its_name() -> None:
    assert shown_name("moving_frame", "region", ("moving_frame", "fused")) == "moving_frame"


def test_columns_line_up_over_all_blocks_and_a_rule_parts_them() -> None:
    lines = aligned([[("", "AUC")], [("a long name", "0.5"), ("b", "10.25")]])
    assert lines == ["               AUC", "------------------", "a long name    0.5", "b            10.25"]
