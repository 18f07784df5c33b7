"""Writes small valid files of every kind that the commands read, each kind into a folder of its own."""

import csv
import dataclasses
import json
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np

from fer_tf import fer2013
from fer_tf.card import METADATA_KEY, ModelCard
from fer_tf.classes import CHALLENGE_CLASSES, CLASSES
from fer_tf.ferplus import ANSWERS
from fer_tf.photograph import read_photograph

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests/data/run-0.1"

FRAMES = 8
"""Frames of each video; each shows one face."""

PICTURES = ("png", "jpg", "webp", "tiff", "gif", "bmp", "avif", "heic", "jp2", "ppm")
VIDEOS = {
    "mp4": ("libx264", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "ts": ("mpeg2video", "yuv420p"),
    "mpg": ("mpeg1video", "yuv420p"),
    "mov": ("mjpeg", "yuvj420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "flv": ("flv", "yuv420p"),
    "gif": ("gif", "rgb8"),
}
"""Encoder and pixel format of each container."""


def portrait() -> np.ndarray:
    """Returns one face, uint8 [160, 160, 3], BGR."""
    photograph = read_photograph()
    return cv2.resize(photograph[20:270, 100:350], (160, 160), interpolation=cv2.INTER_AREA)


def write_pictures(folder: Path) -> None:
    """Writes `face.<suffix>` of each format."""
    from PIL import Image

    face = Image.fromarray(portrait()[..., ::-1])
    options = {"jpg": {"quality": 90}, "webp": {"quality": 90}, "tiff": {"compression": "tiff_lzw"}}
    for suffix in PICTURES:
        if suffix == "heic":
            with suppress(ImportError):
                import pillow_heif

                pillow_heif.from_pillow(face).save(folder / "face.heic")
        else:
            face.save(folder / f"face.{suffix}", **options.get(suffix, {}))
    exif = Image.Exif()
    exif[0x0112] = 6
    face.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif, progressive=True)
    Image.fromarray(cv2.cvtColor(portrait(), cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257).save(folder / "gray16.png")


def write_videos(folder: Path) -> None:
    """Writes `film.<suffix>` of each container."""
    face = portrait()
    for suffix, (codec, pixels) in VIDEOS.items():
        with av.open(str(folder / f"film.{suffix}"), "w") as container:
            stream = container.add_stream(codec, rate=25, width=160, height=160, pix_fmt=pixels)
            stream.codec_context.gop_size = 4
            stream.codec_context.thread_count = 1
            for index in range(FRAMES):
                image = cv2.convertScaleAbs(face, alpha=1 - index / 40)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())


def write_model(path: Path, *, gain: float = 1.0) -> None:
    """Writes a tiny model file: a convolution, a mean and a softmax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["faces"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["levels", "axis"], ["planes"]),
        helper.make_node("Conv", ["planes", "kernels"], ["maps"], kernel_shape=[5, 5], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("ReduceMean", ["positive", "sides"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    arrays = {
        "axis": np.array([1], np.int64),
        "sides": np.array([2, 3], np.int64),
        "kernels": random.normal(0, gain / 255, (4, 1, 5, 5)).astype(np.float32),
        "matrix": random.normal(0, 1, (4, 7)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", 48, 48])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 7])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    card = ModelCard(
        name=f"tiny-{gain}",
        architecture="tiny",
        dataset="original",
        arithmetic="standard",
        framework="keras",
        source_file="tiny.keras",
        source_sha256="0" * 64,
        training={},
        metrics={"accuracy": 0.5},
        labels=CLASSES,
    )
    helper.set_model_props(model, {METADATA_KEY: json.dumps(dataclasses.asdict(card))})
    onnx.save(model, path)


def write_models(folder: Path) -> None:
    """Writes two tiny model files, the detector that ships, a real run's model, and a picture and data to use."""
    write_model(folder / "tiny.onnx")
    write_model(folder / "other.onnx", gain=2.0)
    shutil.copy(RUN / "mirror_resnet-original.onnx", folder / "resnet.onnx")
    shutil.copy(ROOT / "weights/face_detector.onnx", folder / "detector.onnx")
    cv2.imwrite(str(folder / "face.png"), portrait())
    write_table(folder / "data.csv")


def write_checkpoints(folder: Path) -> None:
    """Writes a BaseCNN of the first project as `.pth` and as `.safetensors`."""
    import torch

    torch.manual_seed(0)
    state = {}
    for index, inputs, outputs in ((0, 1, 32), (4, 32, 64), (8, 64, 128)):
        state |= {
            f"model.{index}.weight": 0.1 * torch.randn(outputs, inputs, 3, 3),
            f"model.{index}.bias": torch.zeros(outputs),
        }
        norm = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        state |= {f"model.{index + 2}.{name}": torch.full((outputs,), value) for name, value in norm.items()}
        state[f"model.{index + 2}.num_batches_tracked"] = torch.tensor(1)
    for index, inputs, outputs in ((13, 4608, 256), (16, 256, 7)):
        state |= {
            f"model.{index}.weight": 0.02 * torch.randn(outputs, inputs),
            f"model.{index}.bias": torch.zeros(outputs),
        }
    torch.save(state, folder / "basecnn_original.pth")
    torch.save(
        {"epoch": 3, "state_dict": {f"net.{name}": value for name, value in state.items()}}, folder / "other.pth"
    )
    header, place = {}, 0
    for name, tensor in state.items():
        kind = "I64" if tensor.dtype == torch.int64 else "F32"
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    numbers = b"".join(tensor.numpy().tobytes() for tensor in state.values())
    (folder / "basecnn_original.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def write_run(folder: Path) -> None:
    """Copies a finished run, as one on a table beside it."""
    shutil.copytree(RUN, folder / "run", ignore=shutil.ignore_patterns("*.onnx", "*.md"))
    write_table(folder / "data.csv")
    settings = json.loads((RUN / "settings.json").read_text())
    settings |= {"data": "data.csv", "data_fingerprint": fer2013.load(folder / "data.csv").fingerprint(), "limit": 20}
    settings |= {"ferplus": None, "ferplus_weight": 0.0}
    (folder / "run/settings.json").write_text(json.dumps(settings, indent=2))


def faces(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, uint8 [count, 48, 48], and the numbers of their classes; each class has stripes of its own."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % len(CLASSES)
    waves = np.sin(2 * np.pi * (labels[:, None, None] + 1) * np.arange(48) / 48)
    images = 128 + 60 * np.broadcast_to(waves, (count, 48, 48)) + random.normal(0, 25, (count, 48, 48))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def write_table(path: Path, count: int = 84) -> None:
    """Writes a table like `fer2013.csv`."""
    usages = ("Training", "Training", "PublicTest", "PrivateTest")
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["emotion", "pixels", "Usage"])
        for index, (image, label) in enumerate(zip(*faces(count), strict=True)):
            number = CHALLENGE_CLASSES.index(CLASSES[label])
            rows.writerow([number, " ".join(map(str, image.ravel())), usages[index // len(CLASSES) % 4]])


def write_data(folder: Path) -> None:
    """Writes a table, the same in a tar, a zip and a folder of class folders, FER+ votes, and a model to measure."""
    write_table(folder / "table.csv")
    with tarfile.open(folder / "table.tar.gz", "w:gz") as archive:
        archive.add(folder / "table.csv", "fer2013/fer2013.csv")
    images, labels = faces(20 * len(CLASSES))
    names = []
    with zipfile.ZipFile(folder / "classes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            split = "test" if index // len(CLASSES) % 4 == 3 else "train"
            names.append(f"{split}/{CLASSES[label]}/{index}.png")
            archive.writestr(names[-1], cv2.imencode(".png", image)[1].tobytes())
    with zipfile.ZipFile(folder / "classes.zip") as archive:
        archive.extractall(folder / "classes")
    with open(folder / "votes.csv", "w", newline="") as file:
        votes = np.random.default_rng(0).multinomial(10, np.full(len(ANSWERS), 0.1), len(names))
        rows = [["image", *ANSWERS], *([name.rpartition("/")[2], *row] for name, row in zip(names, votes, strict=True))]
        csv.writer(file).writerows(rows)
    write_model(folder / "tiny.onnx")
    fer2013.load(folder / "classes.zip")  # whoever changes the layout above hears of it here


def write_labeled(folder: Path) -> None:
    """Writes labeled pictures in class folders, a table of them, and a model to measure."""
    rows = [["path", "label", "person"]]
    for index, name in enumerate(CLASSES * 2):
        path = Path("own", name, f"{index}.png")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / path), cv2.convertScaleAbs(portrait(), alpha=1 - index / 40))
        rows.append([str(path), name, f"person {index % 3}"])
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    write_model(folder / "tiny.onnx")


def write_recipe(folder: Path) -> None:
    """Copies the recipe that ships."""
    shutil.copy(ROOT / "train/recipes/default.toml", folder / "recipe.toml")
    write_table(folder / "data.csv")


def write_tables(folder: Path) -> None:
    """Writes a film, and what the live loop says of it."""
    from fer_tf.realtime import webcam

    write_model(folder / "tiny.onnx")
    write_film(folder / "film.mkv")
    arguments = ["--source", str(folder / "film.mkv"), "--no-window", "--csv", str(folder / "faces.csv")]
    _run(webcam.main, [*arguments, "--model", str(folder / "tiny.onnx")])


def write_film(path: Path) -> None:
    """Writes a video without loss."""
    face = portrait()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=160, height=160, pix_fmt="bgr0")
        for index in range(FRAMES):
            image = cv2.convertScaleAbs(face, alpha=1 - index / 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def write_archive(folder: Path) -> None:
    """Writes two films to be labeled, and a model."""
    (folder / "films").mkdir()
    for name in ("a.mkv", "b.mkv"):
        write_film(folder / "films" / name)
    write_model(folder / "tiny.onnx")


def _run(main, arguments: Sequence[str]) -> None:
    if code := main(list(arguments)):
        raise RuntimeError(f"{main.__module__} {' '.join(arguments)} gave {code}; are the seeds valid?")
