"""PyTorch's own forward pass with a checkpoint's weights, which an import must reproduce."""

import numpy as np

from fer_tf.pytorch.checkpoint import StateDict


def torch_logits(state: StateDict, images: np.ndarray) -> np.ndarray:
    """Runs PyTorch's own forward pass with the weights of a BaseCNN or a ResNet50.

    Args:
        state: The weights that `read_state_dict` returned.
        images: float32 [N, H, W, C].

    Returns:
        float32 [N, classes].
    """
    import torch
    from torch.nn import functional

    weights = {name: torch.tensor(value) for name, value in state.items()}
    features = torch.tensor(images.transpose(0, 3, 1, 2))

    def convolution(features, name: str, stride: int = 1):
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(features, kernel, weights.get(f"{name}.bias"), stride, kernel.shape[-1] // 2)

    def normalization(features, name: str):
        mean, variance, scale, shift = (
            weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(features, mean, variance, scale, shift)

    def dense(features, name: str):
        return functional.linear(features, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def base_cnn(features):
        for index in (0, 4, 8):
            features = functional.relu(convolution(features, f"model.{index}"))
            features = functional.max_pool2d(normalization(features, f"model.{index + 2}"), 2)
        return dense(functional.relu(dense(features.flatten(1), "model.13")), "model.16")

    def bottleneck(features, name: str, stride: int):
        shortcut = features
        if f"{name}.downsample.0.weight" in weights:
            shortcut = convolution(features, f"{name}.downsample.0", stride)
            shortcut = normalization(shortcut, f"{name}.downsample.1")
        for number, step in ((1, 1), (2, stride), (3, 1)):
            features = normalization(convolution(features, f"{name}.conv{number}", step), f"{name}.bn{number}")
            features = functional.relu(features) if number < 3 else features
        return functional.relu(features + shortcut)

    def resnet50(features):
        features = functional.relu(normalization(convolution(features, "conv1", 2), "bn1"))
        features = functional.max_pool2d(features, 3, 2, 1)
        for stage, blocks in enumerate((3, 4, 6, 3), 1):
            for block in range(blocks):
                features = bottleneck(features, f"layer{stage}.{block}", 2 if stage > 1 and not block else 1)
        return dense(features.mean((2, 3)), "fc")

    with torch.inference_mode():
        return (base_cnn if "model.0.weight" in weights else resnet50)(features).numpy()
