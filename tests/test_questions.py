"""Questions that every estimator is asked: what a user takes for granted, whatever the model."""

import inspect
import pickle
import re
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from estimators import (
    ALL,
    CONTAINERS,
    ESTIMATORS,
    MODELS,
    asked,
    assert_finite,
    assert_same_state,
    data,
    every_estimator,
    fitted,
    frame,
    names,
    on_torch,
    raw,
    seeded,
    shaped,
    state_of,
    takes_images,
    takes_sparse,
    untidy,
)
from interrupts import at_most
from sklearn.base import BaseEstimator

import skrlv
import skrlv.preprocessing

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # few passes over few rows; what is wrong is asked below
REFUSED = (ValueError, TypeError)
FLOATS = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def of(estimators):
    """The question is put to these alone."""
    return pytest.mark.parametrize("estimator", estimators, ids=lambda e: names(ALL)[ALL.index(e)])


streaming = of([e for e in MODELS if hasattr(e, "partial_fit")])
of_sparse_rows = of([e for e in ALL if takes_sparse(e)])
of_rows = of([e for e in ALL if not takes_images(e)])
threaded = of([e for e in MODELS if "n_jobs" in e.get_params()])


def close(found, expected, rtol, factor=1.0):
    """Whether arrays agree up to a share of the largest entry of the expected one."""
    expected = factor * np.asarray(expected, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0.0))


def answer_or_complaint(act):
    """What ``act`` returns, and None; or None, and the message of its ValueError or TypeError."""
    try:
        return act(), None
    except REFUSED as error:
        return None, str(error)


# Who is asked


def test_every_public_estimator_is_asked():
    public = [getattr(module, name) for module in (skrlv, skrlv.preprocessing) for name in dir(module)]
    classes = {
        c for c in public if inspect.isclass(c) and issubclass(c, BaseEstimator) and c.__module__ != "sklearn.base"
    }
    assert classes - {BaseEstimator} == {type(e) for e in ALL}


def test_every_model_that_takes_a_device_is_asked_on_torch():
    pytest.importorskip("torch")
    classes = {type(e) for e in ESTIMATORS if "device" in e.get_params()}
    assert {type(e) for e in on_torch(ESTIMATORS)} == classes
    assert classes == {type(e) for e in MODELS if getattr(e, "device", "cpu") == "torch:cpu"}


# The unit of the data


def in_unit(estimator, unit):
    """The same model for data in another unit: whatever has the unit of X is scaled with it."""
    params = estimator.get_params()
    scaled = {
        "lmbda": lambda x: x if isinstance(x, str) else unit * x,
        "lmbdas": lambda x: [unit * value for value in x],
    }
    return seeded(estimator, **{name: scale(params[name]) for name, scale in scaled.items() if name in params})


def powers(name):
    """By which power of the unit an answer grows: an energy is a square."""
    return {"transform": 1, "inverse_transform": 1, "encode": 1, "refine": 1, "score": 0}.get(name, 2)


HAVE_A_UNIT = [
    e
    for e in MODELS
    if getattr(e, "regularizer", "l1") not in ("elastic_net", "l0")  # lmbda is of two units at once, or of its square
]
EXPONENTS = pytest.mark.parametrize("exponent", [-40, 40], ids=["2^-40", "2^40"])


@of(HAVE_A_UNIT)
@EXPONENTS
@FLOATS
def test_the_unit_of_the_data_does_not_change_the_model(estimator, exponent, dtype):
    unit, tolerance = 2.0**exponent, 1e-6 if dtype == np.float64 else 1e-3
    X = data(estimator, dtype=dtype)
    here, there = in_unit(estimator, 1.0).fit(X), in_unit(estimator, unit).fit(X * dtype(unit))
    found, expected = asked(there, X * dtype(unit)), asked(here, X)
    if hasattr(here, "components_"):
        close(there.components_, here.components_, tolerance)
        for name, value in expected.items():
            if name != "score" or not hasattr(here, "encoder_"):  # a mean energy there, R^2 elsewhere
                close(found[name], value, tolerance, unit ** powers(name))
    else:  # codes have no unit, and densities change by a constant
        close(found["transform"], expected["transform"], tolerance)
        close(found["inverse_transform"], expected["inverse_transform"], tolerance, unit)


