"""Encoders as steps of a Pipeline that skl2onnx converts."""

import numpy as np
import skl2onnx
from onnx import helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import is_classifier

from skrlv.lista import LISTAEncoder
from skrlv.onnx.encoders import check_exportable, traced
from skrlv.predictive import PredictiveSparseDecomposition

_MODELS = (LISTAEncoder, PredictiveSparseDecomposition)
_TYPES = {np.dtype(np.float32): FloatTensorType, np.dtype(np.float64): DoubleTensorType}


def convert(pipeline, dtype, opset):
    """The pipeline as an ONNX model for rows of that dtype, in which a classifier returns probabilities as a matrix."""
    for model in _MODELS:
        skl2onnx.update_registered_converter(model, f"Skrlv{model.__name__}", _infer_type, _add_nodes)
    given = _TYPES[np.dtype(dtype)]([None, pipeline.n_features_in_])
    gives_probabilities = is_classifier(pipeline) and hasattr(pipeline, "predict_proba")
    options = {id(pipeline[-1]): {"zipmap": False}} if gives_probabilities else None
    names = [("Z", None)] if isinstance(pipeline[-1], _MODELS) else None
    return skl2onnx.to_onnx(
        pipeline, initial_types=[("X", given)], final_types=names, options=options, target_opset=opset
    )


def _infer_type(operator):
    """Tell skl2onnx the type of the codes: float64 for rows in float64, float32 for all others."""
    check_exportable(operator.raw_operator)
    given = operator.inputs[0].type
    kind = DoubleTensorType if isinstance(given, DoubleTensorType) else FloatTensorType
    operator.outputs[0].type = kind([given.shape[0], operator.raw_operator.n_components_])


def _add_nodes(scope, operator, container):
    """Add the graph of the encoder to the graph of skl2onnx."""
    given, out = operator.inputs[0], operator.outputs[0]
    dtype = next(dtype for dtype, kind in _TYPES.items() if isinstance(out.type, kind))
    rows = scope.get_unique_variable_name("rows")
    container.add_node("Cast", [given.full_name], [rows], to=helper.np_dtype_to_tensor_dtype(dtype))
    graph, codes = traced(operator.raw_operator, rows, dtype, scope.get_unique_variable_name)
    for constant in graph.constants:
        container.add_initializer(constant.name, constant.data_type, list(constant.dims), constant)
    for node in graph.nodes:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        container.add_node(node.op_type, list(node.input), list(node.output), name=node.name, **attributes)
    container.add_node("Identity", [codes.name], [out.full_name])
