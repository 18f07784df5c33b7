"""What stands around a network in training: a second head, and ghost batches."""

import keras


def with_votes_head(network: keras.Model, answers: int) -> keras.Model:
    """Returns a model with a second head on the network's features: outputs `classes` and `votes`, logits.

    Source: Caruana, Multitask Learning, Machine Learning 28, 1997.

    Args:
        network: Images → logits, float32 [N, 7].
        answers: Columns of the second output.
    """
    votes = keras.layers.Dense(answers, dtype="float32", name="votes")(network.layers[-1].input)
    return keras.Model(network.input, {"classes": network.output, "votes": votes}, name=network.name)


def with_ghost_batches(network: keras.Model, parts: int, batch_size: int) -> keras.Model:
    """Returns a model that sends equal parts of each batch through the network, each normalized by itself.

    The parts do not depend on each other until their logits are joined, so TensorFlow computes them side by side: on
    two cores a step is faster than with the operations of one batch spread over both.

    Source: Hoffer et al., Train longer, generalize better, 2017, arXiv 1705.08741 (ghost batch normalization).
    """
    if parts == 1:
        return network
    images = keras.Input(network.input_shape[1:], batch_size=batch_size)
    outputs = [network(part) for part in keras.ops.split(images, parts)]
    join = keras.layers.Concatenate(axis=0)
    if not isinstance(network.output, dict):
        return keras.Model(images, join(outputs))
    return keras.Model(images, {name: join([output[name] for output in outputs]) for name in outputs[0]})


def network_of(model: keras.Model) -> keras.Model:
    """Returns the network that `with_ghost_batches` may have put into a model."""
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
