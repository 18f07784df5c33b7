import itertools
import json
import subprocess
from fractions import Fraction
from shutil import which

import av
import cv2
import numpy as np
import pytest

from fer_tf.realtime.capture import DEFAULT_FPS, SourceError
from fer_tf.realtime.excerpt import Excerpt
from fer_tf.realtime.sources import open_source
from fer_tf.realtime.video import FileSource

needs_ffmpeg = pytest.mark.skipif(not (which("ffmpeg") and which("ffprobe")), reason="ffmpeg is not installed")


class FakePicture:
    def __init__(self, time_s):
        self.time_s = time_s

    def image(self):
        return np.zeros((8, 8, 3), np.uint8)


class FakeVideo:
    """Stands for a video of `count` frames."""

    def __init__(self, count, *, fps=30.0, length=None, times=None, damaged=0):
        self.fps, self.length, self.damaged = fps, length, damaged
        self.duration_s = length / fps if length else None
        self.pictures = [FakePicture(times and times[index]) for index in range(count)]
        self.closed = False

    def __iter__(self):
        return iter(self.pictures)

    def close(self):
        self.closed = True


def test_times_of_a_file_are_its_own_and_begin_at_zero():
    video = FakeVideo(4, fps=10, length=4, times=[1.4, 1.45, 1.7, 1.71])
    times = [frame.time_s for frame in FileSource("x", video)]
    np.testing.assert_allclose(times, [0, 0.05, 0.3, 0.31])


@pytest.mark.parametrize("times", [None, [-9.2e15] * 4])
def test_a_file_without_times_gets_those_of_its_rate(times):
    video = FakeVideo(4, fps=10, length=4, times=times)
    times = [frame.time_s for frame in FileSource("x", video)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.0, 1.0, 1.0, 1.04, 1.04, 1.08], [0, 1, 1.001, 1.04, 1.041, 1.08]),
        ([0.0, 0.0, 0.04, 0.08, 0.12, 0.16], [0, 0.04, 0.041, 0.08, 0.12, 0.16]),
        ([0.0, 1.0, 0.99, 1.03, 1.07, 1.1], [0, 1, 1.04, 1.041, 1.07, 1.1]),
    ],
)
def test_a_time_that_is_given_twice_or_too_early_delays_nothing_that_follows(given, expected):
    video = FakeVideo(6, fps=25, length=6, times=given)
    times = [frame.time_s for frame in FileSource("x", video)]
    np.testing.assert_allclose(times, expected)


def test_a_file_whose_times_end_goes_on_by_its_rate():
    video = FakeVideo(5, fps=10, length=5, times=[0.0, 0.1, 0.2, None, None])
    times = [frame.time_s for frame in FileSource("x", video)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4])


def test_a_file_that_is_cut_off_says_so():
    source = FileSource("x.mp4", FakeVideo(3, length=100))
    assert len(list(source)) == 3
    assert "3 of 100" in source.failure


@pytest.mark.parametrize(("last_s", "cut_off"), [(9.8, False), (4.0, True)])
def test_a_file_with_fewer_frames_than_its_rate_promises_need_not_be_cut_off(last_s, cut_off):
    video = FakeVideo(3, fps=10, length=100, times=[0.0, 1.0, last_s])
    source = FileSource("x.mkv", video)
    assert len(list(source)) == 3
    assert bool(source.failure) == cut_off


def test_frames_that_were_damaged_are_told():
    source = FileSource("x.mp4", FakeVideo(97, length=100, damaged=3))
    assert len(list(source)) == 97
    assert "left out: 3" in source.failure


def test_a_file_without_a_frame_is_an_error():
    video = FakeVideo(0)
    with pytest.raises(SourceError, match="no frame"):
        list(FileSource("x", video))
    assert video.closed


def test_a_file_that_is_closed_ends_and_is_not_cut_off():
    video = FakeVideo(100, length=100)
    source = FileSource("x", video)
    for frame in source:
        if frame.index == 3:
            source.close()
    assert (frame.index, video.closed, source.failure) == (3, True, None)


@pytest.mark.parametrize(
    ("excerpt", "indices"),
    [
        (Excerpt(every=4), [0, 4, 8]),
        (Excerpt(start_s=0.5), [5, 6, 7, 8, 9]),
        (Excerpt(end_s=0.3), [0, 1, 2]),
        (Excerpt(every=2, start_s=0.3, end_s=0.8), [4, 6]),
    ],
)
def test_an_excerpt_keeps_the_numbers_and_times_of_its_frames(excerpt, indices):
    video = FakeVideo(10, fps=10, length=10)
    source = FileSource("x", video, excerpt=excerpt)
    frames = list(source)
    assert [frame.index for frame in frames] == indices
    np.testing.assert_allclose([frame.time_s for frame in frames], np.array(indices) / 10, atol=1e-9)
    assert (source.fps, source.failure, video.closed) == (10 / excerpt.every, None, True)
    assert source.length == pytest.approx(len(indices), abs=1)


