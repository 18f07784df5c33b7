"""What the page says of faces, and writes into tables, is what Python says and writes."""

import base64
import json

import numpy as np
import pytest

from fer_tf import weights
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.mixture import expected_shares, mixture_offset
from fer_tf.realtime.answers import Answers
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.face import Face, Reading
from fer_tf.realtime.tables import CsvSink, JsonlSink
from fer_tf.realtime.track import Track
from fer_tf.realtime.web.site import DEFAULT_MODEL
from fer_tf.recognizer import Recognizer
from fer_tf.text import printable


@pytest.mark.parametrize(
    ("expect", "resting", "weight", "shares"),
    [
        ("everyday", None, 0.5, None),
        ("even", 1.0, 0.7, None),
        ("fer2013", None, 1.0, None),
        ("happy=.3, Anger=.5", "auto", 0.5, (0.3, 0, 0.1, 0.1, 0.3, 0.1, 0.1)),
        ("neutral=1", 3.0, 0.0, None),
    ],
)
def test_answers_are_corrected_and_shown_in_the_same_way(modules, expect, resting, weight, shares):
    random = np.random.default_rng(5)
    logits = np.cumsum(random.normal(0, 0.35, (400, 7)), axis=0)
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    times = np.cumsum(random.choice([0.04, 0.1], 400)).tolist()
    asked = {150, 290}
    script = """async ([rows, times, asked, expect, resting, restingWeight, shares]) => {
        const { Answers, Past } = await import('/core/answers.mjs');
        const { expectedShares, mixtureOffset } = await import('/core/mixture.mjs');
        const answers = new Answers({ smoothing: 0.3, minConfidence: 0.4, expect, resting, restingWeight });
        answers.offset = mixtureOffset(expectedShares(expect), shares ?? undefined);
        const past = new Past();
        return rows.map((row, i) => {
            if (asked.includes(i)) answers.askForRest();
            const track = { past, seen: times[i] };
            answers.hear([track]);
            const answer = answers.add(track, Float32Array.from(row), false);
            return { ...answer, probabilities: Array.from(answer.probabilities) };
        });
    }"""
    found = modules(script, [rows.tolist(), times, sorted(asked), expect, resting, weight, shares])
    offset = mixture_offset(expected_shares(expect), shares)[None]
    answers = Answers(offset, smoothing=0.3, min_confidence=0.4, resting=resting, resting_weight=weight)
    track = Track(0, np.zeros(4), 0.0)
    words = set()
    for index, (ours, row) in enumerate(zip(found, rows, strict=True)):
        track.seen_s = times[index]
        if index in asked:
            answers.ask_for_rest()
        answers.hear([track])
        probabilities, ((shown,),), (state,) = answers([track], row[None, None])
        np.testing.assert_allclose(ours["probabilities"], probabilities[0, 0], atol=1e-6)
        assert (ours["shown"], ours["resting"]) == (shown, state), index
        words.add(shown)
    assert len(words) > 2 or expect == "neutral=1"


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "happy", "happy=2", "happy=.5,joy=.1", "happy=.9,sad=.2", "content=.1", "happy=x", "happy=.1=.2"],
)
def test_mixtures_that_are_none_are_refused_as_by_python(modules, text):
    script = """async (text) => {
        const { expectedShares } = await import('/core/mixture.mjs');
        try { return expectedShares(text); } catch (error) { return error.message; }
    }"""
    assert isinstance(modules(script, text), str)
    with pytest.raises(UserError):
        expected_shares(text)


@pytest.mark.parametrize(
    "text", [" Even ", "happy=.3,neutral=.5", "fear=0", ",".join(f"{name}=.14" for name in CLASSES)]
)
def test_mixtures_are_the_same_shares(modules, text):
    script = "async (text) => (await import('/core/mixture.mjs')).expectedShares(text)"
    np.testing.assert_allclose(modules(script, text), expected_shares(text), atol=1e-12)


