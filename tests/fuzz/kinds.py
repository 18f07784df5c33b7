"""What is damaged, which commands then read it, and what is expected of them."""

import importlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import judges, seeds
from .damage import NAMES, Damage, Random, damage_by_name, damage_card
from .local import label_here

Judge = Callable[["Outcome"], str | None]
"""Returns what is wrong with what a command that succeeded has done; None if nothing is."""


@dataclass
class Outcome:
    """What a command did."""

    code: int
    output: str
    errors: str
    arguments: Sequence[str]
    target: str
    """Name of the damaged file."""


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        write: Writes valid ones into a folder.
        targets: Which of them are damaged.
        commands: Modules with arguments; `{}` stands for the damaged file.
        share: How often it is drawn, against the others.
        judge: Looks at what came out if the command succeeded.
        damage: How files are damaged; None goes by the suffix.
        needs: Packages without which it is left out.
        loads: Modules that are imported before time is taken.
        prepare: Called in the folder before anything is damaged.
        around: A context in which the command runs.
    """

    write: Callable[[Path], None]
    targets: Sequence[str]
    commands: Sequence[str]
    share: float
    judge: Judge = judges.says_something
    damage: Damage | None = None
    needs: Sequence[str] = ()
    loads: Sequence[str] = ()
    prepare: Callable[[], None] = lambda: None
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]

    def harm(self, chance: Random) -> str:
        """Damages a file in the current folder, and returns its name; a folder's files are damaged in its place."""
        target = chance.choice(self.targets)
        names = [target]
        if Path(target).is_dir():
            files = sorted(path for path in Path(target).rglob("*") if path.is_file())
            names = [str(path) for path in chance.sample(files, min(len(files), chance.choice((1, 1, 3, 20))))]
        for name in names:
            others = [path for path in self.targets if Path(path).suffix == Path(name).suffix and Path(path).is_file()]
            other = Path(chance.choice(others or [name])).read_bytes()
            damage = self.damage or damage_by_name(name)
            Path(name).write_bytes(damage(Path(name).read_bytes(), other, chance))
        if names != [target] and chance.random() < 0.3:  # in folders names are data, too
            path = Path(names[0])
            path.rename(path.with_name(hostile_name(chance, path.suffix)))
        return target


@dataclass(frozen=True)
class Named(Kind):
    """Whole files under hostile names."""

    def harm(self, chance: Random) -> str:
        """Renames a file."""
        target = Path(chance.choice(self.targets))
        name = hostile_name(chance, target.suffix)
        target.rename(name)
        return name


def hostile_name(chance: Random, suffix: str) -> str:
    """Returns a name that is hard to print or to parse; it is no folder's."""
    return f"{chance.choice(NAMES)}{suffix}"


def _label() -> None:
    archive = importlib.import_module("fer_tf.realtime.archive.__main__")
    with label_here():
        code = archive.main(["films", "--output", "out", "--model", "tiny.onnx"])
    if code:
        raise RuntimeError("the undamaged archive cannot be labeled")


_FRAMEWORK = ("tensorflow", "keras", "tf2onnx", "onnx")
_PREDICT = "realtime.predict {} --json"
_WEBCAM = "realtime.webcam --source {} --no-window --csv out.csv --jsonl out.jsonl --model tiny.onnx"


