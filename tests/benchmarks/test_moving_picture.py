import itertools

import cv2
import numpy as np
import pytest

from benchmarks import moving_picture


@pytest.fixture
def short_clip(monkeypatch):
    clip = moving_picture.demo_clip
    monkeypatch.setattr(moving_picture, "demo_clip", lambda: (itertools.islice(clip()[0], 7), 7))
    return list(itertools.islice(clip()[0], 7))


def test_opencv_reads_every_third_frame_of_the_clip_with_labels_on_it(short_clip, tmp_path, capsys):
    path = tmp_path / "live.webp"
    assert moving_picture.main(["-o", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 3 frames")
    read, animation = cv2.imreadanimation(str(path))
    assert read
    assert (animation.loop_count, list(animation.durations)) == (0, [120, 120, 120])
    for frame, unlabeled in zip(animation.frames, short_clip[::3], strict=True):
        frame = frame[..., :3]
        assert frame.shape == (420, 560, 3)
        difference = np.abs(frame.astype(int) - cv2.resize(unlabeled, (560, 420), interpolation=cv2.INTER_AREA))
        changed = difference.max(axis=-1) > 60
        assert 0.005 < changed.mean() < 0.2  # box, label and panel, and nothing else
        assert not changed[:, :100].any()


def test_another_format_is_refused(tmp_path, capsys):
    assert moving_picture.main(["-o", str(tmp_path / "live.gif")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/live.gif: the moving picture is a WebP; call it <name>.webp\n"
