"""The seven expression classes of FER-2013, in the one order that every file and array here uses."""

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Class names by index: alphabetical, the order of the Kaggle folders."""

CHALLENGE_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names in the order of the challenge's CSV, whose `emotion` column has their indices."""

ORDERS = {
    "alphabetical": CLASSES,
    "csv": CHALLENGE_CLASSES,
    "expw": CHALLENGE_CLASSES,
    "affectnet": ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"),
    "ferplus": ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"),
    "rafdb": ("", "surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
}
"""What the numbers of data sets stand for, from 0: those of the Kaggle folders in order, of the challenge's CSV, ExpW,
AffectNet, FER+ and RAF-DB, which counts from 1."""

ALIASES = {
    "afraid": "fear",
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "suprise": "surprise",
    "surprised": "surprise",
}
"""Names that other data sets use for the same classes."""
