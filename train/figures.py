"""The figures of models on FER-2013: of each split."""

from typing import Any

import numpy as np

from fer_tf import fer2013
from fer_tf.errors import UserError
from fer_tf.ferplus import Votes
from fer_tf.metrics import measure, measure_votes


def evaluation_split(data: fer2013.Fer2013, splits: str) -> fer2013.Split:
    """Returns the images to measure on: `public`, or for `all` those of `private` after them.

    Raises:
        UserError: if a split that is asked for is empty.
    """
    wanted = [data.public] if splits == "public" else [data.public, data.private]
    if not all(map(len, wanted)):
        missing, remedy = ("private", "use --splits public or") if len(data.public) else ("public", "use")
        raise UserError(f"{data.source}: its '{missing}' split is empty; {remedy} a data set that has it")
    arrays = ([getattr(split, name) for split in wanted] for name in ("images", "labels", "names"))
    return fer2013.Split(*map(np.concatenate, arrays))


def evaluate(
    probabilities: np.ndarray,
    data: fer2013.Fer2013,
    *,
    temperature: float,
    splits: str = "public",
    votes: Votes | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the figures of `fer_tf.metrics.measure` by split.

    Args:
        probabilities: float [N, 7] for the images of `evaluation_split(data, splits)`.
        data: A data set.
        temperature: What the logits were divided by to calibrate the probabilities.
        splits: `public`, or `all`, which adds `private`, `private_deduplicated` (without exact copies of training
            images; left out if nothing remains) and `all` (public and private: the first project's protocol, which
            includes the split that chose).
        votes: For the same images. Each split then has `ferplus`, the figures of `fer_tf.metrics.measure_votes`.

    Raises:
        UserError: if a split that is asked for is empty.
    """
    labels = evaluation_split(data, splits).labels

    def figures(chosen: np.ndarray | slice) -> dict[str, Any]:
        figures = measure(probabilities[chosen], labels[chosen], temperature)
        if votes:
            figures["ferplus"] = measure_votes(probabilities[chosen], votes.shares[chosen], votes.majority[chosen])
        return figures

    count = len(data.public)
    report = {"public": figures(slice(count))}
    if splits == "all":
        original = np.flatnonzero(~fer2013.copies(data.private.images, data.train.images)) + count
        report["private"] = figures(slice(count, None))
        if len(original):
            report["private_deduplicated"] = figures(original)
        report["all"] = figures(slice(None))
    return report
