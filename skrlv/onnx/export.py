"""A fitted encoder as an ONNX model, alone or as a step of a Pipeline."""

from itertools import count

import numpy as np
import onnx
from onnx import helper
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import to_numpy
from skrlv.models.base import LatentVariableModel
from skrlv.models.dictionary import DictionaryModel
from skrlv.onnx.tracing import Graph, value_info

OPSET = 18
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def to_onnx(estimator, *, dtype=None):
    r"""The prediction of a fitted encoder, :math:`z = \mathrm{Enc}(x)`, as an ONNX model.

    Parameters
    ----------
    estimator : LISTAEncoder, PredictiveSparseDecomposition, a Pipeline, or a search over one of these
        Fitted. A `PredictiveSparseDecomposition` must have ``inference="encoder"``. Other steps of a Pipeline are
        converted by skl2onnx, which must be installed. Of a search, such as GridSearchCV, it is the best estimator.
    dtype : {"float32", "float64"} or None, default=None
        Of rows, codes and all between; None is that of ``components_``, and float32 for a Pipeline.

    Returns
    -------
    onnx.ModelProto
        Of operator set 18. Alone: input "X" of shape (n_samples, n_features), output "Z" of shape (n_samples,
        n_components). A Pipeline's outputs have the names that skl2onnx gives.

    Raises
    ------
    TypeError
        If codes are not predicted by an encoder of this library.
    ValueError
        If dtype is another, or they are searched for.
    ImportError
        If a Pipeline is given and skl2onnx is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx.reference import ReferenceEvaluator
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import LISTAEncoder
    >>> from skrlv.onnx import to_onnx
    >>> X = load_digits().data.astype(np.float32) / 16
    >>> encoder = LISTAEncoder(16, lmbda=0.3, max_iter=5, random_state=0).fit(X)
    >>> Z, = ReferenceEvaluator(to_onnx(encoder)).run(None, {"X": X})
    >>> bool(np.allclose(Z, encoder.transform(X), atol=1e-5))
    True
    """
    if dtype is not None and np.dtype(dtype) not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} must be 'float32' or 'float64'.")
    estimator = _best(estimator)
    if isinstance(estimator, Pipeline):
        return _pipeline_to_onnx(estimator, dtype or np.float32)
    check_exportable(estimator)
    dtype, numbers = np.dtype(dtype or estimator.components_.dtype), count()
    graph, codes = traced(estimator, "X", dtype, lambda name: f"{name}_{next(numbers)}")
    graph.nodes.append(helper.make_node("Identity", [codes.name], ["Z"]))
    ends = [value_info("X", estimator.n_features_in_, dtype)], [value_info("Z", estimator.n_components_, dtype)]
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, type(estimator).__name__, *ends, initializer=graph.constants),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),  # the newest is not what every runtime reads
        producer_name="skrlv",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _best(estimator):
    """Of a search the estimator that it found, and anything else itself."""
    if hasattr(estimator, "refit") and not hasattr(estimator, "best_estimator_"):
        raise NotFittedError(f"{type(estimator).__name__} has no best_estimator_: fit it, with refit=True.")
    return getattr(estimator, "best_estimator_", estimator)


def check_exportable(estimator):
    """Refuse what has no graph."""
    if not getattr(estimator, "_has_encoder", False):
        raise TypeError(
            f"{type(estimator).__name__} cannot be exported: its codes are not predicted by an encoder. "
            "LISTAEncoder learns to predict them."
        )
    if not isinstance(estimator, DictionaryModel):
        raise TypeError(f"{type(estimator).__name__} cannot be exported: only encoders of rows are.")
    check_is_fitted(estimator)
    if getattr(estimator, "inference", "encoder") != "encoder":
        raise ValueError("Codes at the minimum of the energy are searched for; only inference='encoder' is exported.")
    if type(estimator.encoder_).__name__ == "ModuleEncoder":
        raise TypeError("encoder= is a torch module: export encoder_.to_module() by torch.onnx.export.")


def traced(estimator, name, dtype, unique):
    """The `Graph` of its encoder on the input of that name, and the codes in it."""
    graph = Graph(name, estimator.n_features_in_, dtype, unique)
    encoder = estimator.encoder_.mapped(lambda value: to_numpy(value).astype(dtype))
    return graph, encoder(graph.input)


def _pipeline_to_onnx(pipeline, dtype):
    pipeline = Pipeline([(name, step) for name, step in pipeline.steps if step not in (None, "passthrough")])
    check_is_fitted(pipeline)
    for step in pipeline.named_steps.values():
        if isinstance(step, LatentVariableModel):
            check_exportable(step)
    try:
        from skrlv.onnx.pipelines import convert
    except ImportError as error:
        raise ImportError("A Pipeline is converted by skl2onnx: pip install 'skrlv[onnx]'") from error
    return convert(pipeline, dtype, OPSET)
