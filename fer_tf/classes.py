"""The seven expression classes of FER-2013, in the one order that every file and array here uses."""

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Class names by index: alphabetical, the order of the Kaggle folders."""

CHALLENGE_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names in the order of the challenge's CSV, whose `emotion` column has their indices."""

ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Folder names that other data sets use for the same classes."""