def test_a_start_after_the_end_is_an_error():
    with pytest.raises(SourceError, match="--start 2 s"):
        list(FileSource("x", FakeVideo(10, fps=10, length=10), excerpt=Excerpt(start_s=2)))


STEP, WIDE, SIZE = 12, 40, (240, 416)
"""How far a bar moves in a frame, how wide it is, and the size of the frame."""


def bars(count, size=SIZE):
    """A vertical bar that moves from left to right, on gray: uint8 [count, H, W, 3]."""
    images = np.full((count, *size, 3), 60, np.uint8)
    for index, image in enumerate(images):
        image[:, 16 + STEP * index : 16 + STEP * index + WIDE] = 230
    return images


def make(path, images, *options, rate=25):
    """Has ffmpeg write a video of images."""
    height, width = images[0].shape[:2]
    given = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    command = ["ffmpeg", "-loglevel", "error", "-y", *given, *options, str(path)]
    subprocess.run(command, input=b"".join(image.tobytes() for image in images), check=True)
    return path


def probed(path):
    """Returns the times of the frames that ffprobe finds, from 0 on."""
    command = ["ffprobe", "-loglevel", "error", "-select_streams", "v:0", "-of", "json"]
    command += ["-show_entries", "frame=best_effort_timestamp_time", str(path)]
    frames = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["frames"]
    times = np.array([float(frame.get("best_effort_timestamp_time", "nan")) for frame in frames])
    return times - times[0]


def raw(path, size):
    """Returns the frames that ffmpeg decodes: uint8 [N, H, W, 3]."""
    command = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-vsync", "passthrough", "-sws_flags", "bicubic"]
    command += ["-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, *size, 3)


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b-frames.mp4", (*X264, "-bf", "3", "-g", "12")),
        ("b-frames.avi", ("-c:v", "mpeg4", "-bf", "2", "-q:v", "2")),
        ("b-frames.ts", (*X264, "-bf", "3")),
        ("variable-rate.mkv", (*X264, "-vf", "select='not(mod(n,3))+lt(n,8)'", "-vsync", "vfr")),
        ("variable-rate.mp4", (*X264, "-vf", "setpts='(N+0.04*N*N)/25/TB'", "-vsync", "vfr")),
        ("ten-bit.mkv", (*X264, "-pix_fmt", "yuv420p10le")),
        ("full-range.mkv", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj422p")),
        ("gray.mkv", ("-c:v", "ffv1", "-pix_fmt", "gray")),
        ("rgb.mov", ("-c:v", "qtrle", "-pix_fmt", "rgb24")),
        ("palette.gif", ()),
        ("late.ts", (*X264, "-output_ts_offset", "7000")),
    ],
)
def test_every_frame_and_time_is_that_of_ffprobe(tmp_path, name, options):
    path = make(tmp_path / name, bars(26), *options)
    source = open_source(str(path))
    frames = list(source)
    expected = raw(path, SIZE)
    assert len(frames) == len(expected)
    assert source.failure is None
    times = probed(path)
    times[-1] = times[-1] if np.isfinite(times[-1]) else frames[-1].time_s  # in an AVI it may have none
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=1.1e-3)
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3


