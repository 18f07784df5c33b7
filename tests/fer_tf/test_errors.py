import pytest

from fer_tf.errors import is_out_of_memory

state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
NODE = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"{NODE} code returned while running Conv node. Name:'a' Status Message: std::bad_alloc", True),
        (NODE, True),  # without memory for the rest of its words
        (f"{NODE} code returned wh", True),
        (f"{NODE} code returned while running Reshape node. Name:'' Status Message: it cannot be reshaped", False),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions", False),
    ],
)
def test_what_onnxruntime_says_without_memory(said, expected):
    assert is_out_of_memory(state.RuntimeException(said)) is expected
    assert not is_out_of_memory(KeyError(said))