NAMES = ["clip.mp4", "a,b.png", 'say "x".png', "=1+1.png", "'quoted.png", "-x", "über 表 😀.png", "line\\nbreak"]
PROBABILITIES = [
    (1 / 32, 3 / 32, 5 / 32, 7 / 32, 9 / 32, 7 / 32, 0),
    (0, 0, 0, 1, 0, 0, 0),
    (0.00004, 0.00005, 0.9, 0.0333333, 0.0333333, 0.0333333, 0),
    (1 / 7,) * 7,
]


def test_tables_are_the_same_to_the_letter(modules, tmp_path):
    random = np.random.default_rng(3)
    entries = []
    csv, jsonl = CsvSink(tmp_path / "faces.csv"), JsonlSink(tmp_path / "faces.jsonl")
    for number, name in enumerate(NAMES):
        for time in (0.0, 0.0005, 1 / 16, 1 / 3, 12.0625, 3600.04):
            frame = Frame(np.zeros((1, 1, 3), np.uint8), index=number, time_s=time)
            faces = []
            for track in range(number % 4):
                rows = np.array([PROBABILITIES[track], random.dirichlet(np.ones(7))], np.float32)
                reading = Reading("=model", *rows, shown=(*CLASSES, "uncertain")[number])
                faces.append(Face((-3, 0, 10 * track, 200), track, np.zeros((48, 48), np.uint8), (reading,)))
            csv.write(name, frame, faces)
            jsonl.write(name, frame, faces)
            described = [
                {
                    "track": face.track,
                    "box": face.box,
                    "label": face.label,
                    "confidence": face.confidence,
                    "shown": face.shown,
                    "certain": face.certain,
                    "probabilities": face.probabilities.tolist(),
                    "raw": face.raw.tolist(),
                }
                for face in faces
            ]
            entries.append({"source": name, "time": time, "frame": number, "model": "=model", "faces": described})
    csv.close()
    jsonl.close()
    script = """async (entries) => {
        const { toCsv, toJsonLines } = await import('/core/tables.mjs');
        return [toCsv(entries), toJsonLines(entries)];
    }"""
    for text, name in zip(modules(script, entries), ("faces.csv", "faces.jsonl"), strict=True):
        assert text.splitlines() == (tmp_path / name).read_text(encoding="utf-8").splitlines()


def test_names_are_printable_in_the_same_way(modules):
    names = [
        "a\nb",
        "\t\x00\x1b[31m",
        "\u202eevil",
        "\u2028",
        "\xa0",
        "\x7f\x85",
        "é 表 😀",
        "\U000e0001",
        "plain name.png",
    ]
    script = "async (names) => names.map((await import('/core/tables.mjs')).printable)"
    assert modules(script, names) == [printable(name) for name in names]


def test_a_card_is_read_from_the_file(modules, address, make_model_file, tmp_path):
    script = """async (text) => {
        const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const { readCard } = await import('/core/card.mjs');
        try {
            return readCard(text ? bytes(text) : new Uint8Array(await (await fetch('/model.onnx')).arrayBuffer()));
        } catch (error) {
            return error.message;
        }
    }"""
    assert modules(script, "") == json.loads(Recognizer(DEFAULT_MODEL).card.to_json())

    def read(content):
        return modules(script, base64.b64encode(content).decode())

    whole = make_model_file(tmp_path / "tiny.onnx").read_bytes()
    assert read(whole)["name"] == "tiny-original"
    assert read(b"nonsense") == read(whole[:-7]) == "This is no ONNX file, or it is damaged."
    assert read(weights.FACE_DETECTOR.read_bytes()) == "This is a face detector. Expected a model file."
    assert "no model card" in read(make_model_file(tmp_path / "bare.onnx", card=None).read_bytes())
    assert "not valid JSON" in read(make_model_file(tmp_path / "bad.onnx", card="{").read_bytes())
    newer = make_model_file(tmp_path / "newer.onnx", card_changes={"format_version": 2}).read_bytes()
    assert read(newer) == "This is a model file of format 2. The page reads format 1."
    partial = make_model_file(tmp_path / "part.onnx", card_changes={"license": ...}).read_bytes()
    assert "incomplete" in read(partial)
