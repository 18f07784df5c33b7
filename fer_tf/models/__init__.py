"""The networks, by name."""

import keras

from fer_tf.models.registry import ARCHITECTURES, create_model, load_network

keras.config.set_image_data_format("channels_last")  # whatever a user's keras.json says

__all__ = ["ARCHITECTURES", "create_model", "load_network"]
