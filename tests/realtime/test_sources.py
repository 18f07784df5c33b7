import os
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime import sources
from fer_tf.realtime.capture import SourceError
from fer_tf.realtime.sources import expand_sources, find_cameras, open_source


def black(height=8, width=8):
    return np.zeros((height, width, 3), np.uint8)


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 51, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    return tmp_path / "image.png", pixels


def test_an_image_is_a_clip_of_one_frame(image):
    path, pixels = image
    source = open_source(str(path))
    (frame,) = source
    np.testing.assert_array_equal(frame.image, pixels)
    assert (frame.index, frame.time_s, source.length, source.live) == (0, 0.0, 1, False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(image, tmp_path):
    """To look into it first would take from it what then is missing."""
    path, pixels = image
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    (frame,) = open_source(str(tmp_path / "pipe"))
    np.testing.assert_array_equal(frame.image, pixels)
    writer.join(10)
    assert not writer.is_alive()


def test_a_video_file_is_read_with_its_times(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(0, 200, 10):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    source = open_source(str(path))
    frames = list(source)
    source.close()
    assert (source.fps, source.length, source.live, source.failure) == (10, 20, False, None)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 10, atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], np.arange(0, 200, 10), atol=4)


@pytest.mark.parametrize(("ratio", "width"), [(Fraction(16, 15), 128), (Fraction(1), 120), (Fraction(100), 120)])
def test_a_video_whose_pixels_are_not_square_is_stretched_as_players_do(ratio, width, tmp_path):
    """A disc of 48 pixels in a frame of 96 rows, which the file holds squeezed."""
    disc = cv2.circle(np.zeros((96, width, 3), np.uint8), (width // 2, 48), 24, (255, 255, 255), -1)
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.bit_rate = 120, 96, 2_000_000
        stream.codec_context.sample_aspect_ratio = ratio
        picture = av.VideoFrame.from_ndarray(cv2.resize(disc, (120, 96)), format="bgr24")
        for packet in (*stream.encode(picture), *stream.encode()):
            container.mux(packet)
    (frame,) = open_source(str(tmp_path / "x.mkv"))
    assert frame.image.shape == (96, width, 3)
    rows, columns = ((frame.image[..., 0] > 128).any(axis=axis).sum() for axis in (1, 0))
    assert rows == pytest.approx(columns, abs=2)


def test_what_is_left_out_of_a_folder_is_counted_and_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(sources, "reads_heic", lambda: False)
    for name in ("a.HEIC", "b.heif", ".c.heic", "n2.txt", "table.csv", "README"):
        (folder / name).touch()
    expand_sources([str(folder)])
    note = capsys.readouterr().err
    assert note.startswith(f"note: {folder}: left out: ")
    assert note.count("\n") == 1
    for part in ("2 HEIC (", "pip install pillow-heif", "2 .txt", "1 .csv", "1 without a suffix", "1 folders (--recu"):
        assert part in note
    monkeypatch.setattr(sources, "reads_heic", lambda: True)
    assert "a.HEIC" in names(expand_sources([str(folder)]))
    assert "HEIC" not in capsys.readouterr().err


def test_subfolders_are_read_if_asked_for(folder, capsys):
    assert "c.png" in names(expand_sources([str(folder)], recursive=True))
    assert "--recursive" not in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".gif", ".tif", ".JPG"])
def test_pictures_of_many_suffixes_are_found_in_a_folder(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    assert names(expand_sources([str(tmp_path)])) == [f"a{suffix}"]


@pytest.mark.parametrize("name", ["a.HEIC", "a.jpg", "a.mp4", "a", ""])
def test_heic_is_named_with_what_to_do_however_it_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_tf.images.reads_heic", lambda: False)
    monkeypatch.setattr(sources, "reads_heic", lambda: False)
    file = tmp_path / (name or "a.HEIC")
    file.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UserError, match=r"HEIC.*pip install pillow-heif.* convert it to JPEG"):
        open_source(*expand_sources([str(tmp_path / name)]))


def test_an_animation_is_a_video_and_a_gif_of_one_frame_a_picture(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    shades = [Image.new("L", (40, 30), shade) for shade in (0, 120, 240)]
    shades[0].save(tmp_path / "many.gif", save_all=True, append_images=shades[1:], duration=100)
    shades[1].save(tmp_path / "one.gif")
    frames = list(open_source(str(tmp_path / "many.gif")))
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [0, 120, 240], atol=3)
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.1, 0.2], atol=1e-3)
    assert open_source(str(tmp_path / "one.gif")).length == 1


def test_of_several_pages_the_first_is_read_and_told(tmp_path, capsys):
    Image = pytest.importorskip("PIL.Image")
    first, *others = (Image.new("RGB", (40, 30), (shade, 0, 0)) for shade in (200, 100, 0))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)
    (frame,) = open_source(str(tmp_path / "pages.tif"))
    assert frame.image[..., 2].mean() == 200
    assert (
        capsys.readouterr().err == f"note: {tmp_path / 'pages.tif'}: only the first of its pages is read (pages: 3)\n"
    )


def test_a_password_is_in_no_message(tmp_path):
    with pytest.raises(UserError) as caught:
        open_source("rtsp://user:sesame@127.0.0.1:1/s?token=sesame")
    assert str(caught.value).startswith("rtsp://127.0.0.1:1/s?token=***: no video stream there")
    assert "sesame" not in str(caught.value)


