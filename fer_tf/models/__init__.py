"""The networks, by name."""

from fer_tf.models.registry import ARCHITECTURES, create_model, load_network

__all__ = ["ARCHITECTURES", "create_model", "load_network"]
