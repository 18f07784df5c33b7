import numpy as np
import pytest

pytest.importorskip("onnx")

from fer_tf.fer2013 import Split
from fer_tf.ferplus import read_votes
from fer_tf.recognizer import Recognizer
from fer_tf.train.distillation import ask_in_turn, correct_by_votes, evidence, make_targets, soft_targets
from fer_tf.train.settings import Settings


@pytest.fixture
def split() -> Split:
    images = np.zeros((3, 48, 48), np.uint8)
    images[1], images[2] = 100, 255
    return Split(images, np.array([0, 3, 6]), np.array(["a.jpg", "b.jpg", "c.jpg"]))


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def test_without_other_opinions_they_are_the_labels(split):
    np.testing.assert_array_equal(soft_targets(split), np.eye(7)[[0, 3, 6]])


@pytest.fixture
def voted(tmp_path) -> tuple[Split, np.ndarray, str]:
    """Images of which votes say one of three things, what each of them says, and the table of votes.

    The first has no votes. What is voted neutral is labelled neutral (4) or sad (5), the happy happy or surprise, and
    what is no face is of any label, as often as it is.
    """
    header = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
    said = np.repeat([0, 1, 9], 2000)
    of_labels = ([4] * 1200 + [5] * 800, [3] * 1800 + [6] * 200, [0, 1, 2, 3, 4] * 400)
    labels = np.concatenate([[2], *of_labels])
    split = Split(np.zeros((6001, 48, 48), np.uint8), labels, np.array([f"{i}.jpg" for i in range(6001)]))
    lines = [
        f"{i}.jpg," + ",".join("10" if column == vote else "0" for column in range(10))
        for i, vote in enumerate(said, 1)
    ]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join([",".join(["image", *header]), *lines]))
    return split, said, str(path)


def test_votes_are_evidence_of_the_label(voted):
    """They stand for the labels of the images with the same votes, whatever they call these."""
    split, said, path = voted
    targets = soft_targets(split, votes=read_votes(path, split.names), ferplus_weight=1)
    np.testing.assert_array_equal(targets[0], np.eye(7)[2])
    for vote in (0, 1, 9):
        labels = split.labels[1:][said == vote]
        expected = np.bincount(labels, minlength=7) / len(labels)
        np.testing.assert_allclose(targets[1:][said == vote].mean(axis=0), expected, atol=0.01)
        np.testing.assert_allclose(targets[1:][said == vote].std(axis=0), 0, atol=1e-4)
    mixed = soft_targets(split, votes=read_votes(path, split.names), ferplus_weight=0.4)
    np.testing.assert_allclose(mixed, 0.6 * np.eye(7)[split.labels] + 0.4 * targets, atol=1e-6)


def test_votes_for_images_of_one_class_say_that_class(voted):
    split, _, path = voted
    happy = split[np.flatnonzero(split.labels == 3)]
    targets = soft_targets(happy, votes=read_votes(path, happy.names), ferplus_weight=0.5)
    np.testing.assert_array_equal(targets, np.eye(7)[[3] * len(happy)])


def test_teachers_are_mixed_with_the_labels(split, make_model_file, tmp_path):
    teacher = Recognizer(make_model_file(tmp_path / "m.onnx"))
    taught = soft_targets(split, teachers=[teacher, teacher], teacher_weight=0.7)
    brightness = np.array([0, 100, 255]) / 255
    expected = 0.3 * np.eye(7)[split.labels] + 0.7 * softmax(
        brightness[:, None] * np.arange(7)
    )  # as the tiny model does
    np.testing.assert_allclose(taught, expected, atol=1e-6)


def test_only_the_labels_part_is_smoothed(split, make_model_file, tmp_path):
    teacher = Recognizer(make_model_file(tmp_path / "m.onnx"))
    smoothed = soft_targets(split, label_smoothing=0.14)
    np.testing.assert_allclose(smoothed, 0.86 * np.eye(7)[[0, 3, 6]] + 0.02, atol=1e-6)
    taught = soft_targets(split, teachers=[teacher], teacher_weight=0.5, label_smoothing=0.14)
    np.testing.assert_allclose(taught, (smoothed + teacher(split.images)) / 2, atol=1e-6)


