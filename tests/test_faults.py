"""Faults that users found by trying, each with the least input that shows it and what they would have expected."""

import pickle
import tracemalloc
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import sklearn
from estimators import assert_same_state, seeded, state_of
from interrupts import at_most, interrupted_at_write
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skrlv import (
    ConvSparseAutoencoder,
    ConvSparseCoder,
    FISTACoder,
    LISTAEncoder,
    PredictiveSparseDecomposition,
    SparseCoder,
    SparseCoderCV,
    VariationalAutoencoder,
    duality_gap,
    lmbda_path,
    sparse_encode,
)
from skrlv.datasets import make_sparse_signals
from skrlv.learning import unit_rows, update_kernels
from skrlv.regularizers import L1, Regularizer

X = load_digits().data / 16.0
IMAGES = load_digits().images / 16.0
quietly = pytest.mark.filterwarnings("ignore::UserWarning")

CONVOLUTIONAL = [ConvSparseCoder(6, (4, 4), lmbda=0.4), ConvSparseAutoencoder(6, (4, 4), lmbda=0.4)]
DENSE = [SparseCoder(8, lmbda=0.5), FISTACoder(8, lmbda=0.5), PredictiveSparseDecomposition(8, lmbda=0.5)]
NETWORKS = [VariationalAutoencoder(3, hidden_layer_sizes=(8,), tol=0)]


def each(*models):
    return pytest.mark.parametrize("model", models, ids=lambda model: type(model).__name__)


def of_digits(model, rows):
    return (IMAGES if "kernel_size" in model.get_params() else X)[rows]


def copied(model):
    return pickle.loads(pickle.dumps(model))


