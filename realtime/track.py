"""Tracks faces across the frames of a stream, and smooths their probabilities over time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from fer_tf.realtime.detect import Detections
from fer_tf.realtime.resting import RestingFace

_REACH, _REACH_PER_SECOND, _LARGEST_REACH = 0.5, 2.0, 1.5
"""How far a face may have moved, in sizes of its box: from one frame to the next, per second unseen, and at most."""

_LARGEST_GROWTH = 2.0
"""Factor by which the size of a face may have changed."""

_FOLLOWED_SIDE = 320
"""Longest side, in pixels, of the gray images in which faces are followed between detections."""

_GRID = np.stack(np.meshgrid(*[np.linspace(0.15, 0.85, 5)] * 2), axis=-1).reshape(-1, 2)
"""Points of a box that optical flow follows, as shares of its width and height: float64 [25, 2]."""


@dataclass(eq=False)
class Past:
    """What was said of a track so far. Only whoever recognizes its expressions changes it."""

    average: np.ndarray | None = None
    """float64 [..., 7]: the smoothed probabilities; None before the first reading."""
    time_s: float = 0.0
    shown: np.ndarray | None = None
    """int [models]: what it was shown as, see `fer_tf.realtime.steady`; None before the first reading."""
    resting: RestingFace | None = None
    """How its face at rest looks; None before the first reading."""


@dataclass(eq=False)
class Track:
    """A face that was recognized as the same from frame to frame."""

    id: int
    box: np.ndarray
    """float64 [4]: left, top, width and height in pixels of the frame where it was last seen."""
    seen_s: float
    """When it was last seen, in seconds of the tracker's clock."""
    places: np.ndarray | None = None
    """float64 [5, 2]: the landmarks' positions in the box, as shares of its width and height; None without any."""
    past: Past = field(default_factory=Past)
    """Copies of a track share it."""

    @property
    def landmarks(self) -> np.ndarray | None:
        """float64 [5, 2]: in pixels of that frame, as in `Detections`; between detections they move with the box."""
        return None if self.places is None else self.box[:2] + self.places * self.box[2:]

    def smooth(self, probabilities: np.ndarray, tau: float) -> np.ndarray:
        """Adds the probabilities of the current frame to an exponential moving average, and returns it.

        The first reading starts the average. A new one after `dt` seconds has the weight `1 - exp(-dt / tau)`, which
        makes the average independent of the frame rate.

        Args:
            probabilities: float32 [..., 7]; rows sum to 1.
            tau: Time constant in seconds; 0 turns smoothing off.

        Returns:
            float32 of the same shape; rows sum to 1.
        """
        before, elapsed = self.past.average, self.seen_s - self.past.time_s
        if before is None or tau == 0:
            value = probabilities.astype(np.float64)
        else:
            value = before - math.expm1(-elapsed / tau) * (probabilities - before)
        self.past.average, self.past.time_s = value, self.seen_s
        return value.astype(np.float32)


class Tracker:
    """Finds the faces in each frame of a stream, and gives each face an id that it keeps.

    A box continues the track that is nearest by distance and overlap, unless it is too far for the time since. A lost
    face is remembered for a moment. Ids are never reused.

    The detector runs on every Nth frame, and also when a face can no longer be followed or when the frame size changes.
    In between, boxes move and grow with the sparse optical flow inside them (Lucas and Kanade, 1981), checked forward
    and backward (Kalal et al., 2010). Time that goes backward counts as standing still.

    Args:
        detector: Function from an image, uint8 [H, W, 3], BGR, to `Detections`, or to boxes alone, int [N, 4]: left,
            top, width and height in pixels.
        detect_every: Run the detector on every Nth frame.
        memory: Seconds for which a lost face keeps its id.
    """

    def __init__(
        self,
        detector: Callable[[np.ndarray], Detections | np.ndarray],
        *,
        detect_every: int = 1,
        memory: float = 0.8,
    ):
        self.detector = detector
        self.detect_every = detect_every
        self.memory = memory
        self.reset()

    def reset(self) -> None:
        """Forgets all faces, for another stream."""
        self._visible: list[Track] = []
        self._lost: list[Track] = []
        self._next_id = 0
        self._clock, self._time_s = 0.0, math.inf
        self._size = np.zeros(2)
        self._gray = np.zeros((0, 0), np.uint8)
        self._undetected = 0

    def __call__(self, image: np.ndarray, time_s: float) -> list[Track]:
        """Returns the tracks of the faces in the next frame, ordered by id.

        They are copies, which later frames do not change.

        Args:
            image: uint8 [H, W, 3], BGR.
            time_s: When it was taken, in seconds.
        """
        # A clock of its own, since time may step backward, for instance when a video restarts.
        if 0 < time_s - self._time_s < math.inf:
            self._clock += time_s - self._time_s
        self._time_s = time_s
        self._fit(image)
        previous, self._gray = self._gray, self._gray if self.detect_every == 1 else _reduced(image)
        self._undetected += 1
        if self._undetected >= self.detect_every or not self._follow(previous):
            self._undetected = 0
            found = self.detector(image)
            if not isinstance(found, Detections):
                found = Detections(np.reshape(found, (-1, 4)))
            self._match(found.boxes.clip([-np.inf, -np.inf, 1, 1]), found.landmarks)
        return [replace(track) for track in self._visible]

    def _fit(self, image: np.ndarray) -> None:
        """Scales all boxes if the size of the frame has changed, and makes the detector run."""
        size = np.array(image.shape[1::-1], np.float64)
        if (size != self._size).any():
            for track in self._visible + self._lost:
                track.box = track.box * np.tile(size / self._size, 2)
            self._size = size
            self._undetected = self.detect_every

    def _match(self, boxes: np.ndarray, landmarks: np.ndarray | None) -> None:
        """Assigns each box to a track, best pairs first, or starts a new track."""
        places: list[np.ndarray | None] = [None] * len(boxes)
        if landmarks is not None:
            places = list((landmarks - boxes[:, None, :2]) / boxes[:, None, 2:])
        known = self._visible + [track for track in self._lost if self._clock - track.seen_s <= self.memory]
        costs = _costs(known, boxes, self._clock)
        matched: dict[int, Track] = {}
        for flat in np.argsort(costs, axis=None, kind="stable")[: np.isfinite(costs).sum()]:
            row, column = divmod(int(flat), len(boxes))
            if column not in matched and known[row] not in matched.values():
                matched[column] = known[row]
        self._lost = [track for track in known if track not in matched.values()]
        for column in sorted(range(len(boxes)), key=lambda index: tuple(boxes[index])):
            if column not in matched:
                matched[column] = Track(self._next_id, boxes[column], self._clock)
                self._next_id += 1
        for column, track in matched.items():
            track.box, track.places, track.seen_s = boxes[column], places[column], self._clock
        self._visible = sorted(matched.values(), key=lambda track: track.id)

    def _follow(self, previous: np.ndarray) -> bool:
        """Moves the visible boxes to their places in this frame; returns False if one of them cannot be followed."""
        reduction = max(self._gray.shape) / self._size.max()
        for track, box in zip(self._visible, _moved(self._visible, previous, self._gray, reduction), strict=True):
            center = box[:2] + box[2:] / 2
            if not ((center >= 0) & (center < self._size)).all():  # nor is NaN
                return False
            track.box, track.seen_s = box, self._clock
        return True


