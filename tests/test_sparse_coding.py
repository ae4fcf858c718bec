"""SparseCoder and FISTACoder at their public face: the contract, line by line."""

import re
import tracemalloc
import warnings
from copy import copy

import numpy as np
import pytest
from problems import random_dictionary
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_sparse_coded_signal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize

from skrlv import FISTACoder, SparseCoder, duality_gap, lmbda_grid, lmbda_max, lmbda_path, sparse_encode
from skrlv.learning import minibatches
from skrlv.regularizers import L1, ElasticNet, GroupL1

both = pytest.mark.parametrize("Coder", [SparseCoder, FISTACoder])


def explained(X, coder, Z):
    return 1.0 - np.sum((X - coder.inverse_transform(Z)) ** 2) / np.sum(X**2)


@pytest.fixture(scope="module")
def atoms():
    return random_dictionary(100, 64)


# exact codes


@pytest.mark.parametrize("data", ["digits", "gauss"])
@pytest.mark.parametrize("positive", [False, True])
def test_objective_of_lasso_is_reached(data, positive, digits, rng):
    X = digits[:40] if data == "digits" else rng.normal(size=(40, 64))
    D = SparseCoder(100, random_state=0, max_iter=5).fit(digits).components_
    lmbda = 0.1 * np.median(lmbda_max(X, D))
    coder = SparseCoder(dictionary=D, lmbda=lmbda, positive=positive, code_tol=1e-10).fit(X)
    Z = coder.transform(X)
    assert duality_gap(X, Z, D, lmbda, positive=positive).max() <= 1e-10
    assert not positive or Z.min() >= 0.0
    lasso = Lasso(alpha=lmbda / 64, tol=1e-12, fit_intercept=False, max_iter=500_000, positive=positive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = np.array([lasso.fit(D.T, x).coef_ for x in X])
    assert (coder.energy(X, Z) <= coder.energy(X, theirs) * (1 + 1e-8)).all()


def test_codes_do_not_depend_on_how_the_rows_come(atoms, digits, rng):
    X = digits[:300]
    coder = SparseCoder(dictionary=atoms, lmbda=0.2, code_tol=1e-10).fit(X)
    Z = coder.transform(X)
    largest = np.abs(Z).max()
    order = rng.permutation(300)
    np.testing.assert_allclose(np.vstack([coder.transform(x[None]) for x in X]), Z, rtol=0, atol=1e-10 * largest)
    np.testing.assert_allclose(coder.transform(X[order]), Z[order], rtol=0, atol=1e-10 * largest)
    frozen = np.asfortranarray(X)
    frozen.flags.writeable = False
    np.testing.assert_allclose(coder.transform(frozen), Z, rtol=0, atol=1e-10 * largest)
    np.testing.assert_allclose(coder.transform(X.astype(np.float32)), Z, rtol=0, atol=1e-4 * largest)
    np.testing.assert_array_equal(clone(coder).set_params(n_jobs=1).fit(X).transform(X), Z)


def test_float32_codes_are_certified_as_given(atoms, digits):
    X = digits[:200].astype(np.float32)
    Z = sparse_encode(X, atoms, 0.2)
    assert Z.dtype == np.float32
    assert duality_gap(X, Z, atoms, 0.2).max() <= 1e-4


def test_lmbda_above_lmbda_max_gives_zero(atoms, digits):
    X = digits[:50]
    with pytest.warns(UserWarning, match="nearly all codes are zero"):
        coder = SparseCoder(dictionary=atoms, lmbda=lmbda_max(X, atoms).max()).fit(X)
    assert not coder.transform(X).any()


def test_init_does_not_change_the_codes(atoms, digits, rng):
    X = digits[:30]
    Z = sparse_encode(X, atoms, 0.2, code_tol=1e-12)
    start = rng.normal(size=Z.shape)
    kept = start.copy()
    np.testing.assert_allclose(sparse_encode(X, atoms, 0.2, code_tol=1e-12, init=start), Z, atol=1e-8)
    np.testing.assert_array_equal(start, kept)


def test_hostile_dictionaries_are_certified(digits):
    X = digits[:100]
    rows = normalize(digits[:80] + 1000.0)  # nearly parallel
    for D in (rows, np.vstack([rows, rows]), np.vstack([rows[:5]] * 40)):
        Z = sparse_encode(X, D, 0.1)
        assert duality_gap(X, Z, D, 0.1).max() <= 1e-6


def hostile_dictionaries():
    rng = np.random.default_rng(0)
    base = normalize(rng.normal(size=(30, 20)))
    return {
        "twins": np.vstack([base, base]),
        "opposites": np.vstack([base, -base]),
        "coherence 1 - 1e-12": np.vstack([base, normalize(base + 1e-6 * rng.normal(size=base.shape))]),
        "coherence 1": np.vstack([base, normalize(base + 1e-12 * rng.normal(size=base.shape))]),
        "20 atoms per feature": normalize(rng.normal(size=(400, 20))),
        "one direction": np.tile(base[:1], (5, 1)),
    }


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float64, s) for s in (1e-150, 1.0, 1e150)] + [(np.float32, s) for s in (1e-15, 1.0, 1e15)]
)
@pytest.mark.parametrize("name", hostile_dictionaries())
def test_hostile_problems_end_certified_or_say_so(name, dtype, scale, positive):
    D, X = hostile_dictionaries()[name], np.random.default_rng(1).normal(size=(30, 20))
    X[3], X[5], X[6] = 0.0, D[2], D[0] + D[1]
    D, X = D.astype(dtype), (X * scale).astype(dtype)
    top = float(lmbda_max(X, D).max())
    for share in (0.0, 1e-6, 1e-3, 0.1, 0.5, 1.001):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            Z = sparse_encode(X, D, share * top, positive=positive)
        assert np.isfinite(Z).all()
        gaps = duality_gap(X, Z, D, share * top, positive=positive)
        assert gaps.max() <= (1e-6 if dtype == np.float64 else 1e-4) or len(told) == 1
        if dtype == np.float64 and scale == 1.0 and share > 0.0:
            assert not told
    assert not Z.any()


