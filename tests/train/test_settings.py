import shlex

import pytest

from fer_tf.catalogue import ARCHITECTURES
from fer_tf.errors import UserError
from fer_tf.train.options import create_parser, given
from fer_tf.train.settings import OPTIONS, Settings, command_line, settle


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model", "se_resnet", "--epochs", "9", "--seed", "3", "--start-size", "32", "--mixup", "0.2"],
        ["--model", "base_cnn", "--dataset", "original", "--weight-decay", "0", "--label-smoothing", "0"],
        ["--ferplus", "votes.csv", "--ferplus-weight", "0.3"],
        ["--sam", "0.7", "--keep", "last"],
        ["--model", "se_resnet", "--widths", "16", "32", "64", "96"],
        ["--ferplus", "votes.csv", "--ferplus-head", "0.5"],
        ["--ferplus", "votes.csv", "--ferplus-weight", "0.3", "--ferplus-head", "1"],
        ["--teacher", "a.onnx", "b c.onnx", "--dataset", "canny"],
        ["--teacher", "a.onnx", "--teacher-views", "varied", "--ferplus", "votes.csv", "--ferplus-head", "1"],
        ["--classes", "0=angry", "contempt=-", "--epochs", "3"],
        ["--dataset", "canny", "--filter", "low=50", "high=150", "sigma=1.25"],
    ],
)
def test_the_command_of_a_run_gives_its_settings_again(options):
    def values(words):
        return settle(given(vars(create_parser().parse_args(words))))

    command = shlex.split(command_line(values(options)))
    assert command[:3] == ["python", "-m", "train.run"]
    assert values(command[3:]) == values(options)


def test_of_an_imported_checkpoint_no_command_is_known():
    assert command_line({"image_size": 224, "resize": "bilinear"}) is None


def settings(**values) -> Settings:
    return Settings(data="-", data_fingerprint="-", **values)


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        ("model", "resnet50", "vgg19", "one of base_cnn, se_resnet, mirror_resnet, resnet50"),
        ("epochs", 1, 0, "int from 1 to 1000000"),
        ("epochs", 10**6, 10**30, "int from 1 to 1000000"),
        ("epochs", 1, True, "int from 1 to 1000000"),
        ("epochs", 1, 1.5, "int from 1 to 1000000"),
        ("learning_rate", 1, float("nan"), "float above 0"),
        ("weight_decay", 0, -1e-9, "float of 0 or more"),
        ("mixup", 0.0, float("inf"), "float of 0 or more"),
        ("label_smoothing", 1, 1.01, "float from 0 to 1"),
        ("seed", 2**31 - 1, 2**31, "int from 0 to 2147483647"),
        ("widths", [8, 16], [8, "16"], "list or none from 1 to 1000000"),
        ("widths", None, 8, "list or none from 1 to 1000000"),
        ("filter", {"low": 1.0}, [1.0], "dict or none"),
        ("filter", {"low": 1}, {"low": "1"}, "dict or none"),
        ("teacher", ["a.onnx"], ["a.onnx", 5], "list or none"),
        ("teacher", None, "a.onnx", "list or none"),
        ("teacher_origins", None, [5], "list or none"),
        ("classes", ["0=sad"], [0], "list or none"),
        ("limit", None, 0, "int or none from 1 to 1000000"),
        ("image_size", 96, 10**9, "int or none from 1 to 4096"),
        ("keep", "last", "first", "one of best, last"),
    ],
)
def test_a_setting_takes_what_it_may_be_and_nothing_else(name, right, wrong, said):
    assert getattr(settings(**{name: right}), name) == right
    with pytest.raises(UserError) as error:
        settings(**{name: wrong})
    assert str(error.value) == f"{name} is {wrong!r}; expected {said}"


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_a_new_run_is_what_is_given_then_the_recipe_then_the_defaults(model):
    recipe = ARCHITECTURES[model].recipe
    values = settle({"model": model, "weight_decay": 0.5})
    assert values == {name: option.default for name, option in OPTIONS.items()} | recipe | {
        "model": model,
        "weight_decay": 0.5,
        "teacher_weight": 0.0,
        "ferplus_weight": 0.0,
    }
    settings(**values)


def test_teachers_and_votes_weigh_by_default_what_the_help_says():
    values = settle({"teacher": ["a.onnx"], "ferplus": "votes.csv"})
    assert (values["teacher_weight"], values["ferplus_weight"]) == (0.7, 0.5)
    assert settle({"ferplus": "votes.csv", "ferplus_head": 1.0})["ferplus_weight"] == 0.0


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        ({}, {}),
        ({"ferplus": "v.csv"}, {"classes": 7}),
        ({"teacher": ["a.onnx"]}, {"classes": 7}),
        ({"ferplus": "v.csv", "ferplus_head": 1.0}, {"classes": 7, "votes": 10}),
        ({"teacher": ["a.onnx"], "teacher_views": "varied"}, {"classes": 7}),
        ({"teacher": ["a.onnx"], "teacher_views": "varied", "ferplus": "v.csv"}, {"classes": 7, "evidence": 7}),
    ],
)
def test_a_run_has_the_targets_that_its_settings_ask_for(values, targets):
    assert settings(**settle(values)).targets == targets
