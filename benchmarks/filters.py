"""Times the filters against plain NumPy, pixel by pixel: `python -m benchmarks.filters` prints a Markdown table."""

import math
import time
from collections.abc import Callable

import numpy as np

from fer_tf.command import Parser, command, positive
from fer_tf.quiet import muted_stderr

ALL_IMAGES = 35_887
"""Number of images in FER-2013."""


@command
def main(argv: list[str] | None = None) -> int:
    """Runs each filter both ways on the same images, checks that the results agree, and prints the rates."""
    parser = Parser("benchmarks.filters", description=__doc__)
    option = parser.add_argument
    option("--images", type=positive(), default=ALL_IMAGES, help="images for the layers (default: %(default)s)")
    option("--plain-images", type=positive(), default=8, help="images for plain NumPy (default: %(default)s)")
    option("--batch-size", type=positive(), default=64, help="images per batch (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with muted_stderr():
        from fer_tf.preprocessing.filters import FILTERS
        from fer_tf.train.input_pipeline import evaluation_batches
    few, many = map(generated_images, (arguments.plain_images, arguments.images))

    print("| filter | plain NumPy, images/s | layer, images/s | ratio | all of FER-2013 |")
    print("|---|---:|---:|---:|---:|")
    total = 0.0
    for name, layer in FILTERS.items():
        filtered = layer()
        expected, seconds = fastest(lambda plain=PLAIN[name]: np.stack([plain(image) for image in few]))
        plain_rate = len(few) / seconds
        differing = np.mean(np.asarray(filtered(few)) != expected)
        if differing > 1e-3:
            raise RuntimeError(f"{name}: {differing:.2%} of the pixels differ, so the times cannot be compared")
        mapped = evaluation_batches(many, filtered, batch_size=arguments.batch_size)
        _, seconds = fastest(lambda mapped=mapped: list(mapped))
        rate = arguments.images / seconds
        total += ALL_IMAGES / rate
        print(f"| {name} | {plain_rate:,.0f} | {rate:,.0f} | {rate / plain_rate:,.0f} | {ALL_IMAGES / rate:.1f} s |")
    print(f"| all | | | | {total:.1f} s |")
    return 0


def fastest(function: Callable[[], object], repeats: int = 3) -> tuple[object, float]:
    """Returns the result and the shortest time of several calls in seconds, after one warm-up call."""
    result = function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def generated_images(count: int) -> np.ndarray:
    """Returns smooth images with some noise, uint8 [count, 48, 48]."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48] / 48
    waves = random.uniform(-6, 6, (3, count, 1, 1))
    levels = 127.5 + 90 * np.sin(waves[0] * rows + waves[1] * columns + waves[2])
    return np.clip(levels + random.normal(0, 8, levels.shape), 0, 255).astype(np.uint8)


def windows(image: np.ndarray, size: int = 3):
    """Yields the place and the neighborhood of each pixel; edges are repeated."""
    padded = np.pad(image, size // 2, mode="edge")
    for y, x in np.ndindex(*image.shape):
        yield (y, x), padded[y : y + size, x : x + size]


def weighted(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the sums of each neighborhood, weighted by the kernel."""
    result = np.empty(image.shape)
    for place, window in windows(image, len(kernel)):
        result[place] = (window * kernel).sum()
    return result


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Returns a normalized Gaussian kernel."""
    profile = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return np.outer(profile, profile) / profile.sum() ** 2


def hist_median(image: np.ndarray) -> np.ndarray:
    """Returns the equalized image under a 3×3 median."""
    histogram = np.zeros(256, int)
    for level in image.ravel():
        histogram[level] += 1
    cdf = histogram.cumsum()
    equalized = ((cdf - cdf.min()) * 255 // (cdf.max() - cdf.min()))[image]
    result = np.empty_like(image)
    for place, window in windows(equalized):
        result[place] = sorted(window.ravel())[4]
    return result


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns Sobel's derivatives and their magnitude, scaled to 0…255."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    right, down = weighted(image, kernel), weighted(image, kernel.T)
    magnitude = np.hypot(right, down).astype(np.float32)
    return right, down, magnitude / magnitude.max() * 255


def sobel(image: np.ndarray) -> np.ndarray:
    """Returns the gradient's magnitude."""
    return gradient(image)[2].astype(np.uint8)


def canny(image: np.ndarray) -> np.ndarray:
    """Returns Canny's edges."""
    right, down, magnitude = gradient(weighted(image, gaussian(5, 1.4)))
    framed, ridges = np.pad(magnitude, 1), np.zeros_like(magnitude)
    for y, x in np.ndindex(*image.shape):
        step = round(math.degrees(math.atan2(down[y, x], right[y, x])) / 45) % 4
        dy, dx = ((0, 1), (1, 1), (1, 0), (1, -1))[step]
        if magnitude[y, x] >= max(framed[y + 1 + dy, x + 1 + dx], framed[y + 1 - dy, x + 1 - dx]):
            ridges[y, x] = magnitude[y, x]
    edges = np.zeros_like(image)
    for place, window in windows(ridges):
        if ridges[place] >= 20 and window.max() >= 60:
            edges[place] = 255
    return edges


def sharpen(image: np.ndarray) -> np.ndarray:
    """Returns the unsharp mask."""
    blurred = weighted(image, gaussian(3, 1)).astype(np.float32)
    return np.clip(image + 2 * (image - blurred), 0, 255).astype(np.uint8)


PLAIN = {"hist_median": hist_median, "sobel": sobel, "canny": canny, "sharpen": sharpen}


if __name__ == "__main__":
    raise SystemExit(main())