# fit


@both
def test_given_atoms_are_used_as_they_are(Coder, atoms, digits):
    D = 3.0 * atoms
    coder = Coder(dictionary=D, lmbda=0.5).fit(digits)
    np.testing.assert_array_equal(coder.components_, D)
    assert coder.n_iter_ == 0
    assert coder.energy_history_.shape == (0,)
    coder.components_[:] = 0.0
    assert D.all()


@both
def test_dictionary_init_is_copied_and_honoured(Coder, digits):
    init = np.asfortranarray(digits[:10] * 5.0)
    kept = init.copy()
    coder = Coder(dictionary_init=init, max_iter=1, lmbda=0.3, batch_size=len(digits)).fit(digits)
    np.testing.assert_array_equal(init, kept)
    fresh = Coder(10, max_iter=1, random_state=0).fit(digits)
    assert coder.components_.shape == fresh.components_.shape
    start = Coder(dictionary=normalize(init), lmbda=0.3).fit(digits)
    assert coder.energy_history_[0] == pytest.approx(start.energy(digits).mean(), rel=1e-6)


@both
def test_same_seed_same_model(Coder, digits):
    one, two = (Coder(20, max_iter=3, random_state=7).fit(digits) for _ in range(2))
    np.testing.assert_array_equal(one.components_, two.components_)
    assert not np.array_equal(one.components_, Coder(20, max_iter=3, random_state=8).fit(digits).components_)


def test_n_jobs_does_not_change_a_fit(digits):
    one, two = (SparseCoder(20, max_iter=3, random_state=7, n_jobs=n).fit(digits) for n in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)


@both
def test_energy_history_is_the_mean_energy_before_each_update(Coder, digits):
    X = digits[:400]
    coder = Coder(20, lmbda=0.5, batch_size=400, max_iter=1, random_state=0).fit(X)
    start = Coder(dictionary=X[np.sort(np.random.RandomState(0).permutation(400)[:20])], lmbda=0.5).fit(X)
    start = Coder(dictionary=normalize(start.components_), lmbda=0.5).fit(X)
    assert coder.energy_history_[0] == pytest.approx(start.energy(X).mean(), rel=1e-5)


@both
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_partial_fit_on_the_batches_of_a_fit_gives_its_model(Coder, dtype, digits, atoms):
    X = digits.astype(dtype)
    options = {"lmbda": 0.5, "dictionary_init": atoms, "random_state": 3}
    if Coder is FISTACoder:
        options |= {"code_tol": 1e-7 if dtype == np.float64 else 1e-5, "code_max_iter": 100_000}
    whole = Coder(**options, max_iter=2, batch_size=200, tol=0.0).fit(X)
    stream, rng, spent = Coder(**options), np.random.RandomState(3), []
    for _ in range(2):
        batches = list(minibatches(len(X), 200, rng))
        for rows in batches:
            stream.partial_fit(X[rows])
        spent.append(np.average(stream.energy_history_[-len(batches) :], weights=[len(rows) for rows in batches]))
    rtol = 1e-5 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(spent, whole.energy_history_, rtol=rtol)
    np.testing.assert_allclose(stream.components_, whole.components_, atol=rtol)
    np.testing.assert_allclose(stream.atom_usage_, whole.atom_usage_, atol=10 * rtol)
    assert stream.components_.dtype == dtype
    assert stream.n_iter_ == len(stream.energy_history_) == 2 * len(batches)
    assert stream.n_resampled_ == whole.n_resampled_


@both
def test_one_call_of_partial_fit_is_a_fit_of_one_pass(Coder, digits):
    stream = Coder(30, random_state=0).partial_fit(digits)
    whole = Coder(30, random_state=0, max_iter=1, batch_size=len(digits)).fit(digits)
    np.testing.assert_array_equal(stream.components_, whole.components_)
    assert stream.lmbda_ == whole.lmbda_


