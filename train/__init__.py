"""FER-2013 in, a trained Keras model and its report out."""