# What comes in stays as it is


def contained(estimator, kind, X):
    if kind == "sparse" and not takes_sparse(estimator):
        pytest.skip("takes no sparse matrices")
    if kind == "frame" and X.ndim > 2:
        pytest.skip("a frame has two axes")
    return CONTAINERS[kind](X)


@every_estimator
@pytest.mark.parametrize("kind", CONTAINERS)
def test_inputs_stay_as_they_are(estimator, kind):
    X = contained(estimator, kind, data(estimator))
    before = raw(X)
    for learn in ("partial_fit", "fit"):
        model = seeded(estimator)
        if hasattr(model, learn):
            getattr(model, learn)(X)
    Z = model.transform(X)
    Z = untidy(Z) if kind == "sparse" else Z
    codes = raw(Z)
    model.inverse_transform(Z) if hasattr(model, "inverse_transform") else None
    if hasattr(model, "energy"):
        model.energy(X, Z)
        model.score(X)
    for now, then in zip(raw(X) + raw(Z), before + codes, strict=True):
        np.testing.assert_array_equal(now, then)


@every_estimator
def test_read_only_arrays_are_enough(estimator):
    X = data(estimator)
    X.flags.writeable = False
    model = seeded(estimator).fit(X)
    if hasattr(model, "partial_fit"):
        model.partial_fit(X)
    Z = model.transform(X)
    Z.flags.writeable = False
    if hasattr(model, "inverse_transform"):
        model.inverse_transform(Z)
    if hasattr(model, "energy"):
        model.energy(X, Z)


# What was learned stays as it is


@every_estimator
def test_arrays_of_an_earlier_fit_are_not_written(estimator):
    model, X, other = fitted(estimator), data(estimator), data(estimator, seed=1)
    for act in ("partial_fit", "fit", "partial_fit", "transform", "score"):
        held = {name: x for name, x in state_of(model).items() if isinstance(x, np.ndarray)}
        copies = {name: x.copy() for name, x in held.items()}
        if hasattr(model, act):
            getattr(model, act)(X if act == "transform" else other)
        for name, x in held.items():
            np.testing.assert_array_equal(x, copies[name], err_msg=f"{name} was written by {act}")


@every_estimator
def test_a_model_in_a_read_only_memory_map_works_and_learns_on(estimator, tmp_path):
    model, other = fitted(estimator), data(estimator, seed=1)
    joblib.dump(model, tmp_path / "model.pkl")
    mapped = joblib.load(tmp_path / "model.pkl", mmap_mode="r")
    if hasattr(model, "partial_fit"):
        model.partial_fit(other)
        mapped.partial_fit(other)
    np.testing.assert_array_equal(mapped.transform(other), model.transform(other))


# Dtypes, layouts, containers


@every_estimator
@pytest.mark.parametrize("kind", ["C", "Fortran", "sparse", "frame", "every second row"])
@FLOATS
def test_other_data_than_in_fit(estimator, kind, dtype):
    """Shown in another dtype and container than those of `fit`."""
    model = fitted(estimator, np.float32 if dtype == np.float64 else np.float64)
    X = data(estimator)
    expected = asked(model, X)
    found = asked(model, contained(estimator, kind, X.astype(dtype)))
    for name in found.keys() & {"transform", "inverse_transform", "encode"}:
        assert found[name].dtype == dtype
        close(found[name], expected[name], 2e-2)
    for name in found.keys() & {"energy", "energy of Z", "score"}:
        close(found[name], expected[name], 1e-2)


@streaming
def test_a_batch_of_another_scale_is_warned_of(estimator):
    """It would spoil the atoms without a word."""
    model, X = seeded(estimator), data(estimator)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.partial_fit(X).partial_fit(100.0 * X)
    if not hasattr(model, "components_"):
        pytest.skip("its networks are not linear in the data")
    assert not any("times as large as those of the first" in str(w.message) for w in told)
    with pytest.warns(UserWarning, match="times as large as those of the first"):
        model.partial_fit(1e5 * X)