def _write_media(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def both(folder: Path) -> None:
        write(folder)
        seeds.write_model(folder / "tiny.onnx")

    return both


KINDS = {
    **{
        f"picture {suffix}": Kind(
            write=_write_media(seeds.write_pictures),
            targets=[f"face.{suffix}", *extra],
            commands=[f"{_PREDICT} --model tiny.onnx"] * 10
            + [_PREDICT, _WEBCAM, _WEBCAM, "fer_tf.gallery {} -o out.png"],
            share=3,
            judge=judges.picture,
            needs=("PIL", "onnx", "skimage", *(("pillow_heif",) if suffix == "heic" else ())),
        )
        for suffix in seeds.PICTURES
        for extra in [{"jpg": ["turned.jpg"], "png": ["gray16.png"]}.get(suffix, [])]
    },
    **{
        f"video {suffix}": Kind(
            write=_write_media(seeds.write_videos),
            targets=[f"film.{suffix}"],
            commands=[_WEBCAM, _WEBCAM, f"{_WEBCAM} --output out.mp4"],
            share=2,
            judge=judges.video,
            needs=("onnx", "skimage"),
        )
        for suffix in seeds.VIDEOS
    },
    "model": Kind(
        write=seeds.write_models,
        targets=["tiny.onnx", "tiny.onnx", "resnet.onnx"],
        commands=[
            *["realtime.predict face.png --json --model {}"] * 3,
            "fer_tf.recognizer {}",
            "train.evaluate {} --data data.csv --json out.json",
            "export.ensemble {} other.onnx -o out.onnx --data data.csv",
            "export.quantize {} -o out.onnx --data data.csv --images 16",
        ],
        share=8,
        judge=judges.model,
        needs=("onnx", "skimage", "sklearn"),
        loads=("sklearn.metrics", "onnxruntime.quantization"),
    ),
    "card": Kind(
        write=seeds.write_models,
        targets=["tiny.onnx", "resnet.onnx", "detector.onnx"],
        commands=[
            "fer_tf.recognizer {}",
            "realtime.predict face.png --json --model {}",
            "realtime.predict face.png --json --detector-model {}",
            "train.evaluate {} --data data.csv --report out.md",
            "export.ensemble {} other.onnx -o out.onnx --data data.csv",
        ],
        share=5,
        judge=judges.model,
        damage=damage_card,
        needs=("onnx", "skimage", "sklearn", "matplotlib"),
        loads=("sklearn.metrics", "matplotlib.pyplot"),
    ),
    "detector": Kind(
        write=seeds.write_models,
        targets=["detector.onnx"],
        commands=["realtime.predict face.png --json --model tiny.onnx --detector-model {}"],
        share=5,
        judge=judges.model,
        needs=("onnx", "skimage"),
    ),
    "checkpoint": Kind(
        write=seeds.write_checkpoints,
        targets=["basecnn_original.pth", "other.pth"],
        commands=["export.from_pth {} -o out.onnx --dataset original"],
        share=3,
        judge=judges.model,
        needs=("torch", *_FRAMEWORK),
        loads=("torch", *_FRAMEWORK),
    ),
    "safetensors": Kind(
        write=seeds.write_checkpoints,
        targets=["basecnn_original.safetensors"],
        commands=["export.from_pth {} -o out.onnx --dataset original"],
        share=2,
        judge=judges.model,
        needs=("torch", *_FRAMEWORK),
        loads=("torch", *_FRAMEWORK),
    ),
    "keras": Kind(
        write=seeds.write_run,
        targets=["run/model.keras"],
        commands=[
            "export.onnx {} -o out.onnx",
            "export.quantize run -o out.onnx --data data.csv",
        ],
        share=1,
        judge=judges.model,
        needs=_FRAMEWORK,
        loads=_FRAMEWORK,
    ),
    "run": Kind(
        write=seeds.write_run,
        targets=["run/settings.json", "run/settings.json", "run/public.json", "run/history.csv"],
        commands=[
            "export.onnx run -o out.onnx",
            "export.onnx run/model.keras -o out.onnx",
            "train.run --resume run --data data.csv",
            "train.run --init run --model mirror_resnet --widths 8 8 8 8 --dataset original --data no.csv --output new",
        ],
        share=3,
        judge=judges.model,
        needs=_FRAMEWORK,
        loads=_FRAMEWORK,
    ),
    "recipe": Kind(
        write=seeds.write_recipe,
        targets=["recipe.toml"],
        commands=["train.recipe {} --data data.csv --ferplus data.csv --output new --dry-run"],
        share=2,
        needs=("numpy",),
    ),
    "labeled": Kind(
        write=seeds.write_labeled,
        targets=["labels.csv", "labels.csv", "own"],
        commands=[
            "realtime.evaluate tiny.onnx --pictures {} --json out.json",
            "realtime.evaluate tiny.onnx --pictures {} --crops --json out.json --report out.md",
        ],
        share=4,
        judge=judges.data,
        needs=("onnx", "skimage", "sklearn"),
        loads=("sklearn.metrics",),
    ),
    "data": Kind(
        write=seeds.write_data,
        targets=["table.csv", "table.csv", "table.tar.gz", "classes.zip", "classes.zip", "classes"],
        commands=["fer_tf.fer2013 {}"] * 3 + ["train.evaluate tiny.onnx --data {} --json out.json"],
        share=9,
        judge=judges.data,
        needs=("onnx", "sklearn", "skimage"),
        loads=("sklearn.metrics",),
    ),
    "votes": Kind(
        write=seeds.write_data,
        targets=["votes.csv"],
        commands=["train.evaluate tiny.onnx --data classes.zip --ferplus {} --json out.json"],
        share=3,
        judge=judges.data,
        needs=("onnx", "sklearn", "skimage"),
        loads=("sklearn.metrics",),
    ),
    "table": Kind(
        write=seeds.write_tables,
        targets=["faces.csv"],
        commands=["realtime.timeline {} -o out.png"],
        share=5,
        judge=judges.plot,
        needs=("onnx", "skimage", "PIL"),
    ),
    "archive": Kind(
        write=seeds.write_archive,
        targets=["out", "out/settings.json", "out/summary.json"],
        commands=[
            "realtime.archive films --output out --model tiny.onnx --csv all.csv",
            "realtime.archive films --output out --model tiny.onnx --dry-run",
            "realtime.timeline out -o out.png",
        ],
        share=4,
        judge=judges.archive,
        needs=("onnx", "skimage", "pyarrow", "ray"),
        prepare=_label,
        around=label_here,
    ),
    "name": Named(
        write=seeds.write_models,
        targets=["face.png", "face.png", "tiny.onnx", "data.csv", "detector.onnx"],
        commands=[
            "realtime.predict ./{} --json --output labeled",
            "realtime.predict {}",
            "realtime.webcam --source ./{} --no-window --csv out.csv --summary out.html",
            "realtime.predict face.png --model {}",
            "realtime.predict face.png --detector-model {}",
            "fer_tf.fer2013 {}",
        ],
        share=4,
        judge=judges.says_something,
        needs=("onnx", "skimage"),
    ),
}


def command_line(text: str, target: str) -> tuple[str, list[str]]:
    """Returns the module and the arguments of a command."""
    module, *arguments = text.split()
    return module, [argument.replace("{}", os.fspath(target)) for argument in arguments]
