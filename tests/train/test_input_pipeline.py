import numpy as np
import pytest
from scipy.stats import kstest

tf = pytest.importorskip("tensorflow")

from fer_tf.train.augmentation import AUGMENTATIONS  # noqa: E402
from fer_tf.train.input_pipeline import evaluation_batches, mix, training_batches  # noqa: E402


@pytest.fixture(scope="module")
def data():
    """Images that carry their number in their pixels, and their class too."""
    numbers = np.arange(70)
    images = np.zeros((70, 48, 48), np.uint8)
    images[:] = numbers[:, None, None]
    return images, numbers % 7


def numbers(batches, count):
    """The image numbers of `count` batches, and the classes beside them."""
    pairs = [(images.numpy()[:, 0, 0].astype(int), labels.numpy()) for images, labels in batches.take(count)]
    return [image for image, _ in pairs], [label for _, label in pairs]


def batches(data, **options):
    options = {"batch_size": 16, "augmentation": None, "seed": 3, **options}
    return training_batches(*data, lambda images: tf.cast(images, tf.float32), **options)


def test_an_epoch_holds_each_image_at_most_once_with_its_label(data):
    images, labels = numbers(batches(data), 4)
    seen = np.concatenate(images)
    assert len(seen) == 64 == len(set(seen.tolist()))
    one_hot = np.concatenate(labels)
    assert one_hot.shape == (64, 7)
    np.testing.assert_array_equal(one_hot.argmax(axis=1), seen % 7)
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1)


def test_epochs_and_seeds_differ(data):
    first = numbers(batches(data), 8)[0]
    other = numbers(batches(data, seed=4), 4)[0]
    assert np.concatenate(first[:4]).tolist() != np.concatenate(first[4:]).tolist()
    assert np.concatenate(first[:4]).tolist() != np.concatenate(other).tolist()


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_later_first_epoch_continues_the_same_stream(data, augment):
    random = np.random.default_rng(0).integers(0, 256, (70, 48, 48), np.uint8)
    whole = list(batches((random, data[1]), augmentation=AUGMENTATIONS[augment]).take(12))
    resumed = list(batches((random, data[1]), augmentation=AUGMENTATIONS[augment], first_epoch=2).take(4))
    for (images, labels), (again, labels_again) in zip(whole[8:], resumed, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)


def test_evaluation_keeps_order_and_rest(data):
    found = [images.numpy() for images in evaluation_batches(data[0], lambda x: tf.cast(x, tf.float32), batch_size=32)]
    assert [len(images) for images in found] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate(found)[:, 5, 7], np.arange(70))


def test_mixup_mixes_images_and_labels_by_the_same_shares():
    inputs = np.arange(4000, dtype=np.float32).reshape(4000, 1, 1, 1)
    labels = np.tile(np.arange(4000, dtype=np.float32)[:, None], (1, 7))
    targets = {"classes": tf.constant(labels), "votes": tf.constant(labels)}
    mixed, mixed_targets = mix(tf.constant(inputs), targets, 0.4, seed=[1, 2])
    for name in targets:
        np.testing.assert_allclose(mixed[:, 0, 0, 0], mixed_targets[name][:, 3], rtol=1e-5)
    other = inputs[::-1, 0, 0, 0]
    shares = (mixed.numpy()[:, 0, 0, 0] - other) / (inputs[:, 0, 0, 0] - other)
    assert kstest(shares, "beta", (0.4, 0.4)).pvalue > 0.01
    again, _ = mix(tf.constant(inputs), targets, 0.4, seed=[1, 2])
    np.testing.assert_array_equal(mixed, again)


def test_labels_may_be_probabilities(data):
    soft = np.random.default_rng(0).dirichlet(np.ones(7), 70).astype(np.float32)
    images, labels = numbers(batches((data[0], soft)), 4)
    np.testing.assert_array_equal(np.concatenate(labels), soft[np.concatenate(images)])


def test_who_is_asked_sees_the_varied_images_and_knows_which_they_are(data):
    """What is asked answers by the places of the images, and is mixed with the labels, but not with other answers."""
    seen = []

    def ask(faces, step, chosen):
        seen.append((int(step), faces, chosen))
        return (chosen[:, None] + np.arange(7)).astype(np.float32)

    truth = np.random.default_rng(0).dirichlet(np.ones(7), 70).astype(np.float32)
    votes = np.arange(70, dtype=np.float32)[:, None] * np.ones(10, np.float32)
    both = {"classes": truth, "votes": votes}
    random = np.random.default_rng(0).integers(0, 256, (70, 48, 48), np.uint8)
    options = {"augmentation": AUGMENTATIONS["standard"], "ask": ask, "ask_weight": 0.25}
    whole = list(batches((random, both), **options).take(8))
    asked = {step: (faces, chosen) for step, faces, chosen in seen}
    for step, (images, targets) in enumerate(whole):
        faces, chosen = asked[step]
        np.testing.assert_array_equal(images, faces)
        assert (faces != random[chosen]).any(axis=(1, 2)).all()
        expected = 0.75 * truth[chosen] + 0.25 * (chosen[:, None] + np.arange(7))
        np.testing.assert_allclose(targets["classes"], expected, rtol=1e-5)
        np.testing.assert_array_equal(targets["votes"], votes[chosen])
    (again,) = batches((random, both), first_epoch=1, **options).take(1)
    np.testing.assert_array_equal(again[1]["classes"], whole[4][1]["classes"])