@streaming
@FLOATS
def test_a_stream_may_change_its_dtype(estimator, dtype):
    model, X = fitted(estimator, np.float32 if dtype == np.float64 else np.float64), data(estimator, seed=1)
    model.partial_fit(X.astype(dtype))
    assert_finite(state_of(model) | asked(model, X) | asked(model, X.astype(np.float32)))


@every_estimator
def test_integers_and_lists_are_numbers(estimator):
    model, X = fitted(estimator), np.round(data(estimator))
    expected = model.transform(X)
    for same in (X.astype(np.int8), X.astype(np.int64), X.tolist(), X.astype(object)):
        found, complaint = answer_or_complaint(lambda X=same: model.transform(X))
        if complaint:
            assert re.search(r"\bX\b|dtype|Expected", complaint)
        else:
            assert found.dtype == np.float64
            close(found, expected, 1e-9)


def tensor(X):
    return pytest.importorskip("torch").from_numpy(X.copy())


def polars_frame(X):
    return pytest.importorskip("polars").DataFrame(X, schema=[f"f{i}" for i in range(X.shape[1])])


def arrow_frame(X):
    pytest.importorskip("pyarrow", exc_type=ImportError)
    return frame(X).astype("float32[pyarrow]")


FLOAT32 = {
    "torch": tensor,
    "polars": polars_frame,
    "pyarrow": arrow_frame,
    "big-endian": lambda X: X.astype(">f4"),
    "array-api-strict": lambda X: pytest.importorskip("array_api_strict").asarray(X),
}


@every_estimator
@pytest.mark.parametrize("kind", FLOAT32)
def test_float32_stays_float32_whatever_holds_it(estimator, kind):
    X = data(estimator, dtype=np.float32)
    if X.ndim > 2 and kind in ("polars", "pyarrow"):
        pytest.skip("a frame has two axes")
    held = FLOAT32[kind](X)
    model = seeded(estimator).fit(held)
    assert getattr(model, "components_", X).dtype == np.float32
    codes = model.transform(held)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, fitted(estimator, np.float32).transform(X))
    if hasattr(model, "partial_fit"):
        assert getattr(model.partial_fit(held), "components_", X).dtype == np.float32


@every_estimator
def test_bfloat16_is_widened_to_float32(estimator):
    torch = pytest.importorskip("torch")
    X = tensor(data(estimator)).to(torch.bfloat16)
    model, same = seeded(estimator).fit(X), seeded(estimator).fit(X.float().numpy())
    codes = model.transform(X)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, same.transform(X.float().numpy()))


@every_estimator
def test_a_tensor_that_requires_grad_is_taken_or_the_error_names_detach(estimator):
    X = data(estimator)
    for act in ("fit", "transform", "energy", "partial_fit"):
        model = fitted(estimator)
        if hasattr(model, act):
            ask = getattr(model, act)
            _, complaint = answer_or_complaint(lambda ask=ask: ask(tensor(X).requires_grad_()))
            assert complaint is None or "X.detach()" in complaint


@every_estimator
@pytest.mark.parametrize("held", [np.asarray, tensor], ids=["numpy", "torch"])
def test_array_api_dispatch_changes_nothing(estimator, held, monkeypatch):
    pytest.importorskip("scipy", "1.14")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn asks for it
    model, X = fitted(estimator), data(estimator)
    with sklearn.config_context(array_api_dispatch=True):
        found = seeded(estimator).fit(held(X)).transform(held(X))
    np.testing.assert_array_equal(np.asarray(found), model.transform(X))


# Masks


def masked(X, mask):
    return np.ma.MaskedArray(X, mask=mask)


