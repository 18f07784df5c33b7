"""The graphs of `mirror_resnet`s in model files: written, read and rewritten without Keras."""
