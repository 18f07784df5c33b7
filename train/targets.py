"""What a network is to answer: the labels, and opinions on the same images mixed with them."""

from collections.abc import Sequence

import numpy as np

from fer_tf.emotions import CLASSES
from fer_tf.fer2013 import Split
from fer_tf.ferplus import read_votes
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
    """Returns the labels, smoothed, mixed with the votes of FER+ and then with what other models say.

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
        shares = read_votes(ferplus, split.names).shares
        weight = ferplus_weight * (shares.sum(axis=1, keepdims=True) > 0)
        targets = (1 - weight) * targets + weight * shares
    if teachers:
        answers = np.mean([_answers(teacher, split.images) for teacher in teachers], axis=0)
        targets = (1 - teacher_weight) * targets + teacher_weight * answers
    return targets.astype(np.float32)


def _answers(recognizer: Recognizer, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of images, averaged with those of their mirror images: float32 [N, 7]."""

    def both(faces: np.ndarray) -> np.ndarray:
        return (recognizer(faces) + recognizer(np.ascontiguousarray(faces[:, :, ::-1]))) / 2

    return predict(both, images, description=f"asking {recognizer.card.name}")
