"""The ONNX graphs of model files, as far as more than one room looks into them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

WEIGHTED_OPERATORS = ("Conv", "Gemm", "MatMul")
"""Operators that hold the weights of a network and do nearly all of its work."""


def weighted_nodes(model: "onnx.ModelProto") -> list["onnx.NodeProto"]:
    """Returns the convolutions and matrix products of a model, in the order of its graph."""
    return [node for node in model.graph.node if node.op_type in WEIGHTED_OPERATORS]