@needs_ffmpeg
@pytest.mark.parametrize("size", [(241, 417), (33, 19)])
def test_odd_sides_are_kept(tmp_path, size):
    path = make(tmp_path / "odd.mkv", bars(3, size), "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    assert [frame.image.shape for frame in open_source(str(path))] == [(*size, 3)] * 3


@needs_ffmpeg
def test_an_edit_list_hides_what_it_cuts_off(tmp_path):
    whole = make(tmp_path / "whole.mp4", bars(30), *X264, "-bf", "2", "-g", "30")
    cut = tmp_path / "cut.mp4"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-ss", "0.6", "-i", whole, "-c", "copy", cut], check=True)
    source = open_source(str(cut))
    frames = list(source)
    assert source.failure is None
    assert source.length > len(frames)  # as the container says
    np.testing.assert_allclose([frame.time_s for frame in frames], probed(cut), atol=1.1e-3)


@needs_ffmpeg
def test_the_size_may_change_within_a_file(tmp_path):
    content = b""
    for index, size in enumerate([(240, 416), (120, 208), (240, 416)]):
        path = make(tmp_path / f"{index}.ts", bars(10, size), "-c:v", "mpeg2video", "-q:v", "2")
        content += path.read_bytes()
    (tmp_path / "all.ts").write_bytes(content)
    shapes = [shape for shape, _ in itertools.groupby(f.image.shape for f in open_source(str(tmp_path / "all.ts")))]
    assert shapes == [(240, 416, 3), (120, 208, 3), (240, 416, 3)]


def combed(image):
    """Returns how much lines differ from those above them; in a picture of upright bars they are the same."""
    return np.abs(np.diff(image[:, :, 1].astype(int), axis=0)).mean()


INTERLACED = {
    "tff.mpg": ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2"),
    "h264.mp4": ("-c:v", "libx264", "-flags", "+ildct+ilme", "-crf", "12"),
    "h264.ts": ("-c:v", "libx264", "-flags", "+ildct+ilme", "-crf", "12"),
    "prores.mov": ("-c:v", "prores_ks", "-flags", "+ildct+ilme"),
}


@needs_ffmpeg
@pytest.mark.parametrize("name", INTERLACED)
@pytest.mark.parametrize("first", ["top", "bottom"])
def test_interlaced_video_gives_a_whole_picture_for_each_frame(tmp_path, name, first):
    order = f"tinterlace=interleave_{first},setfield={'tff' if first == 'top' else 'bff'}"
    path = make(tmp_path / name, bars(28), "-vf", order, *INTERLACED[name], rate=50)
    woven = raw(path, SIZE)
    assert len(woven) == 14
    source = open_source(str(path))
    frames = list(source)
    np.testing.assert_allclose([frame.time_s for frame in frames], probed(path), atol=1.1e-3)
    for index, (frame, image) in enumerate(zip(frames, woven, strict=True)):
        middle = np.flatnonzero(frame.image[::2, :, 1].mean(0) > 145).mean()
        assert middle == pytest.approx(16 + 2 * STEP * index + WIDE / 2, abs=1.1 * STEP)  # it is this frame
        assert frame.image.max() > 200
        assert combed(image) > 8
        assert combed(frame.image) < 3


@needs_ffmpeg
def test_progressive_and_interlaced_parts_of_a_file_are_told_apart(tmp_path):
    codec = ("-c:v", "libx264", "-crf", "12")
    parts = [make(tmp_path / f"{index}.ts", bars(10), *codec) for index in (0, 2)]
    order = "tinterlace=interleave_top,setfield=tff"
    parts.insert(1, make(tmp_path / "1.ts", bars(20), "-vf", order, *codec, "-flags", "+ildct+ilme", rate=50))
    (tmp_path / "all.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(open_source(str(tmp_path / "all.ts")))
    assert len(frames) == len(probed(tmp_path / "all.ts")) == 30
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 25, atol=1.1e-3)
    assert max(combed(frame.image) for frame in frames) < 3
    whole = [*raw(parts[0], SIZE), *raw(parts[2], SIZE)]
    for frame, image in zip([*frames[:10], *frames[20:]], whole, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3  # nothing is changed that was whole


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("ratio", [1, 2])
def test_a_video_is_upright_however_the_camera_was_held(tmp_path, degrees, mirrored, ratio):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32] = 255  # the upper left quarter
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        stream.set_display_rotation(degrees, hflip=mirrored)
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")), *stream.encode()):
            container.mux(packet)
    (frame,) = open_source(str(tmp_path / "x.mp4"))
    shown = cv2.resize(pixels, None, fx=ratio, fy=1)
    # FFmpeg turns to the left, and then mirrors.
    shown = np.rot90(shown, degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    assert np.abs(frame.image.astype(int) - shown).mean() < 10


def test_what_cannot_be_decoded_is_left_out_and_told(tmp_path):
    path = tmp_path / "x.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for index in range(20):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    place = -1
    for _ in range(5):
        place = content.index(b"\xff\xd8\xff", place + 1)
    content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    source = open_source(str(path))
    frames = list(source)
    assert len(frames) == 19
    assert "left out: 1" in source.failure
    expected = [10 * index for index in range(20) if index != 4]
    np.testing.assert_allclose([frame.image.mean() for frame in frames], expected, atol=4)


def test_a_frame_with_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "2000")
    with pytest.raises(SourceError, match=r"x\.avi: .*64 x 48 pixels.*FER_TF_MAX_PIXELS=3072$"):
        open_source(str(tmp_path / "x.avi"))
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "3072")
    assert len(list(open_source(str(tmp_path / "x.avi")))) == 1


def test_a_rate_that_is_not_plausible_is_replaced():
    from fer_tf.realtime.video import _plausible

    assert [_plausible(rate) for rate in (None, Fraction(0), Fraction(90000), Fraction(30))] == [*[DEFAULT_FPS] * 3, 30]
