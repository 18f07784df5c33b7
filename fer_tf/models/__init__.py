"""The networks, by name."""

import keras

from fer_tf.models.registry import check_widths, create_model, load_network

keras.config.set_image_data_format("channels_last")  # whatever the user's keras.json says

__all__ = ["check_widths", "create_model", "load_network"]