@every_estimator
@pytest.mark.parametrize("act", ["fit", "partial_fit", "transform", "energy", "score_samples", "score"])
def test_masked_entries_are_refused(estimator, act):
    """The codes of hidden values are no answer, and neither is an error that does not name the mask."""
    model, X = fitted(estimator), data(estimator)
    hidden, before = np.zeros(X.shape, bool), state_of(model)
    hidden.flat[5] = True
    if not hasattr(model, act):
        pytest.skip(f"has no {act}")
    with pytest.raises(REFUSED, match="mask"):
        getattr(model, act)(masked(X, hidden))
    assert_same_state(model, before)


@every_estimator
@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]"])
def test_dates_are_refused(estimator, dtype):
    """As numbers they would be seconds since 1970."""
    X = (1e6 * data(estimator)).astype(np.int64).astype(dtype)
    with pytest.raises(REFUSED, match="dates or durations"):
        seeded(estimator).fit(X)
    with pytest.raises(REFUSED, match="dates or durations"):
        fitted(estimator).transform(X)


@every_estimator
def test_a_mask_that_hides_nothing_is_fine(estimator):
    X = data(estimator)
    for mask in (False, np.zeros(X.shape, bool)):
        model = seeded(estimator).fit(masked(X, mask))
        np.testing.assert_array_equal(model.transform(masked(X, mask)), fitted(estimator).transform(X))


# The ends of the range


OUT_OF_RANGE = r"(?i)overflow|underflow|vanish|square|spread|scale|magnitude|too (large|small)"


def finite_or_refused(act):
    """What ``act`` gives is finite, soon, or it says that numbers are out of range."""
    with at_most(seconds=5):
        found, complaint = answer_or_complaint(act)
    if complaint:
        assert re.search(OUT_OF_RANGE, complaint), complaint
    else:
        assert_finite(found)


def fit_and_answers(model, X):
    def act():
        model.fit(X)
        return state_of(model) | asked(model, X)

    return act


ENDS = [1e300, 1e150, 1e-160, 1e-300, 5e-324, 1e38, 1e-40, 3e-45]


@every_estimator
@pytest.mark.parametrize("scale", ENDS, ids=str)
def test_at_the_ends_of_the_range_results_are_finite_or_refused(estimator, scale):
    """The last three in float32."""
    X, dtype = np.round(data(estimator, 8)), np.float32 if scale in ENDS[-3:] else np.float64
    with np.errstate(all="ignore"):
        X = (X / np.abs(X).max() * 100).round() / (1.0 if scale < 1e-310 else 100.0)
        X = (X * scale).astype(dtype)
    assert np.isfinite(X).all()
    assert X.any()
    finite_or_refused(fit_and_answers(in_unit(estimator, scale), X))


@of([e for e in MODELS if "lmbda" in e.get_params()])
@pytest.mark.parametrize("scale", [1e-160, 1e-20, 1e20, 1e150], ids=str)
def test_at_the_ends_of_the_range_without_a_penalty(estimator, scale):
    finite_or_refused(fit_and_answers(seeded(estimator, lmbda=0.0, max_iter=2), scale * data(estimator, 8)))


@every_estimator
@pytest.mark.parametrize("scale", [1e60, 1e-60, 1e300, 1e-300], ids=str)
def test_a_model_of_float32_shown_another_scale(estimator, scale):
    model, X = fitted(estimator, np.float32), data(estimator, 8)
    finite_or_refused(lambda: asked(model, scale * X / np.abs(X).max()))


# Tiny and dull data


def some_zeros(X):
    return np.where(np.arange(len(X))[:, None] % 3 == 0, 0.0, X)


DULL = {
    "constant columns": lambda X: np.where(np.arange(12) < 6, 1.0, X),
    "constant": lambda X: np.full_like(X, 3.0),
    "all zeros": np.zeros_like,
    "some rows of zeros": some_zeros,
    "one row": lambda X: X[:1],
    "two rows": lambda X: X[:2],
    "duplicated rows": lambda X: np.repeat(X[:3], 5, axis=0),
    "one column": lambda X: X[:, :1],
    "two columns": lambda X: X[:, :2],
}
NEEDS_MORE = {"SparseCoderCV": "one row", "ConvSparseCoder": "one column", "ConvSparseAutoencoder": "one column"}


