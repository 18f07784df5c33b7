"""What a finished run leaves to look at: PublicTest's figures, the temperature and the pictures."""

from collections.abc import Sequence

from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from fer_tf.classes import CLASSES
from fer_tf.fer2013 import PUBLIC_TEST, Split
from fer_tf.files import write_json
from fer_tf.metrics import fit_temperature, measure
from fer_tf.train.input_pipeline import evaluation_batches
from fer_tf.train.pictures import draw_confusion, draw_curves
from fer_tf.train.prediction import predictor
from fer_tf.train.run_folder import RunFolder, kept_row


def write_report(
    folder: RunFolder, public: Split, *, choosing: str = PUBLIC_TEST, shares: Sequence[float] | None = None
) -> dict:
    """Fits the temperature on PublicTest, measures the kept epoch there, and draws the run.

    Args:
        folder: The run's.
        public: PublicTest, or what is held out of another data set.
        choosing: What it is called.
        shares: Of the classes in what the run learned from; None for those of FER-2013.

    Returns:
        What `folder.public` then holds: `epoch`, `temperature`, the keys of `fer_tf.metrics.measure` and, unless they
        are FER-2013's, `training_shares`.
    """
    settings, rows = folder.settings, folder.read_history()
    logits = predictor(folder.network())(evaluation_batches(public.images, folder.preprocessor()))
    temperature = fit_temperature(logits, public.labels)
    kept = kept_row(rows, settings.keep)
    figures = measure(softmax(logits / temperature, axis=1), public.labels, temperature)
    draw_curves(rows, folder.curves, kept=kept, title=f"{settings.model} on {settings.dataset}", choosing=choosing)
    counts = confusion_matrix(public.labels, logits.argmax(axis=1), labels=range(len(CLASSES)))
    draw_confusion(counts, folder.confusion, title=choosing)
    report = {"epoch": int(kept["epoch"]), "temperature": temperature, **figures}
    if shares:
        report["training_shares"] = list(shares)
    write_json(folder.public, report)  # last: it says that the run is finished
    return report
