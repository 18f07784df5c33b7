"""Names that options, cards and files use, for those who need the names and not Keras."""

FILTERS = ("hist_median", "sobel", "canny", "sharpen")
"""Filters, as `fer_tf.filters.FILTERS` implements them."""

DATASETS = ("original", *FILTERS, *(f"stack_{name}" for name in FILTERS))
"""Data sets: the face as it is, filtered, or both as channels."""

ARCHITECTURES = ("base_cnn", "se_resnet", "mirror_resnet", "resnet50")
"""Networks, as `fer_tf.models.ARCHITECTURES` builds them."""
