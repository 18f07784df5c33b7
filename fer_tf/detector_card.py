"""What a face detector's file says of itself. It is another kind of file than a model file, with a key of its own."""

import dataclasses
import json
from dataclasses import dataclass, field

from fer_tf.errors import UserError
from fer_tf.files import to_json

DETECTOR_KEY = "fer.detector"
"""Key of the card in the file's metadata."""

FORMAT_VERSION = 1

CONFIDENCE = 0.6
"""The least score of what is taken for a face, where nothing else is asked for."""

INPUTS = {"image": "uint8 [height, width, 3], BGR"}
OUTPUTS = {
    "boxes": "float32 [faces, 4]: left, top, right and bottom in pixels of the image, most confident face first",
    "scores": "float32 [faces], 0 to 1",
    "landmarks": "float32 [faces, 5, 2]: x and y of the eyes, the tip of the nose and the corners of the mouth, "
    "in each pair the one on the left of the picture first",
}


@dataclass(frozen=True, kw_only=True)
class DetectorCard:
    """Provenance and license of a face detector.

    Raises:
        UserError: if it is of another format version.
    """

    name: str
    description: str
    source_file: str
    """Name of the file that the weights come from."""
    source_sha256: str
    license: str
    """SPDX identifier of the weights' license."""
    notice: str
    """The copyright notice, conditions and disclaimer, which go wherever the file goes."""
    defaults: dict[str, float]
    """`score`: the least that the graph gives; `overlap`: the largest intersection over union of two faces;
    `confidence`: the least score of what should be taken for a face."""
    inputs: dict[str, str] = field(default_factory=lambda: dict(INPUTS))
    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Returns the card as JSON with one key for each field."""
        return to_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "DetectorCard":
        """Reads what `to_json` wrote.

        Raises:
            UserError: on anything else, and on another format version.
        """
        try:
            values = json.loads(text)
            version = values["format_version"]
            if version == FORMAT_VERSION:
                return cls(**values)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UserError("the card of this face detector cannot be read; export it again") from None
        raise UserError(f"face detector of format {version!r}: this version reads format {FORMAT_VERSION}")