@both
def test_partial_fit_goes_on_from_a_fit_and_fit_begins_anew(Coder, digits):
    coder = Coder(30, random_state=0, max_iter=2).fit(digits[:1000])
    fresh, before = coder.components_.copy(), coder.score_samples(digits[1000:]).mean()
    with pytest.warns(UserWarning, match="lmbda changed since fit"):
        coder.set_params(lmbda=9.0).partial_fit(digits[1000:1400])
    assert coder.lmbda_ < 9.0  # the model keeps the equation it was made with
    assert coder.n_iter_ == 3
    assert coder.score_samples(digits[1000:]).mean() > before
    np.testing.assert_array_equal(coder.set_params(lmbda="auto").fit(digits[:1000]).components_, fresh)


@both
def test_a_failed_partial_fit_changes_nothing(Coder, digits, monkeypatch):
    coder = Coder(10, random_state=0).partial_fit(digits[:300])
    before = dict(vars(coder))

    def interrupt(*args):
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="features"):
        coder.partial_fit(digits[:, :30])
    with pytest.raises(ValueError, match="batch_size"):  # scikit-learn checks parameters at the first call alone
        copy(coder).set_params(batch_size=0).partial_fit(digits[300:600])
    monkeypatch.setattr(Coder, "_learn_atoms", interrupt)
    with pytest.raises(KeyboardInterrupt):
        coder.partial_fit(digits[300:600])
    assert vars(coder) == before
    unfitted = Coder(10)
    with pytest.raises(KeyboardInterrupt):
        unfitted.partial_fit(digits)
    assert vars(unfitted) == vars(Coder(10))


@both
def test_given_atoms_do_not_move(Coder, digits, atoms):
    coder = Coder(dictionary=atoms).partial_fit(digits[:100]).partial_fit(digits[100:200])
    np.testing.assert_array_equal(coder.components_, atoms)
    assert coder.n_iter_ == 0
    assert not hasattr(coder, "atom_usage_")
    assert not hasattr(coder, "n_resampled_")


@both
def test_usage_and_resampled_atoms_are_counted(Coder, digits):
    coder = Coder(20, random_state=0, batch_size=len(digits), max_iter=3).fit(digits)
    assert coder.atom_usage_.shape == (20,)
    assert ((coder.atom_usage_ >= 0.0) & (coder.atom_usage_ <= 1.0)).all()
    away = np.eye(64)[:20] - np.eye(64)[20:40]  # nothing in the data looks like that
    hopeless = Coder(lmbda=1.0, dictionary_init=away, max_iter=5, batch_size=200).fit(digits)
    assert hopeless.n_resampled_ >= 10


@both
@pytest.mark.parametrize("positive_dictionary", [False, True])
def test_k_means_plus_plus_starts_further_apart(Coder, positive_dictionary, digits):
    options = {"positive_dictionary": True} if positive_dictionary and Coder is SparseCoder else {}
    nearest = []
    for init in (None, "k-means++"):
        coder = Coder(40, lmbda=1.0, dictionary_init=init, random_state=0, **options)
        atoms = coder._begin(digits, np.random.RandomState(0)).decoder.atoms
        np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0)
        nearest.append(np.median(np.triu(atoms @ atoms.T, 1).max(axis=1)))
    assert nearest[1] < nearest[0]
    again = [Coder(40, dictionary_init="k-means++", max_iter=1, random_state=0).fit(digits) for _ in range(2)]
    np.testing.assert_array_equal(again[0].components_, again[1].components_)


@both
def test_k_means_plus_plus_with_few_rows(Coder, digits):
    coder = Coder(12, dictionary_init="k-means++", max_iter=1, random_state=0).fit(digits[:5])
    assert coder.components_.shape == (12, 64)


@both
def test_tol_stops_a_fit(Coder, digits):
    coder = Coder(20, random_state=0, tol=1e-2).fit(digits[:300])
    drops = -np.diff(coder.energy_history_) / coder.energy_history_[:-1]
    assert drops[-1] < 1e-2
    assert (drops[:-1] >= 1e-2).all()
    assert Coder(20, random_state=0, tol=0.0, max_iter=12, code_tol=1e-3).fit(digits[:50]).n_iter_ == 12


UNTUNED = {
    "0..16": (lambda X: 16 * X),
    "0..1": (lambda X: X),
    "standardised": (lambda X: StandardScaler().fit_transform(X)),
    "unit rows": normalize,
    "Gaussian": (lambda X: np.random.default_rng(0).normal(size=(1000, 50))),
}


@pytest.mark.parametrize("data", UNTUNED)
def test_works_untuned(data, digits):
    X = UNTUNED[data](digits)
    coder = SparseCoder(random_state=0)
    Z = coder.fit_transform(X)
    assert 0.02 <= (Z != 0).mean() <= 0.30
    assert coder.lmbda_ == pytest.approx(1.2 * np.sqrt(np.mean(X**2)), rel=1e-12)
    assert explained(X, coder, Z) >= (0.4 if data == "Gaussian" else 0.79)


