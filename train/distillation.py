"""Soft targets: labels, mixed with the predictions of teachers and with the votes of FER+."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013 import Split
from fer_tf.ferplus import Votes
from fer_tf.files import sha256
from fer_tf.recognizer import Recognizer, predict
from fer_tf.train.settings import Settings

_TEACHERS_POWER = 0.7
"""Of the teachers' probabilities where votes are taken into account; see `correct_by_votes`."""


def make_targets(
    settings: Settings, split: Split, teachers: Sequence[Recognizer], votes: Votes | None
) -> dict[str, np.ndarray]:
    """Returns the targets of a new run that learns from more than the labels.

    Args:
        settings: The run's.
        split: The N training images with their labels.
        teachers: Those that `settings.teacher` names.
        votes: For the same images; None without `settings.ferplus`.

    Returns:
        float32 [N, columns] by name, as `Settings.targets` says. The predictions of teachers that are asked about each
        augmented image are not in them.
    """
    asked_now = settings.teacher_views == "plain"
    classes = soft_targets(
        split,
        teachers=teachers if asked_now else (),
        teacher_weight=settings.teacher_weight,
        votes=votes if settings.ferplus_weight and not settings.has_evidence else None,
        ferplus_weight=settings.ferplus_weight,
        ferplus_as=settings.ferplus_as,
        label_smoothing=settings.label_smoothing,
    )
    targets = {"classes": classes}
    if votes is not None and settings.ferplus_head:
        targets["votes"] = votes.all_shares
    if votes is not None and settings.has_evidence:
        targets["evidence"] = evidence(votes, split.labels, settings.ferplus_weight).astype(np.float32)
    return targets


