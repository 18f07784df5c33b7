import sys

import keras
import numpy as np
import pytest

from fer_tf.train.optimizers import ConvolutionMuon, create_optimizer
from fer_tf.train.settings import Settings


def test_the_rate_warms_up_and_ends_at_zero():
    optimizer = create_optimizer(Settings(data="-", data_fingerprint="-", epochs=10, learning_rate=1e-3), steps=50)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 50, 100, 300, 500)]
    assert rates == pytest.approx([1e-5, 5.05e-4, 1e-3, 5e-4, 0], rel=1e-3, abs=1e-9)


@pytest.fixture(autouse=True)
def without_triton(monkeypatch):
    """PyTorch's optimizers import Triton where it is installed (CUDA builds), which crashes beside TensorFlow."""
    monkeypatch.setitem(sys.modules, "triton", None)


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (1, 1, 5, 16), (5, 5, 1, 8)], ids=["tall", "wide", "first"])
def test_a_kernel_takes_the_steps_of_pytorch(shape):
    """PyTorch computes them in bfloat16, hence the tolerance: of the whole way, 2 %."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    start = random.normal(0, 1, shape).astype(np.float32)
    # Some directions far stronger than others, which the steps are to make alike.
    strengths = np.geomspace(1, 0.1, shape[-1])
    slopes = (random.normal(0, 1, (8, *shape)) * strengths).astype(np.float32)
    kernel = keras.Variable(start)
    optimizer = ConvolutionMuon(0.01, weight_decay=0.1)
    matrix = torch.nn.Parameter(torch.tensor(start.reshape(-1, shape[-1])))
    expected = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for slope in slopes:
        optimizer.apply([slope], [kernel])
        matrix.grad = torch.tensor(slope.reshape(matrix.shape))
        expected.step()
    way = matrix.detach().numpy().reshape(shape) - start
    found = kernel.numpy() - start
    assert np.linalg.norm(found - way) < 0.02 * np.linalg.norm(way)


def test_all_other_weights_take_those_of_adamw():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    starts = [random.normal(0, 1, shape).astype(np.float32) for shape in [(6, 7), (7,)]]
    variables = [keras.Variable(start) for start in starts]
    parameters = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = ConvolutionMuon(0.01, weight_decay=0.5)
    expected = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.5, eps=1e-7)
    for _ in range(4):
        slopes = [random.normal(0, 1, start.shape).astype(np.float32) for start in starts]
        optimizer.apply(slopes, variables)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = torch.tensor(slope)
        expected.step()
    for variable, parameter in zip(variables, parameters, strict=True):
        np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_weights_decay_as_in_keras_by_one_rate_a_step(name, monkeypatch):
    settings = Settings(data="-", data_fingerprint="-", epochs=2, optimizer=name, weight_decay=0.3)
    ours, theirs = (create_optimizer(settings, steps=5) for _ in range(2))
    random = np.random.default_rng(3)
    start = random.normal(0, 1, (6, 7)).astype(np.float32)
    slopes = random.normal(0, 1, (8, 6, 7)).astype(np.float32)
    asked = []
    rate = keras.optimizers.schedules.CosineDecay.__call__
    monkeypatch.setattr(
        keras.optimizers.schedules.CosineDecay, "__call__", lambda *arguments: asked.append(1) or rate(*arguments)
    )

    def steps(optimizer):
        variables = [keras.Variable(start), keras.Variable(start[0])]
        for slope in slopes:
            optimizer.apply([slope, slope[0]], variables)
        return [variable.numpy() for variable in variables]

    found = steps(ours)
    assert len(asked) == 2 * len(slopes)  # once for the decay and once for the step, however many weights there are
    keras_decay = next(kind for kind in type(theirs).__mro__ if kind.__module__.startswith("keras."))
    monkeypatch.setattr(type(theirs), "_apply_weight_decay", keras_decay._apply_weight_decay)
    for mine, expected in zip(found, steps(theirs), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert len(asked) == 5 * len(slopes)
