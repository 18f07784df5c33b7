"""A Keras model or a PyTorch checkpoint in, a verified model file out."""