def test_auto_lmbda_knows_the_norms_of_given_atoms(digits, atoms):
    one, three = (SparseCoder(dictionary=c * atoms).fit(digits) for c in (1.0, 3.0))
    assert three.lmbda_ == pytest.approx(3.0 * one.lmbda_, rel=1e-12)
    np.testing.assert_allclose(3.0 * three.transform(digits[:50]), one.transform(digits[:50]), atol=1e-5)


@pytest.mark.parametrize("regularizer", ["l1", "group_l1"])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_that_float32_cannot_hold(regularizer, scale, digits):
    options = {"regularizer": regularizer, "max_iter": 3, "tol": 0.0, "random_state": 0}
    plain = FISTACoder(20, lmbda=0.5, **options).fit(digits[:300].astype(np.float32))
    X = (scale * digits[:300]).astype(np.float32)
    scaled = FISTACoder(20, lmbda=0.5 * scale, **options).fit(X)
    np.testing.assert_allclose(scaled.energy_history_ / scale**2, plain.energy_history_, rtol=1e-3)
    assert scaled.score(X) == pytest.approx(plain.score(digits[:300].astype(np.float32)), abs=1e-2)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_an_offset_gets_one_warning_that_names_the_remedy(learn, offset, digits):
    with pytest.warns(UserWarning, match=r"X - X.mean\(axis=0\)") as caught:
        coder = getattr(SparseCoder(random_state=0), learn)(16 * digits + offset)
    assert len(caught) == 1
    assert np.isfinite(coder.transform(digits)).all()


def test_a_stream_is_reviewed_once(digits):
    with pytest.warns(UserWarning, match="nearly all codes are zero"):
        coder = SparseCoder(8, lmbda=1e4, random_state=0).partial_fit(digits[:200])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coder.partial_fit(digits[200:400])


@both
def test_a_ridge_keeps_atoms_that_share(Coder, rng):
    """Where copies are cheaper than one atom they stay, and no pass over all rows raises the energy."""
    X = rng.standard_t(1.5, size=(400, 20))
    ridge = {"l2": 0.5} if Coder is SparseCoder else {"regularizer": "elastic_net", "code_max_iter": 20_000}
    coder = Coder(20, batch_size=400, tol=0, max_iter=25, random_state=0, **ridge).fit(X)
    history = coder.energy_history_
    assert (np.diff(history) <= 1e-6 * history[:-1]).all()


@both
def test_two_kinds_of_given_atoms_are_refused(Coder, digits, atoms):
    with pytest.raises(ValueError, match="not both"):
        Coder(dictionary=atoms, dictionary_init=atoms).fit(digits)


@both
def test_squares_that_overflow_are_refused(Coder, digits):
    with pytest.raises(ValueError, match="squares overflow"):
        Coder(4).fit(1e160 * digits)


@both
@pytest.mark.parametrize(("lmbda", "word"), [(1e4, "zero"), (1e-5, "dense")])
def test_lmbda_far_off_gets_one_warning_with_the_useful_range(Coder, lmbda, word, digits):
    with pytest.warns(UserWarning, match=f"nearly all codes are {word}.*useful between about") as caught:
        coder = Coder(lmbda=lmbda, max_iter=2, tol=0, random_state=0, code_tol=1e-2).fit(digits[:500])
    assert len(caught) == 1
    low, high = (float(x) for x in str(caught[0].message).split("about ")[1].replace("and", "(").split("(")[:3:2])
    for value in np.geomspace(low, high, 4)[1:]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Coder(lmbda=value, dictionary=coder.components_).fit(digits[:500])


def useful_range(coder, X):
    """Both ends, as the warning about a fit names them."""
    with pytest.warns(UserWarning, match="nearly all codes are") as caught:
        coder.fit(X)
    assert len(caught) == 1
    found = re.search(r"between about (\S+) \(dense codes\) and (\S+) \(the first", str(caught[0].message))
    return np.array([float(end) for end in found.groups()]) if found else None


@both
def test_data_that_no_atom_points_at_get_a_warning_without_a_range(Coder):
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[:, 0] = 0.0
    assert useful_range(Coder(dictionary=np.eye(3)[:1]), X) is None
    assert useful_range(Coder(dictionary=np.eye(3), positive=True), -np.abs(X)) is None


def test_zero_rows_do_not_count_as_zero_codes(digits):
    SparseCoder(20, random_state=0, max_iter=2).fit(np.vstack([np.zeros((3000, 64)), digits[:100]]))
    SparseCoder(20, random_state=0, max_iter=2).fit(np.zeros((300, 64)))


