"""What a network is to answer: the labels, and opinions on the same images mixed with them."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from fer_tf.emotions import CLASSES
from fer_tf.fer2013 import Split
from fer_tf.ferplus import Votes, read_votes
from fer_tf.recognizer import Recognizer, predict


def soft_targets(
    split: Split,
    *,
    teachers: Sequence[Recognizer] = (),
    teacher_weight: float = 0.0,
    ferplus: str | None = None,
    ferplus_weight: float = 0.0,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Returns the labels, smoothed, mixed with what the votes of FER+ and then other models say of them.

    Source of learning from other models: Hinton et al., Distilling the Knowledge in a Neural Network, 2015,
    arXiv 1503.02531.

    Args:
        split: N images with their labels.
        teachers: What they say of an image and of its mirror image is averaged over all of them.
        teacher_weight: Their part, 0 to 1.
        ferplus: Table of votes for `fer_tf.ferplus.read_votes`; an image without votes keeps its label.
        ferplus_weight: Their part, 0 to 1, of what is left by the teachers.
        label_smoothing: Part of each label that goes to all classes alike. Votes and teachers are unsure by themselves.

    Returns:
        float32 [N, 7], rows sum to 1.

    Raises:
        UserError: if the table is missing or of another kind.
    """
    targets = np.eye(len(CLASSES), dtype=np.float32)[split.labels] * (1 - label_smoothing)
    targets += label_smoothing / len(CLASSES)
    if ferplus:
        votes = read_votes(ferplus, split.names)
        voted = votes.counts.any(axis=1)
        said = translated(votes[voted], split.labels[voted])
        targets[voted] = (1 - ferplus_weight) * targets[voted] + ferplus_weight * said
    if teachers:
        answers = np.mean([_answers(teacher, split.images) for teacher in teachers], axis=0)
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


def _answers(recognizer: Recognizer, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of images, averaged with those of their mirror images: float32 [N, 7]."""

    def both(faces: np.ndarray) -> np.ndarray:
        return (recognizer(faces) + recognizer(np.ascontiguousarray(faces[:, :, ::-1]))) / 2

    return predict(both, images, description=f"asking {recognizer.card.name}")
