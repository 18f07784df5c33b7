import json
import re

import pytest

from fer_tf import weights
from fer_tf.errors import UserError
from fer_tf.lineage import (
    REPEATED,
    Ensemble,
    Imported,
    Labels,
    Lineage,
    Origin,
    Quantization,
    Repeated,
    Run,
    read,
    told_once,
)

RUN = {"model": "base_cnn", "dataset": "original", "seed": 1, "init": None, "teacher": None, "ferplus": None}
VOTED = RUN | {"ferplus": "votes.csv", "ferplus_weight": 0.5}
IN_8_BITS = {"weights": "int8 of 7 bits", "activations": "uint8", "images": 512, "float_sha256": "ab" * 32}
CARDS = {
    path.stem: json.loads(path.read_text())["card"] for path in sorted(weights.DEFAULT_MODEL.parent.glob("*.json"))
}


def origin(training: dict, name: str = "a") -> dict:
    return {"name": name, "sha256": f"digest of {name}", "temperature": 1.0, "training": training}


def joined(*trainings: dict) -> dict:
    members = [origin(training, name) for name, training in zip("abc", trainings, strict=False)]
    return {"mirror": False, "members": members}


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({}, Imported),
        ({"image_size": 224, "resize": "bilinear"}, Imported),
        (RUN, Run),
        (RUN | {"image_size": 96, "resize": "bilinear"}, Run),
        (joined(RUN, {}), Ensemble),
        (REPEATED, Repeated),
    ],
)
def test_the_kinds_are_told_apart_and_each_can_be_in_8_bits(record, kind):
    lineage = read(record)
    assert type(lineage) is kind
    assert lineage.record == record
    assert not lineage.is_quantized
    int8 = lineage.quantized(Quantization(*IN_8_BITS.values()))
    assert type(int8) is kind
    assert int8.record == record | {"quantization": IN_8_BITS}
    assert "quantization" not in lineage.record
    if kind is not Repeated:
        assert type(read(int8.record)) is kind
        assert read(int8.record).quantization == Quantization(**IN_8_BITS)


@pytest.mark.parametrize("name", CARDS)
def test_the_cards_that_ship_are_read(name):
    """Counted in their text, which the reader does not look at."""
    training = CARDS[name]["training"]
    text = json.dumps(training)
    found = []

    def visit(lineage: Lineage) -> None:
        found.append(lineage)
        parents = lineage.members if isinstance(lineage, Ensemble) else []
        if isinstance(lineage, Run):
            parents = lineage.teachers
            if lineage.start:
                visit(lineage.start)
        for parent in parents:
            assert re.fullmatch("[0-9a-f]{64}", parent.sha256)
            visit(parent.training)

    visit(read(training))
    kinds = {kind: sum(type(lineage) is kind for lineage in found) for kind in (Run, Ensemble, Repeated, Imported)}
    expected = {
        Run: text.count('"model": '),
        Ensemble: text.count('"members": '),
        Repeated: text.count('"repeated": true'),
        Imported: 0,
    }
    assert kinds == expected
    assert sum(lineage.quantization is not None for lineage in found) == text.count('"quantization": ')
    assert json.dumps(told_once(training)) == json.dumps(told_once(told_once(training)))


def test_what_the_cards_that_ship_say():
    base, single, pair, resnet = (
        read(CARDS[name]["training"])
        for name in (
            "base_cnn-stack_sharpen",
            "mirror_resnet-original",
            "mirror_resnet-original-pair",
            "resnet50-stack_sharpen-int8",
        )
    )
    assert [lineage.epoch_was_chosen for lineage in (base, single, pair, resnet)] == [True, False, False, True]
    assert [lineage.is_quantized for lineage in (base, single, pair, resnet)] == [False, False, False, True]
    assert resnet.quantization.images == 512
    assert [name for name, _ in pair.networks()] == ["mirror_resnet-original", "mirror_resnet-original-narrow"]
    assert base.labels == (Labels.DATA_SET,)
    assert resnet.labels == (Labels.DATA_SET, Labels.VOTES, Labels.TEACHERS)
    assert single.labels == (Labels.DATA_SET, Labels.TEACHERS)
    assert set(single.inherited_labels) == {Labels.DATA_SET, Labels.VOTES, Labels.TEACHERS}
    assert [name for name, _ in single.files] == ["mirror-third-int8.onnx", "smooth-int8.onnx", "views-int8.onnx"]


def test_the_networks_of_an_ensemble_are_found_however_often_it_was_joined():
    again = joined(joined(RUN, {}), VOTED)
    networks = read(again).networks()
    assert [(name, type(network)) for name, network in networks] == [("a", Run), ("b", Imported), ("b", Run)]
    assert [run.record for run in read(again).runs] == [RUN, VOTED]
    assert read(RUN).networks() == [(None, read(RUN))]
    assert read(again).members[1] == Origin("b", "digest of b", 1.0, read(VOTED))
    assert read(joined(RUN, joined(RUN, RUN | {"quantization": IN_8_BITS}))).is_quantized
    assert not read(again).is_quantized
    assert Ensemble.of(again["members"], mirror=False).record == again