def test_the_useful_range_is_that_of_the_regularizer(digits, atoms):
    X, options = digits[:300], {"lmbda": 1e6, "dictionary": atoms}
    plain = useful_range(FISTACoder(**options), X)
    np.testing.assert_allclose(useful_range(SparseCoder(**options), X), plain)
    np.testing.assert_allclose(plain[1], np.median(lmbda_max(X, atoms)), rtol=0.1)
    half = useful_range(FISTACoder(regularizer="elastic_net", **options), X)
    assert half[1] == pytest.approx(2.0 * plain[1], rel=1e-2)
    heavy = useful_range(FISTACoder(regularizer=L1(weights=np.full(100, 100.0)), **options), X)
    np.testing.assert_allclose(100.0 * heavy, plain, rtol=1e-2)
    positive = useful_range(SparseCoder(positive=True, **options), X)
    assert positive[1] <= plain[1]


@pytest.mark.parametrize("regularizer", ["group_l1", "l0", GroupL1(3, positive=True)], ids=str)
def test_zero_codes_are_warned_of_under_any_regularizer(regularizer, digits, atoms):
    with pytest.warns(UserWarning, match=r"With lmbda=1e\+04 nearly all codes are zero. Lower lmbda.") as caught:
        FISTACoder(lmbda=1e4, regularizer=regularizer, dictionary=atoms).fit(digits[:300])
    assert len(caught) == 1


def test_codes_that_are_dense_by_nature_get_no_warning(digits, atoms):
    for R in (ElasticNet(l1_ratio=0.0), L1(weights=np.zeros(30)), GroupL1(10)):
        FISTACoder(lmbda=1e-3, regularizer=R, dictionary=atoms[:30], code_tol=1e-2).fit(digits[:300])


# degenerate but legal data


@both
@pytest.mark.filterwarnings("ignore:With lmbda", "ignore:X is almost constant")
@pytest.mark.parametrize(
    "X",
    [
        np.zeros((5, 4)),
        np.ones((5, 4)),
        np.vstack([np.zeros((3, 4)), np.eye(4)]),
        np.array([[1.0, 2.0, 3.0]]),
        np.arange(1.0, 7.0)[:, None],
        np.random.default_rng(0).normal(size=(6, 3)),
        1e-150 * np.random.default_rng(0).normal(size=(6, 3)),
    ],
    ids=["zeros", "constant", "zero rows", "one sample", "one feature", "more atoms than samples", "tiny"],
)
def test_degenerate_data(Coder, X):
    coder = Coder(8, random_state=0, max_iter=10)
    Z = coder.fit_transform(X)
    for array in (Z, coder.components_, coder.energy_history_, coder.inverse_transform(Z), coder.energy(X)):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1.0, rtol=1e-6)
    assert np.isfinite(coder.score(X))


# the face


def test_split_sign(digits, atoms):
    plain = SparseCoder(dictionary=atoms, lmbda=0.2).fit(digits)
    split = SparseCoder(dictionary=atoms, lmbda=0.2, split_sign=True).fit(digits)
    Z, halves = plain.transform(digits[:20]), split.transform(digits[:20])
    np.testing.assert_array_equal(halves, np.hstack([np.maximum(Z, 0), np.maximum(-Z, 0)]))
    assert len(split.get_feature_names_out()) == 200
    np.testing.assert_array_equal(split.inverse_transform(halves), plain.inverse_transform(Z))
    np.testing.assert_array_equal(split.energy(digits[:20], halves), plain.energy(digits[:20], Z))


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_has_the_bits_of_dense_output(Coder, dtype, digits, atoms):
    X = digits[:600].astype(dtype)  # three blocks of rows
    dense = Coder(dictionary=atoms, lmbda=0.5).fit(X)
    csr = clone(dense).set_params(sparse_output=True).fit(X).transform(X)
    assert csr.format == "csr"
    assert csr.dtype == dtype
    assert csr.nnz == np.count_nonzero(csr.data)
    np.testing.assert_array_equal(csr.toarray(), dense.transform(X))
    np.testing.assert_array_equal(dense.inverse_transform(csr), dense.inverse_transform(csr.toarray()))


@pytest.mark.parametrize("split_sign", [False, True])
def test_sparse_output_of_the_exact_coder(split_sign, digits, atoms):
    options = {"dictionary": atoms, "lmbda": 0.5, "split_sign": split_sign}
    Z = SparseCoder(**options).fit(digits).transform(digits)
    csr = SparseCoder(**options, sparse_output=True).fit(digits).transform(digits)
    np.testing.assert_array_equal(csr.toarray(), Z)
    if not split_sign:
        np.testing.assert_array_equal(sparse_encode(digits, atoms, 0.5, sparse_output=True).toarray(), Z)


# rows that come a block at a time


@pytest.fixture
def peak():
    """The most memory that a call takes at a time, in bytes."""

    def measured(call):
        call()  # compiles
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measured


def mapped(dtype, folder, rng):
    X = np.memmap(folder / "X.dat", dtype=dtype, mode="w+", shape=(8192, 256))
    X[:] = rng.standard_normal(X.shape)
    X.flush()
    return np.memmap(folder / "X.dat", dtype=dtype, mode="r", shape=X.shape)