def test_a_path_with_a_colon_is_a_path(image, monkeypatch):
    path, pixels = image
    path.rename(path.with_name("udp:1.png"))
    monkeypatch.chdir(path.parent)
    (frame,) = open_source("udp:1.png")
    assert frame.image.shape == pixels.shape


def test_a_video_behind_an_address_is_read_like_a_file(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(12):
        writer.write(black(48, 64))
    writer.release()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/clip.avi")
        times = [frame.time_s for frame in source]
        source.close()
        server.shutdown()
    assert not source.live
    np.testing.assert_allclose(times, np.arange(12) / 10, atol=1e-3)


@pytest.fixture
def folder(tmp_path):
    for name in ("b10.png", "b2.PNG", "a.mp4", "notes.txt", ".hidden.png", "B1.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    (tmp_path / "deeper.png" / "c.png").touch()
    return tmp_path


def names(paths):
    return [path.replace("\\", "/").rpartition("/")[2] for path in paths]


def test_a_folder_stands_for_what_is_in_it_in_natural_order(folder):
    assert names(expand_sources([str(folder)])) == ["B1.jpg", "a.mp4", "b2.PNG", "b10.png"]


def test_a_pattern_stands_for_what_matches_it(folder):
    assert names(expand_sources([str(folder / "b*"), str(folder / "a.mp4")])) == ["b2.PNG", "b10.png", "a.mp4"]
    assert names(expand_sources([str(folder / "**" / "c.png")])) == ["c.png"]


def test_what_is_not_a_folder_or_pattern_stands_for_itself(folder):
    named = ["0", "demo", "rtsp://host/*?x=[1]", "missing.mp4", str(folder / "a.mp4")]
    assert expand_sources(named) == named


def test_what_is_named_twice_is_looked_at_once(folder):
    assert names(expand_sources([str(folder / "b10.png"), str(folder), str(folder)])) == [
        *("b10.png", "B1.jpg", "a.mp4", "b2.PNG"),
    ]


@pytest.mark.parametrize("text", ["a\udcff.mp4", "a\udcff.png", "rtsp://host/\udcff", "/dev/\udcff"])
def test_a_name_that_opencv_cannot_take_is_an_error(text):
    with pytest.raises(SourceError, match="UTF-8"):
        open_source(text)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_that_is_cut_off_is_an_error(image, progressive):
    pixels = image[1]
    path = image[0].with_suffix(".jpg")
    encode = partial(cv2.imencode, ".jpg", params=[cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])
    whole, preview = (encode(picture)[1].tobytes() for picture in (pixels, pixels[:8, :8]))
    extra = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    whole = whole[:2] + extra + b"\xff\xff" + whole[2:]  # any number of these may stand before a marker
    for end in (b"", b"what phones put behind"):
        path.write_bytes(whole + end)
        (frame,) = open_source(str(path))
        assert frame.image.shape == pixels.shape
    path.write_bytes(whole[: len(extra) + (len(whole) - len(extra)) * 3 // 4])
    assert cv2.imread(str(path)) is not None  # OpenCV does not mind
    with pytest.raises(SourceError, match="cut off"):
        open_source(str(path))


def test_a_video_may_be_called_like_an_image(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(black(48, 64))
    writer.release()
    path = (tmp_path / "clip.avi").rename(tmp_path / "clip.png")
    assert len(list(open_source(str(path)))) == 3


def test_a_source_without_a_name_is_an_error():
    with pytest.raises(UserError, match="without a name"):
        expand_sources(["demo", ""])


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "a[1].png"
    path.touch()
    assert expand_sources([str(path)]) == [str(path)]


@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_nothing_in_a_folder_or_for_a_pattern_is_an_error(tmp_path, pattern):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="there are no"):
        expand_sources([str(tmp_path / pattern)])


class Camera:
    """Stands for OpenCV's capture where there are cameras 1 and 12."""

    def __init__(self, number, backend=None):
        self.number = number
        self.asked = {}

    def isOpened(self):
        return self.number in (1, 12)

    def get(self, name):
        return {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0, cv2.CAP_PROP_FPS: 30.0}[name]

    def set(self, name, value):
        self.asked[name] = value

    def release(self):
        pass


def test_cameras_are_found_by_number_and_by_device(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(sources.glob, "glob", lambda _: ["/dev/video1", "/dev/video12", "/dev/video-dec0"])
    monkeypatch.setattr(sources.sys, "platform", "linux")
    assert list(find_cameras()) == [("1", 640, 480, 30.0), ("12", 640, 480, 30.0)]


def test_a_camera_is_asked_for_its_size(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    asked = open_source("1", camera_size=(1280, 720))._capture.asked
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (1280, 720)


def test_a_camera_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(SourceError, match="camera 3 cannot be opened"):
        open_source("3")


def test_a_folder_does_not_stand_in_for_the_demo_or_a_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    assert expand_sources(["demo", "0", "./demo"]) == ["demo", "0", "demo/a.png"]


def test_a_video_of_a_codec_that_nobody_knows_is_one_line(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=32, height=32)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(SourceError, match="no decoder"):
        open_source(str(path))