def _costs(tracks: list[Track], boxes: np.ndarray, now: float) -> np.ndarray:
    """Returns the cost of assigning each box to each track, infinite if impossible: float64 [tracks, boxes]."""
    ours = np.array([track.box for track in tracks]).reshape(-1, 1, 4)
    unseen = np.array([now - track.seen_s for track in tracks]).reshape(-1, 1)
    our_size, their_size = (np.sqrt(np.maximum(1, box[..., 2] * box[..., 3])) for box in (ours, boxes))
    distance = np.hypot(*np.moveaxis((ours - boxes)[..., :2] + (ours - boxes)[..., 2:] / 2, -1, 0)) / our_size
    shared = np.minimum(ours[..., :2] + ours[..., 2:], boxes[:, :2] + boxes[:, 2:])
    shared = np.maximum(0, shared - np.maximum(ours[..., :2], boxes[:, :2])).prod(axis=-1)
    overlap = shared / (our_size**2 + their_size**2 - shared)
    near = distance <= np.minimum(_LARGEST_REACH, _REACH + _REACH_PER_SECOND * unseen)
    alike = np.abs(np.log(their_size / our_size)) <= math.log(_LARGEST_GROWTH)
    return np.where(near & alike, distance + 1 - overlap, np.inf)


def _reduced(image: np.ndarray) -> np.ndarray:
    """Returns the frame in gray, reduced to `_FOLLOWED_SIDE`: uint8 [h, w]."""
    reduction = min(1.0, _FOLLOWED_SIDE / max(image.shape))
    size = [max(1, round(side * reduction)) for side in image.shape[1::-1]]
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)


def _moved(tracks: list[Track], previous: np.ndarray, gray: np.ndarray, reduction: float) -> np.ndarray:
    """Returns where the boxes of tracks are in the next image, by the median motion inside each.

    Args:
        tracks: Tracks with their boxes in the previous frame.
        previous: uint8 [h, w], the previous image.
        gray: uint8 [h, w], the next image.
        reduction: Size of these images as a share of the frame's.

    Returns:
        float64 [tracks, 4]: boxes in pixels of the frame; NaN where the motion is unclear.
    """
    boxes = np.array([track.box for track in tracks]).reshape(-1, 4)
    if not tracks:
        return boxes
    before = (boxes[:, None, :2] + _GRID * boxes[:, None, 2:]) * reduction
    points = before.reshape(-1, 1, 2).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(previous, gray, points, np.empty_like(points), winSize=(15, 15))
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(gray, previous, there, np.empty_like(points), winSize=(15, 15))
    # Points that do not return to where they started were followed wrongly.
    good = np.logical_and(found, found_back).ravel() & (np.abs(back - points).max(axis=(1, 2)) < 1)
    after, good = there.reshape(before.shape), good.reshape(before.shape[:2])
    result = np.full_like(boxes, np.nan)
    for index in np.flatnonzero(good.mean(axis=1) > 1 / 3):
        old, new = before[index, good[index]], after[index, good[index]]
        old_center, new_center = np.median(old, axis=0), np.median(new, axis=0)
        growth = np.median(np.abs(new - new_center)) / np.median(np.abs(old - old_center))
        shift = np.median(new - old, axis=0) / reduction
        center = boxes[index, :2] + boxes[index, 2:] / 2 + shift
        size = boxes[index, 2:] * growth
        result[index] = [*(center - size / 2), *size]
    return result
