import functools

import cv2
import numpy as np
import pytest
from scipy import ndimage

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")
import tensorflow as tf  # noqa: E402

from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export.convert import to_onnx  # noqa: E402
from fer_tf.preprocessing.filters import FILTERS, Canny, HistMedian, Sharpen, Sobel  # noqa: E402

LAYERS = {
    "hist_median": HistMedian(),
    "hist_median, original": HistMedian("original"),
    "sobel": Sobel(),
    "canny": Canny(),
    "sharpen": Sharpen(),
}


@functools.cache
def as_graphs(name):
    """Returns the layer in a TensorFlow graph, as in a pipeline, and in onnxruntime, as in a model file."""
    function = tf.function(LAYERS[name], input_signature=[tf.TensorSpec((None, None, None), tf.uint8, name="faces")])
    graph = to_onnx(function)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return function, lambda images: session.run(None, {"faces": images})[0]


def everywhere(name, images):
    """Filters in Keras, checks that graph and onnxruntime agree in every pixel, and returns the result."""
    filtered = np.asarray(LAYERS[name](images))
    assert filtered.dtype == np.uint8
    assert filtered.shape == images.shape
    for graph in as_graphs(name):
        np.testing.assert_array_equal(graph(images), filtered)
    return filtered


def smooth_images(count, height, width, seed=0):
    """Blurred noise of very different contrasts."""
    noise = np.random.default_rng(seed).normal(0, 1, (count, height, width))
    noise = ndimage.gaussian_filter(noise, (0, 2, 2)) * np.linspace(5, 500, count)[:, None, None]
    return np.clip(noise + 120, 0, 255).astype(np.uint8)


def extreme_images(height=48, width=48):
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [
            np.full((height, width), 0),
            np.full((height, width), 255),
            np.full((height, width), 77),
            (rows + columns) % 2 * 255,
            columns % 2 * 255,
            (rows < 9) * 255,
            np.where((rows == 3) & (columns == 4), 254, 255),
            np.where((rows == 0) & (columns == 0), 1, 0),
            random.integers(0, 2, (height, width)) * 255,
            random.integers(0, 256, (height, width)),
            rows * 255 // (height - 1),
        ]
    ).astype(np.uint8)


def plain_hist_median(image):
    counts = np.bincount(image.ravel(), minlength=256)
    cdf = counts.cumsum()
    if counts.max() == image.size:
        return image
    table = np.floor((cdf - cdf.min()) * 255 / (cdf.max() - cdf.min())).astype(np.uint8)
    return cv2.medianBlur(table[image], 3)


def plain_sobel(image):
    derivatives = [cv2.Sobel(image, cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1))]
    magnitude = np.hypot(*(derivative.astype(np.float64) for derivative in derivatives)).astype(np.float32)
    return (magnitude / (magnitude.max() or 1) * np.float32(255)).astype(np.uint8)


def plain_sharpen(image):
    kernel = cv2.getGaussianKernel(3, 1)
    blurred = cv2.filter2D(image, cv2.CV_64F, kernel @ kernel.T, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    level = image.astype(np.float32)
    return np.clip(level + 2 * (level - blurred), 0, 255).astype(np.uint8)


def plain_canny(image, low=20, high=60):
    """Canny in float64, its ridges by angles and loops."""
    gaussian = cv2.getGaussianKernel(5, 1.4)
    blurred = cv2.sepFilter2D(image, cv2.CV_64F, gaussian, gaussian, borderType=cv2.BORDER_REPLICATE)
    right, down = (
        cv2.Sobel(blurred, cv2.CV_64F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1))
    )
    magnitude = np.hypot(right, down)
    magnitude *= 255 / (magnitude.max() or 1)
    step = np.round(np.degrees(np.arctan2(down, right)) / 45).astype(int) % 4
    around = np.pad(magnitude, 1)
    ridges = np.zeros_like(magnitude)
    for y, x in np.ndindex(*image.shape):
        dy, dx = ((0, 1), (1, 1), (1, 0), (1, -1))[step[y, x]]
        if magnitude[y, x] >= max(around[y + 1 + dy, x + 1 + dx], around[y + 1 - dy, x + 1 - dx]):
            ridges[y, x] = magnitude[y, x]
    near_strong = ndimage.binary_dilation(ridges >= high, np.ones((3, 3)))
    return np.where((ridges >= low) & near_strong, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "array"), [("hist_median, original", "hist_median"), ("sobel", "sobel"), ("sharpen", "sharpen")]
)
def test_every_pixel_is_the_first_projects(name, array, reference):
    np.testing.assert_array_equal(everywhere(name, reference["images"]), reference[array])


@pytest.mark.parametrize("size", [(48, 48), (31, 57), (5, 3)])
@pytest.mark.parametrize(
    ("name", "plain"), [("hist_median", plain_hist_median), ("sobel", plain_sobel), ("sharpen", plain_sharpen)]
)
def test_every_pixel_is_that_of_opencv(name, plain, size):
    images = np.concatenate([smooth_images(40, *size), extreme_images(*size)])
    np.testing.assert_array_equal(everywhere(name, images), np.stack([plain(image) for image in images]))


def test_faces_are_filtered_as_by_opencv(reference):
    images = reference["images"]
    np.testing.assert_array_equal(everywhere("hist_median", images), np.stack([plain_hist_median(i) for i in images]))


def test_the_original_arithmetic_equalises_the_negative():
    images = np.concatenate([smooth_images(10, 48, 48), extreme_images()[3:]])
    expected = np.stack([plain_hist_median(-image) for image in images])  # uint8: −v is (256 − v) mod 256
    np.testing.assert_array_equal(everywhere("hist_median, original", images), expected)