def scarce(dtype, folder, rng):
    return sparse.random(8192, 256, density=0.05, format="csr", dtype=dtype, random_state=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", [mapped, scarce])
@pytest.mark.parametrize(
    "call",
    ["fit", "transform", "energy", "score", "sparse_encode", "to a target", "lmbda_path", "duality_gap", "lmbda_max"],
)
def test_memory_does_not_grow_with_the_rows(call, data, dtype, tmp_path, rng, peak):
    X, D = data(dtype, tmp_path, rng), random_dictionary(8, 256)
    coder = SparseCoder(dictionary=D, lmbda=0.3, sparse_output=True, n_jobs=1).fit(X[:300])
    calls = {
        "sparse_encode": lambda: sparse_encode(X, D, 0.3, sparse_output=True, n_jobs=1),
        "to a target": lambda: sparse_encode(X, D, n_nonzero=2, debias=True, sparse_output=True, n_jobs=1),
        "lmbda_path": lambda: lmbda_path(X, D, [0.5, 0.3], sparse_output=True, n_jobs=1),
        "duality_gap": lambda: duality_gap(X, np.zeros((len(D), X.shape[0])).T, D, 0.3),
        "lmbda_max": lambda: lmbda_max(X, D),
    }
    used = peak(calls.get(call, lambda: getattr(coder, call)(X)))
    assert used < 0.6 * 8192 * 256 * np.dtype(dtype).itemsize


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
def test_sparse_data_have_the_bits_of_dense_data(Coder, form, dtype, digits):
    X = digits[:600].astype(dtype)
    S = getattr(sparse, form)(X)
    on_dense, on_sparse = (Coder(16, random_state=0, max_iter=2).fit(data) for data in (X, S))
    np.testing.assert_array_equal(on_sparse.components_, on_dense.components_)
    assert on_sparse.lmbda_ == on_dense.lmbda_
    Z = on_dense.transform(X)
    for call in ("transform", "energy", "score_samples", "score"):
        np.testing.assert_array_equal(getattr(on_sparse, call)(S), getattr(on_dense, call)(X))
    np.testing.assert_array_equal(on_sparse.energy(S, Z), on_dense.energy(X, Z))


def test_functions_take_sparse_data(digits, atoms):
    X, S = digits[:600], sparse.csr_matrix(digits[:600])
    Z = sparse_encode(X, atoms, 0.5)
    np.testing.assert_array_equal(sparse_encode(S, atoms, 0.5), Z)
    np.testing.assert_array_equal(sparse_encode(S, atoms, 0.5, init=Z), sparse_encode(X, atoms, 0.5, init=Z))
    np.testing.assert_array_equal(duality_gap(S, Z, atoms, 0.5), duality_gap(X, Z, atoms, 0.5))
    np.testing.assert_array_equal(lmbda_max(S, atoms), lmbda_max(X, atoms))
    np.testing.assert_array_equal(lmbda_grid(S, atoms), lmbda_grid(X, atoms))


@pytest.mark.parametrize("sparse_output", [False, True])
def test_codes_of_all_blocks_that_miss_the_tolerance_get_one_warning(sparse_output, digits, atoms):
    coder = FISTACoder(dictionary=atoms, lmbda=0.3, sparse_output=sparse_output).fit(digits[:300])
    coder.set_params(code_max_iter=3)
    with pytest.warns(ConvergenceWarning, match="of 1000 codes") as caught:
        coder.transform(sparse.csr_matrix(digits[:1000]))
    assert len(caught) == 1


@both
def test_energy_and_score_samples(Coder, digits, atoms):
    X = digits[:50]
    coder = Coder(dictionary=atoms, lmbda=0.3).fit(X)
    Z = coder.transform(X)
    expected = 0.5 * np.sum((X - Z @ atoms) ** 2, axis=1) + 0.3 * np.abs(Z).sum(axis=1)
    np.testing.assert_allclose(coder.energy(X), expected, rtol=1e-12)
    np.testing.assert_allclose(coder.energy(X, Z), expected, rtol=1e-12)
    np.testing.assert_array_equal(coder.score_samples(X), -coder.energy(X))
    with pytest.raises(ValueError, match=r"Z has shape \(3, 100\), but must have shape \(50, 100\)"):
        coder.energy(X, Z[:3])


def test_elastic_net_of_both_coders_agree(digits, atoms):
    X = digits[:50]
    exact = SparseCoder(dictionary=atoms, lmbda=0.3, l2=0.3, code_tol=1e-12).fit(X)
    fista = FISTACoder(dictionary=atoms, lmbda=0.6, regularizer="elastic_net", code_tol=1e-10).fit(X)
    np.testing.assert_allclose(exact.transform(X), fista.transform(X), atol=1e-7)
    np.testing.assert_allclose(exact.energy(X), fista.energy(X), rtol=1e-10)


def test_regularizer_instances(digits, atoms):
    X = digits[:50]
    named = FISTACoder(dictionary=atoms, lmbda=0.3, positive=True).fit(X)
    instance = FISTACoder(dictionary=atoms, lmbda=0.3, regularizer=L1(positive=True)).fit(X)
    np.testing.assert_array_equal(named.transform(X), instance.transform(X))
    groups = FISTACoder(dictionary=atoms, lmbda=0.3, regularizer=GroupL1(5)).fit(X).transform(X)
    together = (groups != 0).reshape(50, 20, 5)
    assert (together.any(axis=2) == together.all(axis=2)).all()


@both
def test_what_shapes_the_model_is_frozen_by_fit(Coder, digits, atoms):
    X = digits[:50]
    coder = Coder(dictionary=atoms, lmbda=0.3).fit(X)
    Z = coder.transform(X)
    coder.set_params(lmbda=5.0, positive=True, dictionary=None)
    with pytest.warns(UserWarning, match="lmbda, positive changed since fit"):
        np.testing.assert_array_equal(coder.transform(X), Z)
    np.testing.assert_array_equal(coder.transform(X), Z)  # told once
    coder.set_params(lmbda=0.3, positive=False, dictionary=atoms).transform(X)  # as it was: nothing to tell
    with pytest.warns(UserWarning, match="lmbda changed since fit"):
        coder.set_params(lmbda=6.0).transform(X)


@both
def test_score_chooses_an_inner_lmbda_on_noisy_data(Coder, digits):
    noisy = digits[:600] + np.random.default_rng(0).normal(scale=0.2, size=(600, 64))
    first = Coder(64, random_state=0, max_iter=5, code_tol=1e-4).fit(noisy)
    grid = lmbda_grid(noisy, first.components_, n=6)
    search = GridSearchCV(clone(first), {"lmbda": grid}, cv=3).fit(noisy)
    assert search.best_params_["lmbda"] not in (grid[0], grid[-1])
    assert 0.0 < search.best_score_ < 1.0


def test_grid_search_in_a_pipeline_with_two_jobs():
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    X, labels = X[:400], labels[:400]
    pipeline = make_pipeline(
        FunctionTransformer(scale),
        SparseCoder(32, max_iter=5, random_state=0),
        LogisticRegression(max_iter=500),
    )
    search = GridSearchCV(pipeline, {"sparsecoder__lmbda": [0.1, 0.3, 1.0]}, n_jobs=2, cv=2).fit(X, labels)
    one = clone(search).set_params(n_jobs=1).fit(X, labels)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"])
    assert search.best_score_ > 0.8


def scale(X):
    return X / 16.0


# bad input

BAD_X = {
    "wrong dimensions": (np.ones(5), ValueError, "2D array"),
    "three axes": (np.ones((2, 3, 4)), ValueError, "dim 3"),
    "no rows": (np.empty((0, 5)), ValueError, "0 sample"),
    "NaN": (np.array([[1.0, np.nan]]), ValueError, "NaN"),
    "infinity": (np.array([[1.0, np.inf]]), ValueError, "infinity"),
    "complex": (np.ones((3, 2)) + 1j, ValueError, "[Cc]omplex"),
    "strings": (np.array([["a", "b"]]), ValueError, "could not convert"),
    "sparse NaN": (sparse.csr_matrix([[1.0, np.nan]]), ValueError, "NaN"),
}


@both
@pytest.mark.parametrize("case", BAD_X)
def test_bad_data(Coder, case):
    X, error, message = BAD_X[case]
    coder = Coder()
    with pytest.raises(error, match=message):
        coder.fit(X)
    assert vars(coder) == vars(Coder())


BAD_PARAMETERS = {
    "lmbda": [-1.0, float("nan"), float("inf"), "much", None, True],
    "n_components": [0, -3, 2.5, "ten", True, np.True_],
    "max_iter": [0, 1.5, True],
    "tol": [-1e-3, float("nan")],
    "code_tol": [0.0, -1.0],
    "batch_size": [0, "all"],
    "positive": ["yes"],
}


@both
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD_PARAMETERS.items() for v in values])
def test_bad_parameters(Coder, name, value, digits):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {Coder.__name__}"):
        Coder(**{name: value}).fit(digits)


