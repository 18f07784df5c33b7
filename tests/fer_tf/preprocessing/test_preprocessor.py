import functools

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")
Image = pytest.importorskip("PIL.Image")
import tensorflow as tf  # noqa: E402

from fer_tf.catalogue import DATASETS, channels  # noqa: E402
from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export.convert import to_onnx  # noqa: E402
from fer_tf.preprocessing.filters import FILTERS  # noqa: E402
from fer_tf.preprocessing.preprocessor import Preprocessor, create_preprocessor  # noqa: E402
from fer_tf.preprocessing.resize import resize  # noqa: E402


def in_onnxruntime(function, size=48):
    """Returns the exported function as a function on uint8 [N, size, size]."""
    function = tf.function(function, input_signature=[tf.TensorSpec((None, size, size), tf.uint8, name="faces")])
    graph = to_onnx(function)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"faces": images})[0]


def resized_by_pillow(images, size):
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) for image in images]
    )


@functools.cache
def faces(count=24, size=48):
    """Images as different as can be: noise, black and white, few levels, one level."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size), np.uint8)
    images[1::4] = random.integers(0, 2, images[1::4].shape) * 255
    images[2::4] //= 64
    images[3] = 255
    return images


@pytest.mark.parametrize(("size", "new_size"), [(48, 224), (48, 96), (48, 64), (48, 49), (48, 20), (100, 7)])
def test_every_pixel_is_resized_as_by_pillow(size, new_size):
    images = faces(120 if new_size < 200 else 40, size)
    expected = resized_by_pillow(images, new_size)
    np.testing.assert_array_equal(resize(tf.constant(images), new_size), expected)
    exported = in_onnxruntime(lambda images: resize(images, new_size), size)
    np.testing.assert_array_equal(exported(images), expected)
    assert exported(images[:0]).shape == (0, new_size, new_size)


def test_oblong_images_are_resized_as_by_pillow():
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 30), np.uint8)
    np.testing.assert_array_equal(resize(tf.constant(images), 48), resized_by_pillow(images, 48))


@pytest.mark.parametrize("dataset", ["stack_hist_median", "stack_sharpen"])
def test_a_stack_in_rgb_is_the_first_projects(dataset, reference):
    images, expected = reference["images"], reference[dataset.replace("stack", "stack3")]
    preprocessor = create_preprocessor(dataset, "resnet50", image_size=48, arithmetic="original")
    for fed in (np.asarray(preprocessor(images)), in_onnxruntime(preprocessor)(images)):
        np.testing.assert_allclose(fed, expected / 127.5 - 1, atol=2e-7)

    preprocessor = create_preprocessor(dataset, "resnet50", image_size=224, arithmetic="original")
    images, expected = images[::16], expected[::16]
    planes = [resized_by_pillow(np.ascontiguousarray(plane), 224) for plane in np.moveaxis(expected, -1, 0)]
    for fed in (np.asarray(preprocessor(images)), in_onnxruntime(preprocessor)(images)):
        np.testing.assert_allclose(fed, np.stack(planes, -1) / 127.5 - 1, atol=2e-7)


def test_the_difference_is_clipped_or_wraps():
    images = faces()
    filtered = np.asarray(FILTERS["sobel"]()(images)).astype(int)
    difference = filtered - images + 128
    assert difference.min() < 0
    assert difference.max() > 255
    for arithmetic, expected in (("standard", difference.clip(0, 255)), ("original", difference % 256)):
        preprocessor = Preprocessor("stack_sobel", rgb=True, arithmetic=arithmetic)
        for fed in (np.asarray(preprocessor(images)), in_onnxruntime(preprocessor)(images)):
            np.testing.assert_allclose(fed[..., 2], expected / 127.5 - 1, atol=2e-7)


@pytest.mark.parametrize("dataset", DATASETS)
def test_base_cnn_gets_one_or_two_planes(dataset):
    images = faces()
    fed = np.asarray(create_preprocessor(dataset)(images))
    assert fed.shape == (len(images), 48, 48, channels(dataset))
    assert fed.dtype == np.float32
    name = dataset.removeprefix("stack_")
    filtered = images if name == "original" else np.asarray(FILTERS[name]()(images))
    if dataset.startswith("stack_"):
        expected = np.stack([images, filtered], -1) / 255
    else:
        expected = filtered[..., None] / 127.5 - 1
    np.testing.assert_allclose(fed, expected, atol=2e-7)


@pytest.mark.parametrize("dataset", DATASETS)
def test_resnet50_gets_three_channels(dataset):
    images = faces(4)
    fed = np.asarray(create_preprocessor(dataset, "resnet50")(images))
    assert fed.shape == (len(images), 96, 96, channels(dataset, "resnet50"))
    name = dataset.removeprefix("stack_")
    filtered = resized_by_pillow(images if name == "original" else np.asarray(FILTERS[name]()(images)), 96)
    first = resized_by_pillow(images, 96) if dataset.startswith("stack_") else filtered
    np.testing.assert_allclose(fed[..., :2], np.stack([first, filtered], -1) / 127.5 - 1, atol=2e-7)
    if not dataset.startswith("stack_"):
        np.testing.assert_array_equal(fed[..., 2], fed[..., 0])


@pytest.mark.parametrize("architecture", ["base_cnn", "resnet50"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_onnxruntime_feeds_what_keras_feeds(dataset, architecture):
    images = faces()
    preprocessor = create_preprocessor(dataset, architecture)
    exported = in_onnxruntime(preprocessor)
    for batch in (images, images[5:6], images[:0]):
        np.testing.assert_allclose(exported(batch), preprocessor(batch), atol=2e-7)


@pytest.mark.parametrize(
    ("dataset", "architecture", "options"),
    [
        ("stack_sharpen", "base_cnn", {}),
        ("hist_median", "resnet50", {"image_size": 64, "arithmetic": "original"}),
        ("stack_canny", "resnet50", {}),
        ("canny", "base_cnn", {"filter_parameters": {"low": 50, "high": 150}}),
    ],
)
def test_preprocessors_are_saved_and_loaded(dataset, architecture, options, tmp_path):
    preprocessor = create_preprocessor(dataset, architecture, **options)
    inputs = keras.Input((48, 48), dtype="uint8")
    model = keras.Model(inputs, preprocessor(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.output_shape == model.output_shape == (None, *preprocessor(faces()).shape[1:])
    np.testing.assert_array_equal(loaded(faces()), preprocessor(faces()))


def test_preprocessors_are_mapped_in_a_pipeline():
    preprocessor = create_preprocessor("stack_sobel", "resnet50")
    batches = tf.data.Dataset.from_tensor_slices(faces()).batch(10).map(preprocessor)
    np.testing.assert_array_equal(np.concatenate(list(batches)), preprocessor(faces()))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("sharp",), {}, "no data set 'sharp'; expected one of original, hist_median, sobel, canny, sharpen, stack_"),
        (
            ("original", "vgg"),
            {},
            "no architecture 'vgg'; expected one of base_cnn, se_resnet, mirror_resnet, resnet50",
        ),
        (("original",), {"arithmetic": "exact"}, "no arithmetic 'exact'; expected one of standard, original"),
        (("original",), {"image_size": 96}, "base_cnn takes images of 48 pixels only. Received: image_size=96"),
        (("original", "resnet50"), {"image_size": 0}, "image_size must be a whole number of pixels above 0"),
        (("original", "mirror_resnet"), {"image_size": 7}, "takes images of 8 pixels or more. Received: image_size=7"),
        (("original", "resnet50"), {"image_size": 64.0}, "image_size must be a whole number of pixels above 0"),
        (("canny",), {"arithmetic": "original"}, "noise"),
        (("stack_canny", "resnet50"), {"arithmetic": "original"}, "noise"),
        (("stack_canny",), {"filter_parameters": {"lo": 1}}, "no 'lo' in data set stack_canny; its parameters are low"),
        (("sobel",), {"filter_parameters": {"low": 1}}, "no 'low' in data set sobel; it has no parameters"),
        (("original",), {"filter_parameters": {"low": 1}}, "no 'low' in data set original; it has no parameters"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, options, message):
    with pytest.raises(UserError, match=message):
        create_preprocessor(*arguments, **options)


def test_channels_of_what_does_not_exist():
    with pytest.raises(UserError, match="no data set"):
        channels("stack_original")
    with pytest.raises(UserError, match="no architecture"):
        channels("original", "vgg")
