import pytest

from fer_tf.table import Table, to_markdown, to_text

TABLE = Table(("model", "accuracy", "says"), [("a", "9.50%", "worse"), ("longer name", "71.89%", "")], "lrl")


def test_columns_are_aligned_for_a_terminal():
    assert TABLE.to_text().splitlines() == [
        "model        accuracy  says",
        "-----------  --------  -----",
        "a               9.50%  worse",
        "longer name    71.89%",
    ]


def test_markdown_has_the_same_cells():
    assert TABLE.to_markdown().splitlines() == [
        "| model | accuracy | says |",
        "|---|--:|---|",
        "| a | 9.50% | worse |",
        "| longer name | 71.89% | |",
    ]


def test_a_table_of_facts_has_no_header():
    facts = Table(("", ""), [("made from", "model.keras"), ("by", "a | b")], "ll")
    assert facts.to_text().splitlines() == ["made from  model.keras", "by         a | b"]
    assert facts.to_markdown().splitlines() == ["| | |", "|---|---|", "| made from | model.keras |", r"| by | a \| b |"]


def test_blocks_stand_apart():
    assert to_text(["One.", TABLE]) == f"One.\n\n{TABLE.to_text()}"
    assert to_markdown([TABLE, "Two."]) == f"{TABLE.to_markdown()}\n\nTwo."


def test_only_the_first_column_is_text_unless_it_is_said():
    assert Table(("a", "b", "c"), []).to_markdown().endswith("|---|--:|--:|")
    assert Table(("a", "b"), []).to_text().splitlines() == ["a  b", "-  -"]


@pytest.mark.parametrize(("rows", "align"), [([("1", "2"), ("1",)], ""), ([("1", "2", "3")], ""), ([], "lrr")])
def test_a_ragged_table_is_refused(rows, align):
    with pytest.raises(ValueError, match="expected 2 columns"):
        Table(("a", "b"), rows, align)