def test_whether_public_test_chose_the_epoch():
    last = RUN | {"keep": "last"}
    assert read(RUN | {"keep": "best"}).epoch_was_chosen is True
    assert read(RUN).epoch_was_chosen is True, "older runs all kept the best"
    assert read(last).epoch_was_chosen is False
    assert read(joined(last, RUN)).epoch_was_chosen is True
    assert read(joined(last, {})).epoch_was_chosen is False
    assert read({}).epoch_was_chosen is read(joined({}, {})).epoch_was_chosen is None


def test_labels_come_through_the_initial_weights_and_the_teachers():
    assert read({}).labels == (Labels.UNKNOWN,)
    assert read(RUN).labels == (Labels.DATA_SET,)
    assert read(RUN).inherited_labels == ()
    assert read(VOTED).labels == (Labels.DATA_SET, Labels.VOTES)
    taught = RUN | {"teacher": ["a.onnx"], "teacher_origins": [origin(joined(RUN, VOTED))]}
    assert read(taught).labels == (Labels.DATA_SET, Labels.TEACHERS)
    assert read(taught).inherited_labels == (Labels.DATA_SET, Labels.VOTES)
    later = RUN | {"init": "first", "init_origin": taught}
    assert read(later).inherited_labels == (Labels.DATA_SET, Labels.TEACHERS, Labels.VOTES)
    assert read(RUN | {"init": "imagenet.pth"}).inherited_labels == (Labels.UNKNOWN,)
    assert read(RUN | {"init": "first", "init_origin": REPEATED}).inherited_labels == ()


def test_the_line_of_a_run_is_that_of_its_weights():
    first, second = RUN | {"seed": 0, "init": "x.pth"}, RUN | {"seed": 1, "init": "first"}
    second |= {"init_origin": first, "teacher": ["t"], "teacher_origins": [origin(RUN | {"seed": 9})]}
    third = RUN | {"seed": 2, "init": "second", "init_origin": second}
    assert [run.record["seed"] for run in read(third).line] == [0, 1, 2]
    assert read(first).start == Imported({})
    assert read(RUN).start is None


def test_files_are_named_with_the_digests_that_were_kept():
    teachers = [origin({}, "first"), origin({}, "second")]
    taught = RUN | {"teacher": ["a.onnx", "a.onnx"], "teacher_origins": teachers, "init": "x.pth", "init_sha256": "ef"}
    expected = [("x.pth", "ef"), ("a.onnx", "digest of first"), ("a.onnx", "digest of second")]
    assert read(taught).files == expected
    begun = RUN | {"init": "first", "init_sha256": "ef", "init_origin": RUN}
    assert read(begun).files == [("first/model.keras", "ef")], "the folder of a run"
    assert read(begun | {"init": "first.onnx"}).files == [("first.onnx", "ef")]
    assert read(RUN | {"init": "first"}).files == [], "older runs kept none"


def test_what_a_family_of_models_shares_is_told_once():
    """Each generation begins with the last and learns from the two before: in full, its record doubles each time."""
    records, trees = [VOTED | {"seed": 0}], [VOTED | {"seed": 0}]
    for seed in range(1, 9):
        names = [f"{number}.onnx" for number in range(max(0, seed - 2), seed)]
        own = RUN | {"seed": seed, "init": "x", "teacher": names, "teacher_weight": 0.5}

        def born(family, own=own, names=names):
            last = {"members": [{"name": "last", "sha256": names[-1], "training": family[-1]}]}
            alone = {"name": "first", "sha256": names[0], "training": family[max(0, len(family) - 2)]}
            return own | {"init_origin": family[-1], "teacher_origins": [alone, {"sha256": "j", "training": last}]}

        trees.append(born(trees))
        records.append(told_once(born(records)))
    assert [len(re.findall('"seed"', json.dumps(record))) for record in records] == list(range(1, 10))
    assert len(json.dumps(records[-1])) < len(json.dumps(trees[-1])) / 50
    for record, tree in zip(records, trees, strict=True):
        assert read(record).inherited_labels == read(tree).inherited_labels
    assert [run.record["seed"] for run in read(records[-1]).line] == list(range(9))
    assert told_once(records[-1]) == records[-1]
    assert told_once({"image_size": 96}) == {"image_size": 96}


@pytest.mark.parametrize(
    ("damaged", "ask"),
    [
        (5, lambda lineage: lineage),
        ({"members": 5}, lambda lineage: lineage.networks()),
        ({"members": [5]}, lambda lineage: lineage.is_quantized),
        ({"members": [{"name": "a"}]}, lambda lineage: lineage.runs),
        (RUN | {"teacher_origins": {"a": 1}}, lambda lineage: lineage.teachers),
        (RUN | {"init_origin": "a"}, lambda lineage: lineage.line),
        ({"quantization": "int8"}, lambda lineage: lineage.is_quantized),
    ],
)
def test_a_damaged_record_is_refused(damaged, ask):
    with pytest.raises(UserError, match=r"model card: .* must be"):
        ask(read(damaged))