@every_estimator
@pytest.mark.parametrize("kind", DULL)
def test_finite_out_of_dull_data(estimator, kind):
    X = DULL[kind](data(estimator).reshape(-1, 12))
    if "column" in kind and kind != "constant columns" and (takes_images(estimator) or hasattr(estimator, "cutoff")):
        pytest.skip("its images have a shape")
    model, X = seeded(estimator), X if X.shape[1] < 12 else shaped(estimator, X)
    if NEEDS_MORE.get(type(estimator).__name__) == kind:
        with pytest.raises(ValueError, match=r"n_splits|n_samples|kernel_size"):
            model.fit(X)
    else:
        model.fit(X)
        assert_finite(state_of(model) | asked(model, X))


# Data that are wrong


def wrong(kind, X):
    with_one = np.array(X)
    with_one.flat[7] = {"NaN": np.nan, "infinity": -np.inf}.get(kind, 0.0)
    return {
        "NaN": with_one,
        "infinity": with_one,
        "too narrow": X[..., :-1],
        "too wide": np.concatenate([X, X], axis=-1),
        "no rows": X[:0],
        "no columns": X[..., :0],
        "one axis": X.ravel(),
        "four axes more": X[:, None, None, None, None],
        "complex": X * 1j,
        "strings": np.full(X.shape, "a"),
        "None": None,
        "a number": 3.0,
    }[kind]


NAMED = r"\bX\b|Expected 2D array|Found array|Complex data|could not convert|Reshape your data|expecting \d+ features"


@every_estimator
@pytest.mark.parametrize("kind", ["NaN", "infinity", "too narrow", "too wide", "no rows", "no columns", "one axis"])
@pytest.mark.parametrize("act", ["fit", "partial_fit", "transform", "energy", "score"])
def test_wrong_data_are_refused(estimator, act, kind):
    refuses_wrong_data(estimator, act, kind)


@every_estimator
@pytest.mark.parametrize("kind", ["four axes more", "complex", "strings", "None", "a number"])
@pytest.mark.parametrize("act", ["fit", "transform"])
def test_what_are_no_numbers_is_refused(estimator, act, kind):
    refuses_wrong_data(estimator, act, kind)


def takes_any_size(model):
    """The methods that do not ask for the size of X in `fit`: streams of images, and filters."""
    return ["fit", *["partial_fit"] * takes_images(model), *["transform"] * hasattr(model, "floor_")]


def refuses_wrong_data(estimator, act, kind):
    model = fitted(estimator)
    if not hasattr(model, act):
        pytest.skip(f"has no {act}")
    if kind in ("too narrow", "too wide") and act in takes_any_size(model):
        pytest.skip("another width is allowed")
    before = state_of(model)
    with pytest.raises(REFUSED, match=NAMED):
        getattr(model, act)(wrong(kind, data(estimator)))
    assert_same_state(model, before)


# The same bits


@every_estimator
def test_pickled_models_go_on_to_the_same_bits(estimator):
    model, X, other = fitted(estimator), data(estimator), data(estimator, seed=1)
    copy = pickle.loads(pickle.dumps(model))
    for each in (model, copy):
        each.partial_fit(other) if hasattr(each, "partial_fit") else each.fit(other)
    again = pickle.loads(pickle.dumps(copy))
    assert_same_state(again, state_of(model))
    for name, value in asked(model, X).items():
        np.testing.assert_array_equal(asked(again, X)[name], value, err_msg=name)


@threaded
def test_the_same_bits_for_every_n_jobs(estimator):
    X = data(estimator, 600)
    one, two = (seeded(estimator, max_iter=1, n_jobs=n_jobs).fit(X) for n_jobs in (1, 2))
    assert_same_state(two, state_of(one))
    for name in ("transform", "energy"):
        np.testing.assert_array_equal(getattr(two, name)(X), getattr(one, name)(X))