def test_votes_correct_the_answers_of_teachers(voted, make_model_file, tmp_path):
    """Bayes's rule with a power for each: log-odds of two classes add up."""
    split, said, path = voted
    split.images[:] = 100
    votes = read_votes(path, split.names)
    teacher = Recognizer(make_model_file(tmp_path / "m.onnx"))
    targets = soft_targets(split, teachers=[teacher], teacher_weight=1, votes=votes, ferplus_weight=0.5)
    answer = teacher(split.images[:1])[0]
    np.testing.assert_allclose(targets[0], answer, atol=1e-6)  # of this image there are no votes
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    # Of what is voted neutral 1200 are labelled neutral and 800 sad; of all 6000 these are 1600 and 800.
    neutral = targets[1:][said == 0].mean(axis=0)
    expected = 0.7 * np.log(answer[4] / answer[5]) + 0.5 * np.log((1200 / 1600) / (800 / 800))
    assert np.log(neutral[4] / neutral[5]) == pytest.approx(expected, abs=0.02)
    mixed = soft_targets(split, teachers=[teacher], teacher_weight=0.6, votes=votes, ferplus_weight=0.5)
    np.testing.assert_allclose(mixed, 0.4 * np.eye(7)[split.labels] + 0.6 * targets, atol=1e-6)


@pytest.mark.parametrize("views", ["plain", "varied"])
def test_votes_can_be_one_opinion_beside_teachers(voted, make_model_file, tmp_path, views):
    split, _, path = voted
    votes, teacher = read_votes(path, split.names), Recognizer(make_model_file(tmp_path / "m.onnx"))
    settings = Settings(
        data="",
        data_fingerprint="",
        teacher=["m.onnx"],
        teacher_weight=0.4,
        teacher_views=views,
        ferplus="votes.csv",
        ferplus_as="opinion",
        label_smoothing=0.1,
    )
    targets = make_targets(settings, split, [teacher], votes)
    assert set(targets) == set(settings.targets) == {"classes"}
    opinion = 0.5 * (0.9 * np.eye(7)[split.labels] + 0.1 / 7)
    opinion += 0.5 * soft_targets(split, votes=votes, ferplus_weight=1)
    opinion[0] = 0.9 * np.eye(7)[split.labels[0]] + 0.1 / 7  # of this image there are no votes
    expected = opinion if views == "varied" else 0.6 * opinion + 0.4 * teacher(split.images)
    np.testing.assert_allclose(targets["classes"], expected, atol=1e-6)


def test_votes_without_power_only_soften_what_teachers_say(voted):
    split, _, path = voted
    answers = np.random.default_rng(0).dirichlet(np.ones(7), 6001)
    softened = correct_by_votes(answers, evidence(read_votes(path, split.names), split.labels, 0.0))
    np.testing.assert_array_equal(softened.argmax(axis=1), answers.argmax(axis=1))
    assert (softened.max(axis=1) <= answers.max(axis=1)).all()


def test_what_no_label_is_and_what_no_model_says_leaves_a_distribution():
    answers = np.array([[1.0, 0, 0, 0, 0, 0, 0]])
    only = np.array([[0, 0, 0, 1.0, 0, 0, 0]])
    np.testing.assert_array_equal(correct_by_votes(answers, only), only)
    np.testing.assert_array_equal(correct_by_votes(answers, np.zeros((1, 7))), answers)


def test_teachers_are_asked_in_turn_and_corrected_by_the_votes_for_the_image(voted, make_model_file, tmp_path):
    split, said, path = voted
    teachers = [Recognizer(make_model_file(tmp_path / f"{slope}.onnx", slope=slope)) for slope in (1, -1)]
    faces = np.full((3, 48, 48), 100, np.uint8)
    own = [teacher(faces) for teacher in teachers]
    assert np.abs(own[0] - own[1]).max() > 0.1
    alone = ask_in_turn(teachers, None)
    for step in (6, 7, 8):
        np.testing.assert_array_equal(alone(faces, np.int64(step), np.arange(3)), own[step % 2])
    votes = read_votes(path, split.names)
    neutral = 1 + int(np.argmax(said == 0))
    answers = ask_in_turn(teachers, evidence(votes, split.labels, 0.5))(faces, 0, np.array([0, neutral, 0]))
    np.testing.assert_array_equal(answers[[0, 2]], own[0][[0, 2]])  # of this image there are no votes
    # As above: of what is voted neutral 1200 are labelled neutral and 800 sad; of all 6000 these are 1600 and 800.
    expected = 0.7 * np.log(own[0][1, 4] / own[0][1, 5]) + 0.5 * np.log((1200 / 1600) / (800 / 800))
    assert np.log(answers[1, 4] / answers[1, 5]) == pytest.approx(expected, abs=0.02)
    assert (answers.dtype, answers.sum()) == (np.float32, pytest.approx(3))
