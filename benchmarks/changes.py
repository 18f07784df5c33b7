"""Counts how often labels change on clips: `python -m benchmarks.changes CLIP…` prints a Markdown table."""

from collections.abc import Sequence

from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.face import Face
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.options import add_recognition, add_video, make_pipeline
from fer_tf.realtime.sources import expand_sources, open_source
from fer_tf.realtime.steady import UNCERTAIN

LONGEST_GAP = 1.0
"""Seconds; what changes while a face is not seen for longer is not counted, and neither is the time."""


class Changes:
    """A table of the live loop that counts from frame to frame.

    Args:
        min_confidence: Below which the second kind of label is `uncertain`.

    Attributes:
        seconds: For how long faces were seen, added up.
        counts: Changes of the main model's label, by what is taken for it: the most probable expression, the same with
            a plain threshold, and what is shown.
    """

    def __init__(self, min_confidence: float):
        self.seconds = 0.0
        self.names = ("most probable", f"most probable, uncertain below {min_confidence:.0%}", "as shown")
        self.counts = dict.fromkeys(self.names, 0)
        self._min_confidence = min_confidence
        self._last: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Counts what has changed since each face was seen last."""
        for face in faces:
            plain = face.label if face.confidence >= self._min_confidence else UNCERTAIN
            labels = (face.label, plain, face.shown)
            time_s, before = self._last.get((source, face.track), (-LONGEST_GAP - 1, labels))
            if frame.time_s - time_s <= LONGEST_GAP:
                self.seconds += frame.time_s - time_s
                for name, label, former in zip(self.names, labels, before, strict=True):
                    self.counts[name] += label != former
            self._last[source, face.track] = frame.time_s, labels


@command
def main(argv: list[str] | None = None) -> None:
    """Plays the clips and prints the table."""
    parser = Parser("benchmarks.changes", description="Count how often a second the label of a face changes on clips.")
    help_text = "video, folder, glob pattern, or demo"
    parser.add_argument("source", nargs="+", metavar="CLIP", help=help_text)
    parser.add_argument("--max-frames", type=positive(), metavar="N", help="stop after N frames")
    add_recognition(parser.add_argument)
    add_video(parser.add_argument)
    arguments = parser.parse_args(argv)
    silence_opencv()
    changes = Changes(arguments.min_confidence)
    loop = Loop(make_pipeline(arguments), tables=[changes], max_frames=arguments.max_frames)
    for name in expand_sources(arguments.source):
        if loop.going:
            loop.play(open_source(name))
    if not changes.seconds:
        raise UserError(f"no face is seen from one frame to the next in {', '.join(arguments.source)}; name a video")
    print(f"{loop.frames} frames, {changes.seconds:.1f} s of faces\n")
    print("| label | changes | changes a second |\n|---|--:|--:|")
    for name, count in changes.counts.items():
        print(f"| {name} | {count} | {count / changes.seconds:.2f} |")


if __name__ == "__main__":
    raise SystemExit(main())
