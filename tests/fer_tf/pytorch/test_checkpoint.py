import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.pytorch.checkpoint import read_state_dict


@pytest.fixture
def saved(torch, tmp_path):
    """A function that saves something as PyTorch does, and returns its path."""

    def save(content):
        torch.save(content, tmp_path / "x.pth")
        return tmp_path / "x.pth"

    return save


@pytest.mark.parametrize("inside", [None, "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_weights_are_found_by_their_names(inside, prefix, torch, base_cnn, saved):
    expected = {name: value for name, value in base_cnn.state_dict().items() if "num_batches" not in name}
    state = {prefix + name: value for name, value in base_cnn.state_dict().items()}
    found = read_state_dict(saved({"epoch": 3, inside: state} if inside else state))
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value.numpy())


def test_a_name_that_only_holds_a_prefix_stays(torch, saved):
    assert list(read_state_dict(saved({"head.module.weight": torch.ones(1)}))) == ["head.module.weight"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int64"])
def test_numbers_become_float32(dtype, torch, saved):
    tensor = torch.nn.Parameter(torch.tensor([0.5, -2.0])) if dtype == "float64" else torch.tensor([0.5, -2.0])
    found = read_state_dict(saved({"weight": tensor.to(getattr(torch, dtype))}))["weight"]
    assert found.dtype == np.float32
    assert found.tolist() == ([0, -2] if dtype == "int64" else [0.5, -2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda torch: {"w": torch.ones(1), "module.w": torch.ones(1)}, "two tensors are called w"),
        (lambda torch: {"w": torch.ones(1), "epoch": 3}, "'epoch' is int; expected a state_dict"),
        (lambda torch: {"state_dict": {}}, "holds dict; expected a state_dict"),
        (lambda torch: {"w": torch.tensor([1.0, float("inf")])}, "w holds NaN or infinite values"),
        (lambda torch: {"w": torch.ones(2).to_sparse()}, "w is sparse, empty, quantized or complex"),
        (lambda torch: torch.nn.Linear(2, 2), r"wants to run torch\.nn\.modules\.linear\.Linear"),
    ],
    ids=["same name", "no tensor", "empty", "infinite", "sparse", "network"],
)
def test_what_is_no_state_dict_is_named(content, message, torch, saved):
    path = saved(content(torch))
    with pytest.raises(UserError, match=message) as error:
        read_state_dict(path)
    assert str(error.value).startswith(f"{path}: ")


def test_what_is_no_file_is_named(torch, tmp_path):
    with pytest.raises(UserError, match="a folder; expected a PyTorch checkpoint"):
        read_state_dict(tmp_path)
    with pytest.raises(UserError, match="no such file; expected a PyTorch checkpoint"):
        read_state_dict(tmp_path / "x.pth")