@contextmanager
def peak_memory():
    """A list that holds, after the block, the most bytes that the block held at once."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@contextmanager
def one_warning(category, match):
    """Exactly one warning, which matches."""
    with pytest.warns(category, match=match) as caught:
        yield
    assert len(caught) == 1, [str(each.message) for each in caught]


# 1: units


@pytest.mark.parametrize("exponent", [0, -40, 40, -60, -600, 600])
def test_a_kernel_at_its_minimum_in_the_unit_ball_has_no_unit(exponent):
    """The problem with eigenvalues 1 and 2, whose minimum is known, in another unit."""
    unit, minus, plus = 2.0**exponent, np.array([1.0, -1.0]) / np.sqrt(2), np.array([1.0, 1.0]) / np.sqrt(2)
    products = unit * np.array([0.5, 1.5, 0.5]).reshape(1, 1, 3)
    target = unit * (3.0 * minus + 4.0 * plus)
    kernel = update_kernels(np.zeros((1, 2)), products, target.reshape(1, 2, 1))[0]
    np.testing.assert_allclose(kernel, 0.67673 * minus + 0.73623 * plus, atol=1e-5)
    assert np.linalg.norm(kernel) == pytest.approx(1.0, rel=1e-9)


@quietly
@pytest.mark.parametrize("exponent", [-40, 40])
def test_kernels_of_digits_have_no_unit(exponent):
    unit = 2.0**exponent
    here, there = (
        ConvSparseCoder(4, (3, 3), lmbda=0.4 * u, max_iter=4, tol=0, random_state=0).fit(IMAGES[:60] * u)
        for u in (1.0, unit)
    )
    np.testing.assert_allclose(there.components_, here.components_, atol=1e-9)
    np.testing.assert_allclose(there.energy_history_, here.energy_history_ * unit**2, rtol=1e-9)


@quietly
@pytest.mark.parametrize("exponent", [-84, 84])
@pytest.mark.parametrize("architecture", ["lista", "step", "alista", "hyperlista"])
def test_predictions_in_float32_have_no_unit(architecture, exponent):
    unit, data = 2.0**exponent, X[:100].astype(np.float32)
    here, there = (
        LISTAEncoder(8, lmbda=0.5 * u, architecture=architecture, max_iter=3, random_state=0).fit(data * np.float32(u))
        for u in (1.0, unit)
    )
    found = there.transform(data * np.float32(unit)).astype(np.float64) / unit
    np.testing.assert_allclose(found, here.transform(data), atol=1e-3)


# 2: what was learned is not written


@quietly
@each(*CONVOLUTIONAL)
def test_a_stream_does_not_write_into_kernels_that_were_given_out(model):
    model = seeded(model).partial_fit(IMAGES[:100])
    given_out = model.components_
    copy = given_out.copy()
    model.partial_fit(IMAGES[100:200])
    np.testing.assert_array_equal(given_out, copy)


# 3: one gap


def test_the_gap_of_a_code_far_too_large_is_measured_by_the_code_of_zero():
    """By hand: energy 143.5, gap 143.60405, and 1/2 norm(x)^2 = 0.5."""
    assert duality_gap([[1, 0, 0]], [[10, 10, 10]], np.eye(3), 0.1)[0] == pytest.approx(143.60405 / 0.5, rel=1e-6)


# 4, 5, 24, 25: functions take what estimators take


def test_functions_refuse_masked_entries():
    hidden = np.ma.MaskedArray(X[:5], mask=X[:5] > 0.9)
    for function in (sparse_encode, lambda x, D, lmbda: lmbda_path(x, D, [lmbda])):
        with pytest.raises((ValueError, TypeError), match="mask"):
            function(hidden, X[5:9], 0.5)


def test_functions_leave_sparse_matrices_as_they_are():
    rows = sparse.csr_matrix((np.ones(4), [3, 1, 1, 0], [0, 2, 4]), shape=(2, 64))
    before = [rows.data.copy(), rows.indices.copy(), rows.indptr.copy()]
    sparse_encode(rows, X[:5], 0.5)
    lmbda_path(rows, X[:5], [0.5])
    for now, then in zip((rows.data, rows.indices, rows.indptr), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_bernoulli_likelihood_leaves_sparse_matrices_as_they_are():
    rows = sparse.csr_matrix((np.full(4, 0.5), [3, 1, 1, 0], [0, 2, 4]), shape=(2, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bernoulli().fit(rows).transform(rows)
    np.testing.assert_array_equal(rows.indices, [3, 1, 1, 0])


@pytest.mark.parametrize("dispatch", [False, True])
def test_functions_take_tensors(dispatch, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    rows, atoms = X[:5].astype(np.float32), X[5:9].astype(np.float32)
    with sklearn.config_context(array_api_dispatch=dispatch):
        codes = sparse_encode(torch.from_numpy(rows), torch.from_numpy(atoms), 0.5)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(codes), sparse_encode(rows, atoms, 0.5))


# 10: what messages say


def test_the_export_of_a_variational_autoencoder_is_not_refused_for_a_false_reason():
    export = pytest.importorskip("skrlv.onnx").to_onnx
    model = seeded(NETWORKS[0], max_iter=1).fit(X[:50])
    with pytest.raises(TypeError, match="VariationalAutoencoder") as refused:
        export(model)
    assert "not predicted by an encoder" not in str(refused.value)


@pytest.mark.parametrize(("low", "high", "said"), [(0.0, 1.002, "1.002"), (-0.002, 1.0, "-0.002")])
def test_the_error_of_a_range_shows_that_it_is_left(low, high, said):
    model = VariationalAutoencoder(2, likelihood="bernoulli", max_iter=1)
    with pytest.raises(ValueError, match=said):
        model.fit(low + (high - low) * X[:50])


def test_the_gap_that_a_warning_tells_is_the_gap_of_the_codes():
    atoms = unit_rows(X[300:332])[0]
    coder = SparseCoder(dictionary=atoms, lmbda=0.3, code_tol=1e-300).fit(X[:1])
    with pytest.warns(ConvergenceWarning, match="tolerance") as caught:
        codes = coder.transform(X[:100])
    told = float(str(caught[0].message).split("ended at ")[1].split()[0].rstrip("."))
    worst = duality_gap(X[:100], codes, atoms, 0.3).max()
    assert 0.1 * worst <= told <= 10.0 * worst


def test_the_usage_of_atoms_that_a_predictor_learned():
    usage = LISTAEncoder(8, lmbda=0.5, max_iter=2, random_state=0).fit(X[:200]).atom_usage_
    assert usage.shape == (8,)
    assert ((usage >= 0.0) & (usage <= 1.0)).all()


def test_codes_of_few_rows_on_many_atoms_are_not_called_dense():
    atoms = unit_rows(X[100:1100])[0]
    coder = SparseCoder(dictionary=atoms, lmbda=0.05).fit(X[:10])  # a warning is an error
    assert (coder.transform(X[:10]) != 0).mean() < 0.1


# 11: atoms in another order


REORDERED = each(*DENSE, *CONVOLUTIONAL)


def maps_of(model, data):
    """Codes with atoms on the last axis."""
    return model.encode(data) if hasattr(model, "encode") else model.transform(data)


@quietly
@REORDERED
def test_atoms_sorted_by_use_are_the_same_model(model):
    data = of_digits(model, slice(100))
    model = seeded(model, max_iter=3).fit(data)
    as_learned = copied(model)
    assert model.reorder() is model
    usage, order = model.atom_usage_, np.argsort(-as_learned.atom_usage_, kind="stable")
    assert (np.diff(usage) <= 0).all()
    np.testing.assert_array_equal(model.components_, as_learned.components_[order])
    np.testing.assert_array_equal(usage, as_learned.atom_usage_[order])
    np.testing.assert_allclose(maps_of(model, data), maps_of(as_learned, data)[..., order], atol=1e-3)
    np.testing.assert_allclose(model.energy(data), as_learned.energy(data), rtol=1e-3)


@quietly
@REORDERED
def test_a_stream_goes_on_with_atoms_in_another_order(model):
    data, more = of_digits(model, slice(200)), of_digits(model, slice(200, 260))
    model = seeded(model, max_iter=3, batch_size=100).fit(data)
    as_learned = copied(model).partial_fit(more)
    model.reorder(np.arange(model.n_components_)[::-1]).partial_fit(more)
    assert model.energy(data).mean() == pytest.approx(as_learned.energy(data).mean(), rel=2e-2)


@quietly
@pytest.mark.parametrize("order", [[0, 1], [0] * 8, list(range(1, 9)), "usage", [0.5] * 8])
def test_an_order_that_is_none_is_refused(order):
    model = seeded(DENSE[0], max_iter=1).fit(X[:50])
    before = state_of(model)
    with pytest.raises((ValueError, TypeError), match="order"):
        model.reorder(order)
    assert_same_state(model, before)


# 12: what is worth a warning


STOPPED = each(
    *DENSE, *CONVOLUTIONAL, LISTAEncoder(8, lmbda=0.5), SparseCoderCV(8, lmbdas=[0.5, 0.25], cv=2)
)  # where learning is far from its end


@STOPPED
def test_a_fit_that_max_iter_ends_too_early_warns(model):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        seeded(model, max_iter=3, tol=1e-9).fit(of_digits(model, slice(150)))


@pytest.mark.filterwarnings("ignore:The predictions are no better")
@STOPPED
def test_a_fit_that_was_to_make_all_passes_does_not(model):
    seeded(model, max_iter=3, tol=0.0).fit(of_digits(model, slice(150)))


@quietly
@each(*DENSE, *CONVOLUTIONAL, LISTAEncoder(8, lmbda=0.5))
def test_lmbda_set_after_fit_is_not_ignored_in_silence(model):
    data = of_digits(model, slice(60))
    model = seeded(model, max_iter=1).fit(data)
    model.set_params(lmbda=2.0)
    with one_warning(UserWarning, "lmbda"):
        model.transform(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.transform(data)


@quietly
def test_beta_set_after_fit_is_not_ignored_in_silence():
    model = seeded(VariationalAutoencoder(2, hidden_layer_sizes=(4,), max_iter=1)).fit(X[:60]).set_params(beta=2.0)
    with one_warning(UserWarning, "beta"):
        model.transform(X[:60])


@quietly
@pytest.mark.parametrize("change", [{"positive": True}, {"n_components": 9}, {"l2": 0.5}], ids=str)
def test_what_shapes_a_model_set_after_fit_is_not_ignored_in_silence(change):
    model = seeded(DENSE[0], max_iter=1).fit(X[:60]).set_params(**change)
    with one_warning(UserWarning, next(iter(change))):
        model.transform(X[:60])


@quietly
def test_what_is_computed_set_after_fit_is_read_without_a_warning():
    model = seeded(DENSE[0], max_iter=1).fit(X[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(code_tol=1e-3, n_jobs=1, sparse_output=True, max_iter=7, batch_size=5, tol=0.1).transform(
            X[:60]
        )


def test_channels_that_stand_before_time_are_not_taken_for_positions_in_silence(rng):
    trials = rng.normal(size=(8, 20, 300))  # (trials, channels, time)
    with pytest.warns(UserWarning, match="channel"):
        ConvSparseCoder(2, 16, max_iter=1, tol=0, random_state=0).fit(trials)


@each(SparseCoder(8, lmbda=0.5), FISTACoder(8, lmbda=0.5), PredictiveSparseDecomposition(8, lmbda=0.5))
def test_one_row_of_another_scale_does_not_spoil_atoms_in_silence(model):
    data = X[:300] - X[:300].mean(axis=0)
    data[17] *= 1e4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seeded(model, max_iter=2, tol=0).fit(data)
    assert any("row at index 17" in str(warning.message) for warning in caught)


# 13: callbacks


class Watch:
    """A callback that keeps what it sees at the end of each pass."""

    def __init__(self):
        self.passes, self.told = [], 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **_):
        pass

    def on_fit_task_end(self, estimator, context, **_):
        self.told += 1
        if "pass" in context.task_name and context.parent.parent is None:
            seen = np.array(estimator.components_) if hasattr(estimator, "components_") else None
            self.passes.append((len(estimator.energy_history_), estimator.n_iter_, seen))


callbacks = pytest.mark.skipif(not hasattr(SparseCoder, "set_callbacks"), reason="scikit-learn 1.9")


@quietly
@callbacks
@each(*DENSE, *CONVOLUTIONAL, *NETWORKS, LISTAEncoder(8, lmbda=0.5))
def test_a_callback_sees_what_has_been_learned_so_far(model):
    watch = Watch()
    fitted = seeded(model, max_iter=3).set_callbacks(watch).fit(of_digits(model, slice(60)))
    lengths, counts, seen = zip(*watch.passes, strict=True)
    assert lengths == counts == (1, 2, 3)[: fitted.n_iter_]
    if not isinstance(model, LISTAEncoder | VariationalAutoencoder):  # its atoms are learned before
        assert not np.array_equal(seen[0], seen[1])
        np.testing.assert_array_equal(seen[-1], fitted.components_)


@quietly
@callbacks
def test_a_callback_sees_batches():
    watch = Watch()
    seeded(DENSE[0], max_iter=2, tol=0, batch_size=50).set_callbacks(watch).fit(X[:300])
    assert watch.told >= 2 * 6


@quietly
@callbacks
def test_scikit_learns_monitor_logs_scores():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring={"score": lambda fitted, X, y: fitted.score(X)})
    model = seeded(DENSE[0], max_iter=3, tol=0).set_callbacks(monitor).fit(X[:60], np.zeros(60))
    scores = [entry["score"] for entry in monitor.get_logs().data if "score" in entry]
    assert len(scores) >= 3
    assert scores[-1] == pytest.approx(model.score(X[:60]), abs=1e-6)


# 14: a little beyond the range


def bernoulli(**options):
    return VariationalAutoencoder(
        2, likelihood="bernoulli", hidden_layer_sizes=(4,), max_iter=2, tol=0, random_state=0, **options
    )


@quietly
def test_data_a_little_beyond_the_range_are_clipped_with_one_warning():
    model = bernoulli().fit(X[:100])
    with one_warning(UserWarning, "clipped"):
        found = model.score_samples(X[:100] * (1.0 + 5e-4))
    np.testing.assert_allclose(found, model.score_samples(np.minimum(X[:100] * (1.0 + 5e-4), 1.0)), rtol=1e-9)
    with one_warning(UserWarning, "clipped"):
        model.transform(X[:100] - 5e-4)
    with pytest.raises(ValueError, match=r"1\.2"):
        model.transform(X[:100] * 1.2)


@quietly
def test_a_grid_search_behind_a_scaler_has_scores():
    data = np.random.default_rng(0).uniform(size=(120, 6))
    data[-1] = 1.0004
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), bernoulli()),
        {"variationalautoencoder__beta": [0.5, 1.0]},
        cv=3,
        error_score="raise",
    ).fit(data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# 15, 19, 29: bounded work


@quietly
@pytest.mark.parametrize(
    ("model", "scale"),
    [
        (LISTAEncoder(8, architecture="alista", objective="energy"), 1e38),
        (LISTAEncoder(8, architecture="alista", objective="energy"), 1e-20),
        (LISTAEncoder(8, architecture="hyperlista", objective="energy"), 1e38),
        (LISTAEncoder(8, architecture="hyperlista", objective="energy"), 1e-20),
    ],
)
def test_learning_few_numbers_takes_bounded_work(model, scale):
    with at_most(seconds=5):
        seeded(model).fit(scale * X[:30])


@quietly
def test_predictive_codes_on_a_device_take_bounded_work():
    pytest.importorskip("torch")
    model = PredictiveSparseDecomposition(8, lmbda=1e-6, encoder_weight=0.0, device="torch:cpu", max_iter=5)
    with at_most(seconds=10):
        seeded(model).fit(X[:30])


def test_least_squares_codes_take_bounded_work():
    atoms = seeded(DENSE[0], n_components=64, max_iter=3, tol=0).fit(X[:300]).components_
    with at_most(seconds=2):
        codes = sparse_encode(X[:30], atoms, 0.0)  # a warning is an error
    assert duality_gap(X[:30], codes, atoms, 0.0).max() <= 1e-6


@pytest.mark.filterwarnings("ignore:.*max_iter:sklearn.exceptions.ConvergenceWarning")
@quietly
def test_learning_without_a_penalty_takes_bounded_work():
    seeded(SparseCoder(32, lmbda=0.0, max_iter=1)).fit_transform(X[:60])  # compiles
    with at_most(seconds=10):
        seeded(SparseCoder(32, lmbda=0.0, max_iter=5)).fit_transform(X[:60])


# 16, 17, 28: memory


def test_few_rows_on_many_atoms_need_no_matrix_of_all_atoms(rng):
    atoms = unit_rows(rng.normal(size=(4000, 64)))[0]
    for dtype in (np.float64, np.float32):
        sparse_encode(atoms[:2].astype(dtype), atoms[:3].astype(dtype), 0.5)  # compiles
        with peak_memory() as peak:
            sparse_encode(rng.normal(size=(5, 64)).astype(dtype), atoms.astype(dtype), 0.5)
        assert peak[0] < 0.25 * 4000**2 * np.dtype(dtype).itemsize


@quietly
@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
@each(*DENSE, LISTAEncoder(8, lmbda=0.5), *NETWORKS)
def test_small_numbers_in_a_memory_map_are_widened_by_blocks(model, dtype, tmp_path):
    model = seeded(model, max_iter=1, tol=0).fit(X[:300] * 16)
    rows = np.memmap(tmp_path / "rows", dtype, "w+", shape=(20_000, 64))
    rows[...] = np.tile(X[:1000] * 16, (20, 1))
    model.energy(rows[:10])  # compiles
    with peak_memory() as peak:
        energies = model.energy(rows)
    assert peak[0] < 0.5 * rows.size * 8
    np.testing.assert_allclose(energies[:1000], model.energy(X[:1000] * 16), rtol=1e-6)


@quietly
def test_learning_from_small_numbers_in_a_memory_map_widens_them_by_blocks(tmp_path):
    rows = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=(20_000, 64))
    rows[...] = np.tile(X[:1000] * 16, (20, 1))
    SparseCoder(4, max_iter=1, tol=0, random_state=0).fit(rows[:300])  # compiles
    with peak_memory() as peak:
        model = SparseCoder(4, max_iter=1, tol=0, random_state=0).fit(rows)
    assert peak[0] < 0.5 * rows.size * 8
    same = SparseCoder(4, max_iter=1, tol=0, random_state=0).fit(rows.astype(np.float64))
    np.testing.assert_array_equal(model.components_, same.components_)


@quietly
@each(SparseCoder, FISTACoder)
def test_what_codes_need_of_the_atoms_is_computed_once(model, rng):
    atoms = unit_rows(rng.normal(size=(1024, 600)))[0]
    coder = model(dictionary=atoms, lmbda=3.0).fit(rng.normal(size=(5, 600)))
    size, row = len(pickle.dumps(coder)), rng.normal(size=(1, 600))
    expected = coder.transform(row)
    gram = vars(coder.energy_.decoder)["gram"]  # computed by that call
    np.testing.assert_array_equal(coder.transform(row), expected)
    assert coder.energy_.decoder.gram is gram
    assert len(pickle.dumps(coder)) < size + 1000  # and it is no part of the model


@quietly
@each(*DENSE[:2])
def test_codes_are_those_of_the_atoms_that_a_model_has_now(model):
    model = seeded(model, max_iter=2, tol=0).fit(X[:100])
    model.transform(X[:5])
    for atoms in (model.components_[::-1].copy(), unit_rows(X[200:208])[0]):
        model.components_ = atoms
        same = type(model)(dictionary=atoms, lmbda=model.lmbda_).fit(X[:5])
        np.testing.assert_allclose(model.transform(X[:20]), same.transform(X[:20]), atol=1e-9)
    model.partial_fit(X[:100])
    same = type(model)(dictionary=model.components_, lmbda=model.lmbda_).fit(X[:5])
    np.testing.assert_allclose(model.transform(X[:20]), same.transform(X[:20]), atol=1e-9)


# 26: atoms of zeros


@quietly
@pytest.mark.parametrize("options", [{"lmbda": 0.1}, {"lmbda": 0.0}, {"n_nonzero": 2}, {"max_error": 0.1}], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_atom_of_zeros_has_the_coefficient_zero(options, dtype, rng):
    data, seen = rng.uniform(size=(4, 5)).astype(dtype), [0, 1, 3, 5, 2]
    atoms = np.eye(6, dtype=dtype)[:5][:, seen]  # the fifth atom is not seen
    codes = sparse_encode(data, atoms, **options)
    assert (codes[:, 4] == 0.0).all()
    kept = np.arange(4)
    np.testing.assert_allclose(codes[:, kept], sparse_encode(data, atoms[kept], **options), atol=1e-6)


def test_a_dictionary_with_an_atom_of_zeros_makes_a_coder():
    atoms = np.vstack([X[:4], np.zeros(64)])
    codes = SparseCoder(dictionary=atoms, lmbda=0.5).fit(X[4:40]).transform(X[4:40])
    assert (codes[:, 4] == 0.0).all()


@quietly
@pytest.mark.parametrize("size", [(3,), (2, 2)])
def test_a_kernel_of_zeros_has_the_coefficient_zero(size, rng):
    kernels, signals = rng.normal(size=(3, *size)), rng.normal(size=(4, *(4 * n for n in size)))
    kernels[1] = 0.0
    coder = ConvSparseCoder(kernel_size=size, dictionary=kernels, lmbda=0.5)
    codes = coder.fit(signals).encode(signals)
    assert not codes[..., 1].any()
    without = ConvSparseCoder(kernel_size=size, dictionary=kernels[[0, 2]], lmbda=0.5).fit(signals).encode(signals)
    np.testing.assert_allclose(codes[..., [0, 2]], without, atol=1e-2)


# 27: neighbours


def test_the_codes_of_sparse_arrays_are_sparse_arrays():
    coder = seeded(SparseCoder(8, lmbda=0.5, sparse_output=True, max_iter=1, tol=0)).fit(X[:60])
    assert isinstance(coder.transform(sparse.csr_array(X[:60])), sparse.csr_array)
    assert sparse.isspmatrix_csr(coder.transform(sparse.csr_matrix(X[:60])))


def test_functions_give_sparse_arrays_for_sparse_arrays():
    atoms, rows, options = X[:8], sparse.csr_array(X[:60]), {"sparse_output": True}
    assert isinstance(sparse_encode(rows, atoms, 0.5, **options), sparse.csr_array)
    assert all(isinstance(z, sparse.csr_array) for z in lmbda_path(rows, atoms, [1.0, 0.5], **options).codes)
    assert sparse.isspmatrix_csr(sparse_encode(X[:60], atoms, 0.5, **options))


def test_a_frame_of_dask_is_refused_with_the_way_out():
    module, frames = pytest.importorskip("skrlv.dask"), pytest.importorskip("dask.dataframe", exc_type=ImportError)
    frame = frames.from_pandas(pytest.importorskip("pandas").DataFrame(X[:60]), npartitions=2)
    with pytest.raises(TypeError, match=r"to_dask_array\(lengths=True\)"):
        module.DaskSparseCoder(8).fit(frame)


def test_sparse_rows_that_lie_on_a_disk_are_taken(tmp_path):
    anndata, h5py = pytest.importorskip("anndata"), pytest.importorskip("h5py")
    anndata.AnnData(sparse.csr_matrix(X[:60])).write_h5ad(tmp_path / "cells.h5ad")
    assert h5py
    rows = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r").X
    model = seeded(DENSE[0], max_iter=1, tol=0)
    np.testing.assert_allclose(model.fit(rows).transform(rows), seeded(model).fit(X[:60]).transform(X[:60]), atol=1e-9)


# 30: lists of signals


def signals():
    return [*IMAGES[:20], *IMAGES[20:40, :6, :7]]


@quietly
@each(*CONVOLUTIONAL)
def test_a_step_on_a_list_of_signals_is_done_or_not_done(model):
    model = seeded(model, tol=0).partial_fit(IMAGES[100:150])
    before, after = state_of(model), state_of(copied(model).partial_fit(signals()))
    interrupted, n = model, 0
    while interrupted is not None:
        interrupted = interrupted_at_write(model, n, lambda one: one.partial_fit(signals()))
        if interrupted is not None:
            found = state_of(interrupted)
            expected = before if found[".n_iter_"] == before[".n_iter_"] else after
            assert_same_state(interrupted, expected)
        n += 1


@quietly
@each(*CONVOLUTIONAL)
def test_a_step_on_a_list_that_holds_a_wrong_signal_is_not_done(model):
    model = seeded(model, tol=0).partial_fit(IMAGES[100:150])
    before, wrong = state_of(model), signals()
    wrong[-1] = wrong[-1] * np.nan
    with pytest.raises(ValueError, match=r"X\[39\]"):
        model.partial_fit(wrong)
    assert_same_state(model, before)


# 31: outliers and lmbda


def test_an_outlier_that_spoils_the_unit_of_lmbda_is_answered_with_a_useful_one():
    data = X[:200] - X[:200].mean(axis=0)
    data[3] *= 1e9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coder = SparseCoder(8, max_iter=2, tol=0, random_state=0).fit(data)
    density = (coder.transform(data[4:]) != 0).mean()
    assert density > 0.02 or any("lmbda is useful between" in str(warning.message) for warning in caught)


# 32, 33: interrupted, and gone on


class Stops(Regularizer):
    """An L1 without kernels, whose prox is interrupted when it has been asked some times."""

    asked, limit = 0, 10**9

    def __call__(self, z):
        return L1()(z)

    def prox(self, v, t):
        Stops.asked += 1
        if Stops.asked > Stops.limit:
            raise KeyboardInterrupt
        return L1().prox(v, t)


@quietly
def test_an_interrupt_in_the_first_pass_counts_what_was_learned(monkeypatch):
    options = {"lmbda": 0.5, "regularizer": Stops(), "batch_size": 50, "max_iter": 2, "tol": 0, "code_max_iter": 20}
    model = FISTACoder(8, **options, random_state=0)
    monkeypatch.setattr(Stops, "asked", 0)
    seeded(model, max_iter=1).fit(X[:300])
    monkeypatch.setattr(Stops, "limit", Stops.asked // 2)
    monkeypatch.setattr(Stops, "asked", 0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:300])
    monkeypatch.setattr(Stops, "limit", 10**9)
    assert model.n_iter_ == len(model.energy_history_) == 1
    assert np.isfinite(model.energy_history_).all()


RESUMED = each(*DENSE, *CONVOLUTIONAL, *NETWORKS)


@quietly
@RESUMED
def test_a_warm_start_goes_on_where_the_last_fit_ended(model):
    data = of_digits(model, slice(120))
    options = {"max_iter": 4, "tol": 0.0, "batch_size": 40}
    cold = seeded(model, **options).fit(data)
    assert cold.warm_start is False
    warm = seeded(model, **options, warm_start=True).fit(data)
    assert_same_state(warm, state_of(cold))
    first = warm.energy_history_
    warm.fit(data)
    second = warm.energy_history_[-4:]
    assert second[0] < first[1]
    assert second.mean() < first[-1] + 1e-9 + 0.02 * abs(first[-1])
    assert_same_state(cold.fit(data), state_of(seeded(model, **options).fit(data)))  # begins anew


@quietly
@each(*DENSE, *CONVOLUTIONAL)
def test_a_warm_start_keeps_the_statistics(model):
    data = of_digits(model, slice(120))
    warm = seeded(model, max_iter=2, tol=0.0, batch_size=40, warm_start=True).fit(data)
    before = warm.components_.copy()
    warm.set_params(max_iter=1).fit(data[:1])
    changes = np.linalg.norm((warm.components_ - before).reshape(len(before), -1), axis=1)
    assert np.median(changes) < 0.2  # one row does not undo what 120 have taught


@quietly
@RESUMED
def test_a_warm_start_of_other_data_says_what_does_not_fit(model):
    data = of_digits(model, slice(60))
    warm = seeded(model, max_iter=1, tol=0.0, warm_start=True).fit(data)
    before = state_of(warm)
    with pytest.raises(ValueError, match=r"features|n_components|shape"):
        warm.fit(data[..., :5])
    assert_same_state(warm, before)


# 34: masks of another shape


@quietly
@pytest.mark.parametrize("shape", [(5, 8, 7), (8, 7), (4, 8, 8), (5,), (5, 65)], ids=str)
def test_a_mask_of_another_shape_is_refused_with_both_shapes(shape):
    model = seeded(CONVOLUTIONAL[0], max_iter=1, tol=0).fit(IMAGES[:20])
    with pytest.raises(ValueError, match="mask") as refused:
        model.encode(IMAGES[:5], mask=np.ones(shape, bool))
    assert str(shape) in str(refused.value)
    assert str((5, 8, 8)) in str(refused.value)


@quietly
def test_a_mask_in_a_list_of_another_shape_is_refused_with_both_shapes():
    model = seeded(CONVOLUTIONAL[0], max_iter=1, tol=0).fit(IMAGES[:20])
    with pytest.raises(ValueError, match=r"mask.*\(3, 3\).*\(6, 7\)"):
        model.encode([IMAGES[0], IMAGES[1][:6, :7]], mask=[np.ones((8, 8), bool), np.ones((3, 3), bool)])


# 35: one signal that is mostly offset


@each(*CONVOLUTIONAL)
@pytest.mark.parametrize("n_signals", [1, 2])
def test_signals_that_are_mostly_offset_are_warned_of(model, n_signals, rng):
    photo = 0.5 + 0.05 * rng.normal(size=(24, 24))
    with pytest.warns(UserWarning, match="mostly offset"):
        seeded(model, max_iter=1, tol=0).fit([photo] * n_signals)


# 36: where the grid ends


def test_the_smallest_lmbda_of_the_grid_is_not_chosen_in_silence():
    signals, _, atoms = make_sparse_signals(200, 16, 24, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coder = SparseCoderCV(dictionary=atoms, cv=2).fit(signals)  # no noise: the smaller the better
    assert coder.lmbda_ > coder.lmbdas_[-1] or any("lmbdas" in str(warning.message) for warning in caught)


# 37: regularizers of one's own


class NoNumber(Regularizer):
    def __call__(self, z):
        return np.abs(z).sum(axis=-1)

    def prox(self, v, t):
        return v * np.nan


class NoAxis(Regularizer):
    def __call__(self, z):
        return np.abs(z).sum()

    def prox(self, v, t):
        return L1().prox(v, t)


class OtherShape(Regularizer):
    def __call__(self, z):
        return np.abs(z).sum(axis=-1)

    def prox(self, v, t):
        return v[..., :-1]


class NegativeValue(Regularizer):
    positive = True

    def __call__(self, z):
        return np.abs(z).sum(axis=-1)

    def prox(self, v, t):
        return L1().prox(v, t)  # which is not positive


@quietly
@pytest.mark.parametrize(
    ("regularizer", "match"), [(NoNumber(), "prox"), (NoAxis(), "per sample|axis"), (OtherShape(), "prox.*shape")]
)
def test_a_regularizer_that_is_wrong_is_refused(regularizer, match):
    with pytest.raises((ValueError, TypeError), match=match) as refused:
        FISTACoder(8, lmbda=0.5, regularizer=regularizer, max_iter=1, random_state=0).fit(X[:30])
    assert type(regularizer).__name__ in str(refused.value)


# 38: what should work, or say why not


def test_sparse_chunks_of_dask_are_taken_or_refused_by_name():
    arrays, module = pytest.importorskip("dask.array"), pytest.importorskip("skrlv.dask")
    chunked = arrays.from_array(X[:60], chunks=(30, -1)).map_blocks(sparse.csr_matrix)
    coder = module.DaskSparseCoder(8, max_iter=1, tol=0, random_state=0)
    try:
        coder.fit(chunked)
    except (ValueError, TypeError) as error:
        message = str(error)
        assert "sparse" in message
        assert "isfinite" not in message
    else:
        assert np.isfinite(coder.components_).all()


def test_a_cluster_finds_planted_atoms_in_as_few_passes_as_one_machine():
    arrays, module = pytest.importorskip("dask.array"), pytest.importorskip("skrlv.dask")
    signals, _, atoms = make_sparse_signals(4000, 20, 30, random_state=0)
    options = {"lmbda": 0.1, "max_iter": 3, "tol": 0.0, "random_state": 0}
    there = module.DaskSparseCoder(30, **options).fit(arrays.from_array(signals, chunks=(1000, -1)))
    here = SparseCoder(30, **options).fit(signals)
    found = [np.sum(np.abs(atoms @ model.components_.T).max(axis=1) >= 0.99) for model in (there, here)]
    assert found[0] >= found[1] - 2
    assert found[1] >= 20


@quietly
@each(*CONVOLUTIONAL)
def test_signals_in_a_list_have_a_score(model):
    model = seeded(model, max_iter=2, tol=0).fit(IMAGES[:60])
    assert model.score(list(IMAGES[60:100])) == pytest.approx(model.score(IMAGES[60:100]), abs=1e-9)
    assert np.isfinite(model.score([*IMAGES[60:80], *IMAGES[80:100, :6, :7]]))


def test_more_atoms_by_default_than_rows_are_warned_of(rng):
    data = rng.normal(size=(60, 300))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coder = SparseCoder(max_iter=1, tol=0, random_state=0).fit(data)
    assert coder.n_components_ <= 60 or any("n_components" in str(warning.message) for warning in caught)


# 39: what messages advise


def test_the_error_of_a_bare_signal_names_the_axis_of_samples():
    with pytest.raises(ValueError, match=r"X\[None\]|n_samples") as refused:
        ConvSparseCoder(2, 3).fit(X[0])
    assert "reshape(-1, 1)" not in str(refused.value)


@quietly
@pytest.mark.parametrize("held", [np.asarray, list], ids=["array", "list"])
def test_the_error_of_holes_in_a_signal_names_the_mask(held):
    model = seeded(CONVOLUTIONAL[0], max_iter=1, tol=0).fit(IMAGES[:20])
    holes = IMAGES[:5].copy()
    holes[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="mask="):
        model.encode(held(holes))


@pytest.mark.filterwarnings("ignore")  # skl2onnx's own
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_output_of_an_export_has_one_name(dtype):
    export = pytest.importorskip("skrlv.onnx").to_onnx
    pytest.importorskip("skl2onnx")
    encoder = LISTAEncoder(8, lmbda=0.5, max_iter=1, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), encoder).fit(X[:100].astype(dtype))
    for model in (pipeline, pipeline[-1]):
        assert [output.name for output in export(model, dtype=dtype).graph.output] == ["Z"]


@quietly
def test_the_energy_of_signals_without_channels_says_what_is_missing():
    model = seeded(CONVOLUTIONAL[0], max_iter=1, tol=0).fit(IMAGES[:20])
    with pytest.raises(ValueError, match="channel"):
        model.energy_.given(IMAGES[:5])


@pytest.mark.parametrize("batch_size", [64, "auto"])
def test_collapsed_codes_are_warned_of_whatever_the_batch(batch_size, rng):
    noise = rng.normal(size=(512, 6))
    model = VariationalAutoencoder(2, hidden_layer_sizes=(8,), beta=20.0, max_iter=20, tol=0, batch_size=batch_size)
    with pytest.warns(UserWarning, match="collapsed"):
        seeded(model).fit(noise)


@pytest.mark.parametrize("scale", [1e160, 1e-200])
def test_functions_refuse_data_whose_squares_leave_the_range(scale):
    for act in (lambda data: sparse_encode(data, X[:4], 0.1), lambda data: lmbda_path(data, X[:4], [0.1])):
        with pytest.raises(ValueError, match=r"overflow|vanish"):
            act(scale * X[:5])


class WrongRows(SparseCoder):
    def _infer(self, energy, y, z0=None):
        found = super()._infer(energy, y, z0)
        return found._replace(z=found.z[:1])


class NoSolution(SparseCoder):
    def _infer(self, energy, y, z0=None):
        return super()._infer(energy, y, z0).z


@pytest.mark.parametrize(("kind", "error"), [(WrongRows, ValueError), (NoSolution, TypeError)])
def test_what_inference_must_not_return_is_refused_in_fit(kind, error):
    with pytest.raises(error, match=r"one per row|must return a skrlv.inference.Solution"):
        kind(4, max_iter=1, random_state=0).fit(X[:30])


def test_data_that_are_constant_do_not_extend_the_grid_of_lmbda():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SparseCoderCV(4, cv=2, max_iter=2, random_state=0).fit(np.ones((50, 16)))
    assert not any("has the best score" in str(warning.message) for warning in caught)
