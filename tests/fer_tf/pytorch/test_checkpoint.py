import json
import pickle
import zipfile

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


@pytest.mark.parametrize("inside", [None, "state_dict", "model_state_dict", "model_state", "model", "net", "weights"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "net.", "model.", "a.module.b."])
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
        (lambda torch: {"w": torch.ones(2).to_sparse()}, "w is nested, sparse, empty, quantized"),
        (lambda torch: {"w": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}, "w is nested, sparse"),
        (lambda torch: {"w": torch.ones(2, dtype=torch.complex64).conj().imag}, "w is nested, sparse, .* conjugate"),
        (lambda torch: {"w": torch.ones(1).expand(1 << 40)}, "w is of shape .1099511627776., but the file has fewer"),
        (lambda torch: torch.nn.Linear(2, 2), r"wants to run torch\.nn\.modules\.linear\.Linear"),
    ],
    ids=["same name", "no tensor", "empty", "infinite", "sparse", "nested", "negative", "expanded", "network"],
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


def test_damage_of_any_byte_is_noticed_or_does_nothing(torch, saved):
    path = saved({"weight": torch.linspace(-1, 1, 40).reshape(5, 8), "bias": torch.ones(3)})
    content, expected = path.read_bytes(), read_state_dict(path)
    data = content.index(np.float32(-1).tobytes())
    messages = []
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            found = read_state_dict(path)
        except UserError as error:
            messages.append(str(error))
        else:
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)
    assert len(messages) > 200
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)
    path.write_bytes(content[:data] + b"\1" + content[data + 1 :])
    with pytest.raises(UserError, match=r"damaged checkpoint .*CRC"):
        read_state_dict(path)


def test_a_pickle_that_would_be_hashed_for_ever_is_refused(torch, tmp_path):
    doubled = b"K\x01q\0" + b"h\0h\0\x86q\0" * 60
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + doubled + b"K\x01s.")
        archive.writestr("a/version", "3")
    with pytest.raises(UserError, match="tuple of more than"):
        read_state_dict(tmp_path / "x.pth")
    (tmp_path / "legacy.pth").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02}" + doubled + b"K\x01s.")
    with pytest.raises(UserError, match="tuple of more than"):
        read_state_dict(tmp_path / "legacy.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_part_that_is_there_twice_is_refused(torch, saved):
    """Of two tensors with one name, readers take different ones."""
    path = saved({"weight": torch.ones(3)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/data/0", bytes(12))
    with pytest.raises(UserError, match="holds a part twice"):
        read_state_dict(path)


def test_a_limit_can_be_lowered_and_raised(torch, saved, monkeypatch):
    path = saved({"weight": torch.ones(3000)})
    monkeypatch.setenv("FER_TF_MAX_CHECKPOINT_BYTES", "10000")
    with pytest.raises(UserError, match=r"expected at most 10,000, which \$FER_TF_MAX_CHECKPOINT_BYTES raises"):
        read_state_dict(path)
    monkeypatch.setenv("FER_TF_MAX_CHECKPOINT_BYTES", "100000")
    assert read_state_dict(path)["weight"].shape == (3000,)
    monkeypatch.setenv("FER_TF_MAX_CHECKPOINT_BYTES", "many")
    with pytest.raises(UserError, match="whole number above 0"):
        read_state_dict(path)


def safetensors(tensors, dtype="F32", change=lambda header: header):
    """A file of the format, written from its description."""
    content, header = b"", {"__metadata__": {"format": "pt"}}
    for name, values in tensors.items():
        raw = values.tobytes()
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(content), len(content) + len(raw)]}
        content += raw
    text = json.dumps(change(header)).encode()
    return len(text).to_bytes(8, "little") + text + content


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_safetensors_are_read(dtype, torch, tmp_path):
    kinds = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
    values = torch.tensor([[0.5, -2.0, 3.140625], [0, 1e-2, 65504]])
    raw = values.bfloat16().view(torch.int16).numpy() if dtype == "BF16" else values.numpy().astype(kinds[dtype])
    expected = values.bfloat16().float().numpy() if dtype == "BF16" else raw.astype(np.float32)
    (tmp_path / "x.safetensors").write_bytes(safetensors({"net.conv1.weight": raw, "net.b": raw[:1]}, dtype))
    found = read_state_dict(tmp_path / "x.safetensors")
    assert list(found) == ["conv1.weight", "b"]
    np.testing.assert_array_equal(found["conv1.weight"], expected)
    np.testing.assert_array_equal(found["b"], expected[:1])


def changed(**told):
    return lambda header: header | {"w": header["w"] | told}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        safetensors({"w": np.ones(4, np.float32)})[:-1],
        safetensors({"w": np.ones(4, np.float32)}) + b"x",
        safetensors({"w": np.ones(4, np.float32)}, change=changed(shape=[10**30])),
        safetensors({"w": np.ones(4, np.float32)}, change=changed(shape=[-4])),
        safetensors({"w": np.ones(4, np.float32)}, change=changed(shape="4")),
        safetensors({"w": np.ones(4, np.float32)}, change=changed(data_offsets=[8, 24])),
        safetensors({"w": np.ones(4, np.float32)}, change=changed(dtype="F8")),
        safetensors({"w": np.ones(4, np.float32)}, change=lambda header: [1]),
        safetensors({"w": np.ones(4, np.float32)}, change=lambda header: {"w": 1}),
        len(b"[" * 10**5).to_bytes(8, "little") + b"[" * 10**5,
    ],
)
def test_damaged_safetensors_are_one_clear_line(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.safetensors: .*expected|damaged") as error:
        read_state_dict(path)
    assert "\n" not in str(error.value)
