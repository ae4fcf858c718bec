"""Encoders as ONNX graphs: the same codes in the reference evaluator and in onnxruntime, alone and in pipelines."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrlv import (
    ConvSparseAutoencoder,
    LISTAEncoder,
    PredictiveSparseDecomposition,
    SparseCoder,
    VariationalAutoencoder,
)

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from skrlv.onnx import to_onnx  # noqa: E402

ARCHITECTURES = ["lista", "step", "alista", "hyperlista"]


@pytest.fixture(scope="module")
def digits():
    return load_digits().data / 16.0


def by_reference(model, X):
    return ReferenceEvaluator(model).run(None, {"X": X})


def by_runtime(model, X):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": X})


in_each_runtime = pytest.mark.parametrize("run", [by_reference, by_runtime])


def lista(**options):
    return LISTAEncoder(16, **{"lmbda": 0.3, "max_iter": 2, "tol": 0.0, "random_state": 0} | options)


def assert_same_codes(estimator, model, run, X):
    codes = estimator.transform(X)
    (found,) = run(model, X)
    assert found.dtype == codes.dtype
    assert found.shape == codes.shape
    np.testing.assert_allclose(found, codes, atol=1e-5 if X.dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(found == 0.0, codes == 0.0)


@in_each_runtime
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_predicts_the_same(architecture, dtype, positive, run, digits):
    X = digits[:600].astype(dtype)
    encoder = lista(architecture=architecture, positive=positive).fit(X)
    assert_same_codes(encoder, to_onnx(encoder), run, X)


@in_each_runtime
@pytest.mark.parametrize("encoder", ["tanh", "shrinkage", "lista"])
def test_predictive_sparse_decomposition_predicts_the_same(encoder, run, digits):
    model = PredictiveSparseDecomposition(16, lmbda=0.3, encoder=encoder, max_iter=2, tol=0.0, random_state=0)
    model.fit(digits[:600])
    assert_same_codes(model, to_onnx(model), run, digits)


@in_each_runtime
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batches_of_any_size(architecture, run, digits):
    encoder = lista(architecture=architecture).fit(digits[:300])
    model = to_onnx(encoder)
    for n in (1, 2, 3, 100):
        assert_same_codes(encoder, model, run, digits[:n])


@pytest.mark.parametrize("options", [{"n_layers": 0}, {"tied": False}, {"n_layers": 5}])
def test_depth_and_ties(options, digits):
    encoder = lista(**options).fit(digits[:300])
    assert_same_codes(encoder, to_onnx(encoder), by_reference, digits)


def test_another_dtype_than_the_encoder_s(digits):
    encoder = lista().fit(digits[:300])
    model = to_onnx(encoder, dtype="float32")
    assert [output.name for output in model.graph.output] == ["Z"]
    (codes,) = by_reference(model, digits.astype(np.float32))
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, encoder.transform(digits), atol=1e-5)


def test_learned_on_a_device(digits):
    pytest.importorskip("torch")
    encoder = lista(device="torch:cpu").fit(digits[:300])
    assert_same_codes(encoder, to_onnx(encoder), by_reference, digits)


# at the end of a pipeline, and in the middle of one


@in_each_runtime
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", [lista(lmbda="auto"), PredictiveSparseDecomposition(16, max_iter=2, tol=0.0)])
def test_a_pipeline_ends_in_codes(last, dtype, run, digits):
    pytest.importorskip("skl2onnx")
    pipeline = make_pipeline(StandardScaler(), last).fit(digits[:600])
    model = to_onnx(pipeline, dtype=dtype)
    assert [output.name for output in model.graph.output] == ["Z"]
    (codes,) = run(model, digits.astype(dtype))
    assert codes.dtype == dtype
    np.testing.assert_allclose(codes, pipeline.transform(digits), atol=1e-3 if dtype == "float32" else 1e-10)


@in_each_runtime
def test_codes_go_on_into_a_classifier(run, digits):
    pytest.importorskip("skl2onnx")
    labels = load_digits().target
    pipeline = make_pipeline(StandardScaler(), lista(), LogisticRegression(max_iter=300)).fit(
        digits[:600], labels[:600]
    )
    predicted, probabilities = run(to_onnx(pipeline), digits.astype(np.float32))
    np.testing.assert_array_equal(predicted, pipeline.predict(digits))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(digits), atol=1e-3)


@pytest.mark.parametrize("classifier", [RidgeClassifier(), KNeighborsClassifier(3)])
def test_classifiers_of_either_kind(classifier, digits):
    pytest.importorskip("skl2onnx")
    labels = load_digits().target
    pipeline = make_pipeline(lista(), classifier).fit(digits[:600], labels[:600])
    predicted = by_runtime(to_onnx(pipeline), digits.astype(np.float32))[0]
    assert np.mean(predicted == pipeline.predict(digits)) > 0.99  # neighbours may tie


@pytest.mark.parametrize("nothing", ["passthrough", None])
def test_steps_that_do_nothing_are_left_out(nothing, digits):
    pytest.importorskip("skl2onnx")
    pipeline = Pipeline([("scaler", nothing), ("codes", lista())]).fit(digits[:300])
    (codes,) = by_runtime(to_onnx(pipeline), digits.astype(np.float32))
    np.testing.assert_allclose(codes, pipeline.transform(digits), atol=1e-4)


def test_a_search_gives_its_best(digits):
    search = GridSearchCV(lista(), {"n_layers": [0, 1]}, cv=2).fit(digits[:300])
    assert_same_codes(search.best_estimator_, to_onnx(search), by_reference, digits)


# what has no graph


@pytest.mark.parametrize(
    ("estimator", "kind", "message"),
    [
        (SparseCoder(4, max_iter=1), TypeError, "not predicted by an encoder"),
        (make_pipeline(StandardScaler(), SparseCoder(4, max_iter=1)), TypeError, "not predicted by an encoder"),
        (PredictiveSparseDecomposition(4, max_iter=1, inference="argmin"), ValueError, "inference='encoder'"),
        (VariationalAutoencoder(2, max_iter=1), TypeError, "variational autoencoders is not supported yet"),
        (make_pipeline(VariationalAutoencoder(2, max_iter=1)), TypeError, "VariationalAutoencoder cannot be exported"),
        (ConvSparseAutoencoder(2, (3, 3), signal_shape=(8, 8), max_iter=1), TypeError, "only encoders of rows"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_predicted_by_an_encoder_of_rows_is_refused(estimator, kind, message, digits):
    with pytest.raises(kind, match=message):
        to_onnx(estimator.fit(digits[:200]))


@pytest.mark.parametrize(
    "estimator",
    [lista(), PredictiveSparseDecomposition(4), make_pipeline(lista()), GridSearchCV(lista(), {"n_layers": [0]})],
)
def test_what_has_not_learned_is_refused(estimator):
    with pytest.raises(NotFittedError):
        to_onnx(estimator)


def test_a_torch_module_is_exported_by_torch(digits):
    torch = pytest.importorskip("torch")
    model = PredictiveSparseDecomposition(
        4, lmbda=0.3, encoder=torch.nn.Linear(64, 4), device="torch:cpu", max_iter=1, tol=0.0
    )
    with pytest.raises(TypeError, match="to_module"):
        to_onnx(model.fit(digits[:200]))


def test_other_dtypes_are_refused(digits):
    with pytest.raises(ValueError, match="dtype='float16'"):
        to_onnx(lista().fit(digits[:100]), dtype="float16")
