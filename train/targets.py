"""What a network is to answer: the labels, and opinions on the same images mixed with them."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from fer_tf.emotions import CLASSES
from fer_tf.fer2013 import Split
from fer_tf.ferplus import Votes, read_votes
from fer_tf.recognizer import Recognizer, predict

_TEACHERS_POWER = 0.7
"""Of the teachers' probabilities where votes are taken into account; see `informed`."""


def soft_targets(
    split: Split,
    *,
    teachers: Sequence[Recognizer] = (),
    teacher_weight: float = 0.0,
    ferplus: str | None = None,
    ferplus_weight: float = 0.0,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Returns the labels, smoothed, mixed with what the votes of FER+ or other models say of them.

    Where there are both, the models' answers are `informed` by the votes, and the labels are mixed with these.

    Sources: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531; of learning from
    those who know more than the images: Lopez-Paz et al., Unifying distillation and privileged information, 2015,
    arXiv 1511.03643.

    Args:
        split: N images with their labels.
        teachers: What they say of an image and of its mirror image is averaged over all of them.
        teacher_weight: Their part, 0 to 1.
        ferplus: Table of votes for `fer_tf.ferplus.read_votes`; an image without votes keeps its label.
        ferplus_weight: Their part, 0 to 1; with teachers the power of their evidence.
        label_smoothing: Part of each label that goes to all classes alike. Votes and teachers are unsure by themselves.

    Returns:
        float32 [N, 7], rows sum to 1.

    Raises:
        UserError: if the table is missing or of another kind.
    """
    targets = np.eye(len(CLASSES), dtype=np.float32)[split.labels] * (1 - label_smoothing)
    targets += label_smoothing / len(CLASSES)
    votes = read_votes(ferplus, split.names) if ferplus else None  # teachers, who take minutes, come after
    answers = np.mean([_answers(teacher, split.images) for teacher in teachers], axis=0) if teachers else None
    if votes is not None:
        voted = votes.counts.any(axis=1)
        said = translated(votes[voted], split.labels[voted])
        if teachers:
            answers[voted] = informed(answers[voted], said, split.labels[voted], ferplus_weight)
        else:
            targets[voted] = (1 - ferplus_weight) * targets[voted] + ferplus_weight * said
    if teachers:
        targets = (1 - teacher_weight) * targets + teacher_weight * answers
    return targets.astype(np.float32)


def translated(votes: Votes, labels: np.ndarray) -> np.ndarray:
    """Returns how probable each label is for an image with such votes.

    FER+'s taggers and FER-2013's labels are of two minds, above all about what is neutral: the majority of the votes is
    the label of only 64 % of the images. So votes are taken for evidence of a label, not for the label, and weighed by
    a logistic regression on the square roots of the ten shares.

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


def informed(answers: np.ndarray, said: np.ndarray, labels: np.ndarray, power: float) -> np.ndarray:
    """Returns models' answers, corrected by what votes add to them.

    A class gains by how much more probable the votes make it than it is among all labels. Models and taggers saw the
    same image, so their evidence is not independent, and a product of both would be too sure: each counts by a power
    below 1. Those of 0.7 and 0.5 were chosen on PublicTest, where the outcome is right more often than either alone.

    Args:
        answers: float [N, 7], probabilities.
        said: float [N, 7], as from `translated`.
        labels: int [N], of FER-2013.
        power: Of the votes' evidence, 0 to 1.

    Returns:
        float64 [N, 7], rows sum to 1.
    """
    usual = np.bincount(labels, minlength=len(CLASSES)) / len(labels)
    evidence = np.divide(said, usual, out=np.zeros_like(said), where=usual > 0)
    together = np.maximum(answers, 1e-9) ** _TEACHERS_POWER * evidence**power
    return together / together.sum(axis=1, keepdims=True)


def _answers(recognizer: Recognizer, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of images, averaged with those of their mirror images: float32 [N, 7]."""

    def both(faces: np.ndarray) -> np.ndarray:
        return (recognizer(faces) + recognizer(np.ascontiguousarray(faces[:, :, ::-1]))) / 2

    return predict(both, images, description=f"asking {recognizer.card.name}")
