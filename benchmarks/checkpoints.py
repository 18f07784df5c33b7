"""Makes the ResNet50s that the benchmark runs: `python -m benchmarks.checkpoints FOLDER NAME…`.

Their weights are random, from a seed, with the statistics of trained ones, since speed does not depend on what they
predict. The name tells what the input is. Each is written as a PyTorch checkpoint, and as model files in float32 and
INT8.
"""

from pathlib import Path

import numpy as np

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.command import Parser, command
from fer_tf.files import written_aside


@command
def main(argv: list[str] | None = None) -> None:
    """Makes the files that are missing."""
    parser = Parser("benchmarks.checkpoints", description="Make the benchmark's ResNet50s.")
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a checkpoint, as export.from_pth reads it")
    arguments = parser.parse_args(argv)
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(arguments.names):
        checkpoint, exact, small = (folder / f"{name}{suffix}" for suffix in (".pth", ".onnx", "-int8.onnx"))
        if not checkpoint.exists():
            write_checkpoint(checkpoint, seed)
        if not exact.exists():
            from fer_tf.export.from_pth import import_checkpoint

            import_checkpoint(checkpoint, exact)
        if not small.exists():
            import onnx

            from fer_tf.export.quantize import quantize

            # Random weights have no accuracy that quantizing could cost, so nothing is measured and refused here.
            with written_aside(small) as temporary:
                onnx.save(quantize(exact, varied_images(seed, 64, IMAGE_SIZE)[:, 0]), temporary)


def varied_images(seed: int, count: int, size: int) -> np.ndarray:
    """Returns images, coarse and fine, uint8 [count, 3, size, size], with equal channels."""
    import cv2

    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 200, (count, 6, 6)) * random.uniform(0.2, 1, (count, 1, 1))
    large = np.stack([cv2.resize(image, (size, size)) for image in coarse])
    images = np.clip(large + random.uniform(0, 40, large.shape), 0, 255).astype(np.uint8)
    return np.repeat(images[:, None], 3, axis=1)


def write_checkpoint(path: Path, seed: int) -> None:
    """Writes the state_dict of a ResNet50 whose norms have the statistics of varied images."""
    import torch

    from benchmarks.original_loop import ResNet50

    torch.manual_seed(seed)
    network = ResNet50()
    images = torch.from_numpy(varied_images(seed, 16, 96)) / 127.5 - 1
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # As in trained networks, a block changes little of what goes past it.
            torch.nn.init.uniform_(module.weight, *((0.1, 0.4) if name.endswith("bn3") else (0.5, 1.5)))
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
        logits = network.eval()(images)
        network.fc.weight /= logits.std(dim=0).mean()  # its logits are to differ, and not to be extreme
        network.fc.bias -= network(images).mean(dim=0)
    with written_aside(path) as temporary:
        torch.save(network.state_dict(), temporary)


if __name__ == "__main__":
    raise SystemExit(main())
