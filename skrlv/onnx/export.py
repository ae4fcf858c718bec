"""A fitted encoder as an ONNX model, alone or as a step of a Pipeline."""

from itertools import count

import numpy as np
import onnx
from onnx import helper
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skrlv.onnx.encoders import check_exportable, traced
from skrlv.onnx.tracing import value_info

OPSET = 18
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def to_onnx(estimator, *, dtype=None):
    r"""The prediction of a fitted encoder, :math:`z = \mathrm{Enc}(x)`, as an ONNX model.

    Parameters
    ----------
    estimator : LISTAEncoder, PredictiveSparseDecomposition, a Pipeline, or a search over one of these
        A fitted estimator. A `PredictiveSparseDecomposition` must have ``inference="encoder"``. The other steps of a
        Pipeline are converted by skl2onnx, which must be installed. Of a search, such as GridSearchCV, the best
        estimator is exported.
    dtype : {"float32", "float64"} or None, default=None
        Dtype of the input, the codes and all intermediate numbers; None is the dtype of ``components_``, and float32
        for a Pipeline.

    Returns
    -------
    onnx.ModelProto
        A model of operator set 18, with the input "X" of shape (n_samples, n_features) and the output "Z" of shape
        (n_samples, n_components). A Pipeline that does not end in codes has the outputs that skl2onnx names.

    Raises
    ------
    TypeError
        If codes are not predicted by an encoder of rows of this library. A `VariationalAutoencoder` is not supported
        yet.
    ValueError
        If dtype is neither float32 nor float64, or the codes minimise the energy (``inference="argmin"``).
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
        ir_version=helper.find_min_ir_version_for(opsets),  # some runtimes cannot read the newest version
        producer_name="skrlv",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _best(estimator):
    """The best estimator of a search; any other estimator is returned unchanged."""
    if hasattr(estimator, "refit") and not hasattr(estimator, "best_estimator_"):
        raise NotFittedError(f"{type(estimator).__name__} has no best_estimator_: fit it, with refit=True.")
    return getattr(estimator, "best_estimator_", estimator)


def _pipeline_to_onnx(pipeline, dtype):
    pipeline = Pipeline([(name, step) for name, step in pipeline.steps if step not in (None, "passthrough")])
    check_is_fitted(pipeline)
    for step in pipeline.named_steps.values():
        if hasattr(type(step), "energy_"):  # a model of this library
            check_exportable(step)
    try:
        from skrlv.onnx.pipelines import convert
    except ImportError as error:
        raise ImportError("A Pipeline is converted by skl2onnx: pip install 'skrlv[onnx]'") from error
    return convert(pipeline, dtype, OPSET)