@both
@pytest.mark.parametrize("name", ["dictionary", "dictionary_init"])
def test_bad_dictionaries(Coder, name, digits):
    good = random_dictionary(5, 64)
    cases = {
        f"{name} has atoms of 63 features": good[:, 1:],
        "no entries but zeros": 0.0 * good,
        "NaN": np.where(np.eye(5, 64), np.nan, good),
        "infinity": np.where(np.eye(5, 64), np.inf, good),
        "2D array": good[0],
        "[Cc]omplex": good + 1j,
    }
    for message, D in cases.items():
        with pytest.raises(ValueError, match=message):
            Coder(**{name: D}).fit(digits)
    with pytest.raises(ValueError, match="n_components=7"):
        Coder(7, **{name: good}).fit(digits)


@both
def test_learning_starts_from_no_atom_of_zeros(Coder, digits):
    start = random_dictionary(5, 64) * (np.arange(5) != 2)[:, None]
    with pytest.raises(ValueError, match="1 zero atoms, the first at index 2"):
        Coder(dictionary_init=start).fit(digits)


def test_an_instance_must_say_itself_that_codes_are_positive(digits):
    with pytest.raises(ValueError, match="needs a positive regularizer"):
        FISTACoder(regularizer=L1(), positive=True).fit(digits)
    FISTACoder(8, regularizer=L1(positive=True), positive=True, max_iter=2).fit(digits[:50])


