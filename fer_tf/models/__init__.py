"""The networks, by name."""

import keras

from fer_tf.models.registry import ARCHITECTURES, check_widths, create_model, load_network

keras.config.set_image_data_format("channels_last")  # whatever a user's keras.json says

__all__ = ["ARCHITECTURES", "check_widths", "create_model", "load_network"]