def soft_targets(
    split: Split,
    *,
    teachers: Sequence[Recognizer] = (),
    teacher_weight: float = 0.0,
    votes: Votes | None = None,
    ferplus_weight: float = 0.0,
    ferplus_as: str = "evidence",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Returns smoothed labels, mixed with what teachers predict or with what the votes of FER+ say.

    With both, the votes either correct the teachers' predictions, or are mixed with the labels before the teachers are.

    Sources: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531; of learning from
    those who know more than the images: Lopez-Paz et al., Unifying distillation and privileged information, 2015,
    arXiv 1511.03643.

    Args:
        split: N images with their labels.
        teachers: What they say of an image and of its mirror image is averaged over all of them.
        teacher_weight: Their part, 0 to 1.
        votes: For the same images; one without votes keeps its label.
        ferplus_weight: Their part, 0 to 1; the power of their evidence where they correct teachers.
        ferplus_as: What they do beside teachers: `evidence` corrects, and `opinion` is mixed.
        label_smoothing: Part of each label that goes to all classes alike. Votes and teachers are unsure by themselves.

    Returns:
        float32 [N, 7], rows sum to 1.
    """
    targets = np.eye(len(CLASSES), dtype=np.float32)[split.labels] * (1 - label_smoothing)
    targets += label_smoothing / len(CLASSES)
    correcting = bool(teachers) and ferplus_as == "evidence"
    if votes is not None and not correcting:
        voted = votes.counts.any(axis=1)
        said = label_probabilities(votes[voted], split.labels[voted])
        targets[voted] = (1 - ferplus_weight) * targets[voted] + ferplus_weight * said
    if teachers:
        answers = np.mean([_answers(teacher, split.images) for teacher in teachers], axis=0)
        if votes is not None and correcting:
            answers = correct_by_votes(answers, evidence(votes, split.labels, ferplus_weight))
        targets = (1 - teacher_weight) * targets + teacher_weight * answers
    return targets.astype(np.float32)


def label_probabilities(votes: Votes, labels: np.ndarray) -> np.ndarray:
    """Returns how probable each label is, given an image's votes.

    The taggers of FER+ and the labels of FER-2013 disagree, above all about what is neutral: the majority of the votes
    is the label of only 64 % of the images. So the votes are features of the label and not the label: a logistic
    regression on the square roots of the ten shares predicts it.

    Args:
        votes: For N images, at least one for each.
        labels: int [N], of FER-2013.

    Returns:
        float64 [N, 7], rows sum to 1; 0 for classes that no label is of.
    """
    classes = np.unique(labels)
    probabilities = np.zeros((len(labels), len(CLASSES)))
    if len(classes) == 1:
        probabilities[:, classes] = 1
    else:
        evidence = np.sqrt(votes.counts / votes.counts.sum(axis=1, keepdims=True))
        regression = LogisticRegression(max_iter=1000).fit(evidence, labels)
        probabilities[:, classes] = regression.predict_proba(evidence)
    return probabilities


def evidence(votes: Votes, labels: np.ndarray, power: float) -> np.ndarray:
    """Returns the likelihood ratios of the votes: how much more probable they make each class than it is on average.

    Args:
        votes: For N images.
        labels: int [N], of FER-2013.
        power: Exponent of the ratios, 0 to 1.

    Returns:
        float64 [N, 7]; a row of zeros for an image without votes.
    """
    voted = votes.counts.any(axis=1)
    usual = np.bincount(labels[voted], minlength=len(CLASSES)) / voted.sum()
    said = label_probabilities(votes[voted], labels[voted])
    ratios = np.zeros((len(labels), len(CLASSES)))
    ratios[voted] = np.divide(said, usual, out=np.zeros_like(said), where=usual > 0) ** power
    return ratios


def correct_by_votes(answers: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Returns the product of the models' predictions and the votes' likelihood ratios, normalized.

    Models and taggers saw the same image, so their evidence is not independent and a plain product would be too
    confident: each counts by a power below 1. Powers of 0.7 and 0.5 were chosen on PublicTest, where the outcome is
    right more often than either alone.

    Args:
        answers: float [N, 7], probabilities.
        ratios: float [N, 7], as from `evidence`.

    Returns:
        float [N, 7], rows sum to 1; the answers themselves where there is no evidence.
    """
    together = np.maximum(answers, 1e-9) ** _TEACHERS_POWER * ratios
    total = together.sum(axis=1, keepdims=True)
    return np.where(total > 0, together / np.where(total > 0, total, 1), answers)


def ask_in_turn(teachers: Sequence[Recognizer], ratios: np.ndarray | None) -> Callable:
    """Returns a function that asks teachers about augmented images: one teacher for each batch, in turn.

    So the teachers see new images all the time, as close to the training images as other photos of such faces, and the
    network learns the function and not only its values on the training images. Over many batches the targets average
    to those of all teachers, since the gradient of the cross-entropy is linear in them.

    Source: Beyer et al., Knowledge distillation: A good teacher is patient and consistent, 2022, arXiv 2106.05237.

    Args:
        teachers: At least one.
        ratios: float [N, 7], as from `evidence`, for all training images; None if no votes correct the teachers.

    Returns:
        For `fer_tf.train.input_pipeline.training_batches`: (uint8 [B, 48, 48], step, int [B] of N) → float32 [B, 7].
    """

    def ask(faces: np.ndarray, step: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        answers = teachers[int(step) % len(teachers)](faces)
        return answers if ratios is None else correct_by_votes(answers, ratios[chosen]).astype(np.float32)

    return ask


def reopen_teachers(paths: Sequence[str], origins: Sequence[dict]) -> list[Recognizer]:
    """Opens the teachers of a run again, with one thread for each call.

    Args:
        paths: Their files.
        origins: What `ModelCard.as_origin` said of each when the run began.

    Raises:
        UserError: if a file is missing or another one now.
    """
    teachers = [Recognizer(path, threads=1) for path in paths]
    for path, origin in zip(paths, origins, strict=True):
        if sha256(path) != origin["sha256"]:
            raise UserError(f"{path} is not what the run was begun with; put that back or start the run anew")
    return teachers


def _answers(recognizer: Recognizer, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of images, averaged with those of their mirror images: float32 [N, 7]."""

    def both(faces: np.ndarray) -> np.ndarray:
        return (recognizer(faces) + recognizer(np.ascontiguousarray(faces[:, :, ::-1]))) / 2

    ask = recognizer if recognizer.card.is_mirror_equivariant else both
    return predict(ask, images, description=f"asking {recognizer.card.name}")