@pytest.mark.parametrize(
    ("name", "value"), [("code_tol", 0), ("n_jobs", 0), ("n_jobs", "x"), ("n_jobs", True), ("positive", "no")]
)
def test_bad_parameters_of_sparse_encode(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of sparse_encode"):
        sparse_encode(np.ones((2, 3)), np.eye(3), 0.1, **{name: value})


def test_warnings_point_at_the_user(digits, atoms):
    coder = FISTACoder(dictionary=atoms, lmbda=0.5, code_max_iter=3).fit(digits[:50])
    for call in (coder.transform, coder.score, coder.energy):
        with pytest.warns(ConvergenceWarning) as caught:
            call(digits[:50])
        assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="nearly all") as caught:
        SparseCoder(dictionary=atoms, lmbda=1e4).fit(digits)
    assert [warning.filename for warning in caught] == [__file__]


@both
def test_an_array_as_n_components_is_refused(Coder, digits, atoms):
    with pytest.raises(ValueError, match="use dictionary="):
        Coder(atoms).fit(digits)


@pytest.mark.parametrize("name", ["dictionary", "dictionary_init"])
def test_negative_atoms_of_a_positive_dictionary_are_refused(name, digits, atoms):
    with pytest.raises(ValueError, match=f"{name} has negative entries, but positive_dictionary=True"):
        SparseCoder(**{name: atoms}, positive_dictionary=True).fit(digits)
    SparseCoder(**{name: np.abs(atoms)}, positive_dictionary=True, max_iter=1).fit(digits[:50])


@both
def test_before_fit_and_after_a_change_of_width(Coder, digits, atoms):
    for call in ("transform", "energy", "score", "inverse_transform", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(Coder(), call)(digits)
    coder = Coder(dictionary=atoms, lmbda=0.3).fit(digits)
    for call in ("transform", "energy", "score"):
        with pytest.raises(ValueError, match="63 features"):
            getattr(coder, call)(digits[:, 1:])
    with pytest.raises(ValueError, match=r"X has shape \(2, 3\), but must have shape \(2, 100\)"):
        coder.inverse_transform(np.ones((2, 3)))


@both
def test_a_failed_fit_leaves_the_estimator_as_it_was(Coder, digits, atoms):
    coder = Coder(dictionary=atoms, lmbda=0.3).fit(digits)
    Z = coder.transform(digits[:20])
    with pytest.raises(ValueError, match="dictionary has atoms of 64 features"):
        coder.fit(digits[:, 1:])
    np.testing.assert_array_equal(coder.transform(digits[:20]), Z)


@both
def test_an_interrupted_fit_keeps_its_last_step(Coder, digits, monkeypatch):
    steps = []
    real = Coder._learn_atoms

    def update(self, *args):
        if len(steps) == 10:  # in the second pass
            raise KeyboardInterrupt
        steps.append(1)
        return real(self, *args)

    monkeypatch.setattr(Coder, "_learn_atoms", update)
    coder = Coder(20, random_state=0, tol=0.0)
    with pytest.raises(KeyboardInterrupt):
        coder.fit(digits)
    assert coder.n_iter_ == len(coder.energy_history_) == 2  # the pass that was begun counts
    assert np.isfinite(coder.transform(digits[:5])).all()


@both
@pytest.mark.parametrize("step", ["_initial_energy", "_store", "_infer"])
def test_a_refit_interrupted_before_its_first_step_changes_nothing(Coder, step, digits, monkeypatch):
    coder = Coder(10, random_state=0, max_iter=2).fit(digits)
    before = dict(vars(coder))

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Coder, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        coder.fit(digits[:, :30])
    assert vars(coder) == before


def test_codes_that_miss_the_tolerance_get_one_warning(digits, atoms):
    coder = FISTACoder(dictionary=atoms, lmbda=0.3, code_max_iter=3).fit(digits[:400])
    with pytest.warns(ConvergenceWarning, match="of 400 codes.*Raise code_max_iter") as caught:
        coder.transform(digits[:400])
    assert len(caught) == 1


def test_scikit_learn_s_own_planted_signals():
    X, D, _ = make_sparse_coded_signal(50, n_components=30, n_features=40, n_nonzero_coefs=3, random_state=0)
    Z = sparse_encode(X, D, 0.01)
    assert np.mean((X - Z @ D) ** 2) < 1e-3 * np.mean(X**2)