@pytest.mark.parametrize("size", [(48, 48), (31, 57)])
def test_canny_is_canny(size):
    images = smooth_images(12, *size)
    edges, expected = everywhere("canny", images), np.stack([plain_canny(image) for image in images])
    assert set(np.unique(edges)) == {0, 255}
    # float32 and float64 may order two neighbors differently that are all but equal.
    assert (edges != expected).mean() < 5e-4
    assert 0.02 < (expected > 0).mean() < 0.3


def test_canny_on_faces(reference):
    faces = reference["images"][::8]
    edges, expected = everywhere("canny", faces), np.stack([plain_canny(face) for face in faces])
    assert (edges != expected).mean() < 5e-4


def test_canny_with_the_first_projects_thresholds(reference):
    faces = reference["images"][::8]
    edges, expected = Canny(low=50, high=150)(faces), np.stack([plain_canny(face, 50, 150) for face in faces])
    assert (np.asarray(edges) != expected).mean() < 5e-4


def test_canny_draws_a_thin_closed_circle():
    rows, columns = np.mgrid[:48, :48] - 23.5
    radius = np.hypot(rows, columns)
    disc = (255 / (1 + np.exp(radius - 14))).astype(np.uint8)
    edges = everywhere("canny", disc[None])[0] > 0
    assert np.abs(radius[edges] - 14).max() < 1.5
    angles = np.degrees(np.arctan2(rows[edges], columns[edges])) // 10
    assert len(np.unique(angles)) == 36
    assert edges.sum() < 1.5 * 2 * np.pi * 14


def test_thresholds_of_canny():
    images = smooth_images(8, 48, 48)
    edges = np.asarray(Canny()(images)) > 0
    strict = np.asarray(Canny(low=60)(images)) > 0
    generous = np.asarray(Canny(low=20, high=21)(images)) > 0
    assert (edges >= strict).all()
    assert (generous >= edges).all()
    assert strict.sum() < edges.sum() < generous.sum()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hist_median", (0, 1, 128, 255)),
        ("hist_median, original", (0, 255, 255, 255)),
        ("sobel", (0, 0, 0, 0)),
        ("canny", (0, 0, 0, 0)),
        ("sharpen", (0, 1, 128, 255)),
    ],
)
def test_images_of_a_single_level(name, expected):
    levels = np.array([0, 1, 128, 255], np.uint8)
    filtered = everywhere(name, np.broadcast_to(levels[:, None, None], (4, 48, 48)).copy())
    assert [np.unique(image).tolist() for image in filtered] == [[level] for level in expected]


@pytest.mark.parametrize("name", LAYERS)
def test_extreme_images_empty_batches_and_single_pixels(name):
    everywhere(name, extreme_images())
    everywhere(name, np.zeros((0, 48, 48), np.uint8))
    everywhere(name, np.full((2, 1, 1), 9, np.uint8))


@pytest.mark.parametrize("name", LAYERS)
def test_an_image_is_filtered_alike_in_every_batch(name):
    images = np.concatenate([smooth_images(5, 48, 48), extreme_images()])
    alone = np.concatenate([np.asarray(LAYERS[name](image[None])) for image in images])
    np.testing.assert_array_equal(LAYERS[name](images), alone)


@pytest.mark.parametrize("name", LAYERS)
def test_a_mirrored_image_is_filtered_to_the_mirror_image(name):
    images = smooth_images(12, 48, 40)
    np.testing.assert_array_equal(LAYERS[name](images[:, :, ::-1]), np.asarray(LAYERS[name](images))[:, :, ::-1])


@pytest.mark.parametrize(
    "layer",
    [HistMedian("original"), Sobel(), Canny(low=20, high=90, sigma=1.0), Sharpen(amount=1.0, sigma=0.8)],
    ids=lambda layer: type(layer).__name__,
)
def test_filters_are_saved_and_loaded(layer, tmp_path):
    images = smooth_images(4, 48, 48)
    inputs = keras.Input((48, 48), dtype="uint8")
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded(images), layer(images))
    assert (np.asarray(layer(images)) != np.asarray(type(layer)()(images))).any() or isinstance(layer, Sobel)


@pytest.mark.parametrize("filter_class", FILTERS.values())
def test_an_unknown_arithmetic_is_refused(filter_class):
    with pytest.raises(UserError, match="arithmetic must be one of standard, original"):
        filter_class(arithmetic="exact")


@pytest.mark.parametrize(
    ("filter_class", "parameters", "message"),
    [
        (Canny, {"low": 70}, "0 ≤ low ≤ high ≤ 255. Received: low=70, high=60"),
        (Canny, {"low": -1}, "Received: low=-1"),
        (Canny, {"high": 256}, "high=256"),
        (Canny, {"sigma": 0.0}, "sigma must be from 0.1 to 100 pixels. Received: 0"),
        (Canny, {"sigma": 1e-170}, "sigma must be from 0.1 to 100 pixels. Received: 1e-170"),
        (Sharpen, {"sigma": -1.0}, "sigma must be from 0.1 to 100 pixels. Received: -1"),
        (Sharpen, {"sigma": 1e200}, "sigma must be from 0.1 to 100 pixels. Received: 1e"),
        (Sharpen, {"sigma": float("nan")}, "sigma must be from 0.1 to 100 pixels. Received: nan"),
        (Sharpen, {"amount": 1e30}, "amount must be from -100 to 100. Received: 1e"),
    ],
)
def test_numbers_that_make_no_filter_are_refused(filter_class, parameters, message):
    with pytest.raises(UserError, match=message):
        filter_class(**parameters)


def test_the_original_canny_is_refused():
    with pytest.raises(UserError, match="noise"):
        Canny(arithmetic="original")
