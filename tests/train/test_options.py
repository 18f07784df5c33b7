import re

import pytest

from fer_tf.catalogue import ARCHITECTURES
from fer_tf.errors import UserError
from fer_tf.train.options import check_needs, create_parser, given
from fer_tf.train.settings import OPTIONS, flag


@pytest.fixture
def help_text(monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    return create_parser().format_help()


def test_the_help_fits_two_screens(help_text):
    lines = help_text.splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 100


def test_the_help_groups_all_settings_and_tells_their_defaults_and_choices(help_text):
    sections = re.split(r"^(\S.*):$", help_text, flags=re.MULTILINE)
    texts = {title: " ".join(text.split()) for title, text in zip(sections[1::2], sections[2::2], strict=True)}
    of_recipes = set().union(*(architecture.recipe for architecture in ARCHITECTURES.values()))
    for name, option in OPTIONS.items():
        text = texts[option.metadata["group"]]
        own = re.split(r" (?=--[a-z])", text[text.index(f"{flag(name)} ") :])[0]
        assert option.metadata["help"] in own
        assert ", ".join(option.metadata["choices"]) in own
        if name in of_recipes:
            assert "default: the network's recipe" in own
        elif option.default is not None:
            default = f"{option.default:g}" if isinstance(option.default, float) else option.default
            assert f"default: {default})" in own
    assert {"run folder", "options"} < texts.keys()


def test_only_what_is_given_is_a_setting():
    assert given(vars(create_parser().parse_args(["--output", "x", "--data", "y"]))) == {}
    words = "--widths 8 16 24 32 --epochs 3 --sam 0.5 --filter low=1 high=2.5 --teacher a.onnx b.onnx --init run"
    assert given(vars(create_parser().parse_args(words.split()))) == {
        "widths": [8, 16, 24, 32],
        "epochs": 3,
        "sam": 0.5,
        "filter": {"low": 1.0, "high": 2.5},
        "teacher": ["a.onnx", "b.onnx"],
        "init": "run",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--epochs 0", "'0' is not a whole number from 1 to 1000000"),
        ("--epochs 1.5", "'1.5' is not a whole number from 1 to 1000000"),
        ("--widths 8 x", "'x' is not a whole number from 1 to 1000000"),
        ("--learning-rate nan", "'nan' is not a number above 0"),
        ("--mixup -1", "'-1' is not a number of 0 or more"),
        ("--sam inf", "'inf' is not a number of 0 or more"),
        ("--teacher-weight 1.1", "'1.1' is not a number from 0 to 1"),
        ("--seed 2147483648", "'2147483648' is not a whole number from 0 to 2147483647"),
        ("--filter low", "'low' is not NAME=NUMBER"),
        ("--keep first", "invalid choice: 'first'"),
    ],
)
def test_what_a_setting_cannot_be_is_said(words, said):
    with pytest.raises(UserError, match=re.escape(said)):
        create_parser().parse_args(words.split())


@pytest.mark.parametrize("name", ["teacher_weight", "teacher_views", "ferplus_weight", "ferplus_as", "ferplus_head"])
def test_a_setting_needs_its_source(name):
    source = name.split("_")[0]
    value = {"teacher_views": "varied", "ferplus_as": "opinion"}.get(name, 0.5)
    check_needs({name: value, source: "there"})
    with pytest.raises(UserError, match=f"^{flag(name)} needs --{source}; add it, or leave {flag(name)} out$"):
        check_needs({name: value})
