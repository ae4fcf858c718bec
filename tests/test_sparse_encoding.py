"""sparse_encode to a target, debiased, and lmbda_path: against scikit-learn, KKT conditions and least squares."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_dictionary
from scipy import sparse
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path, lasso_path, orthogonal_mp_gram

from skrlv import duality_gap, lmbda_grid, lmbda_max, lmbda_path, sparse_encode

TARGETS = [{"n_nonzero": 4}, {"max_error": 0.3}, {"n_nonzero": 6, "max_error": 0.5, "lmbda": 0.2}]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    X, D = rng.normal(size=(40, 20)), random_dictionary(35, 20, 4) * np.linspace(0.5, 2.0, 35)[:, None]
    X[7] = 0.0
    return X, D


def relative_errors(X, Z, D):
    norms = np.linalg.norm(X, axis=1)
    return np.linalg.norm(X - Z @ D, axis=1) / np.where(norms > 0.0, norms, 1.0)


def own_lmbdas(X, Z, D, weights=1.0, l2=0.0):
    """The lmbda that a code's largest residual correlation gives away."""
    return np.abs(((X - Z @ D) @ D.T - l2 * Z) / weights).max(axis=1)


def assert_certified(X, Z, D, weights=None, l2=0.0, positive=False):
    """Every row is the exact Lasso code at its own lmbda."""
    w = np.ones(len(D)) if weights is None else weights
    for x, z in zip(X, Z, strict=True):
        c = ((x - z @ D) @ D.T - l2 * z) / w
        lmbda = max((c if positive else np.abs(c)).max(), 0.0)
        assert duality_gap(x[None], z[None], D, lmbda, weights=weights, l2=l2, positive=positive)[0] <= 1e-6
        np.testing.assert_allclose(c[z != 0], lmbda * np.sign(z[z != 0]), atol=1e-9)


# targets


@pytest.mark.parametrize("positive", [False, True])
def test_codes_at_the_stop_are_those_of_scikit_learn_s_path(problem, positive):
    X, D = problem
    for n_nonzero in (1, 2, 5, 9):
        Z = sparse_encode(X, D, n_nonzero=n_nonzero, positive=positive)
        for x, z in zip(X, Z, strict=True):
            if not x.any():
                assert not z.any()
                continue
            alphas, _, path = lars_path(D.T, x, method="lasso", positive=positive)
            between = np.count_nonzero(path[:, 1:] + path[:, :-1], axis=0)  # non-zeros after each breakpoint
            stop = np.argmax(between > n_nonzero)
            np.testing.assert_allclose(z, path[:, stop], atol=1e-8)
            np.testing.assert_allclose(
                ((x - z @ D) @ D.T).max() if positive else np.abs((x - z @ D) @ D.T).max(),
                alphas[stop] * X.shape[1],  # its alpha is ours by the number of features
                rtol=1e-8,
            )


def test_codes_at_an_error_are_those_of_scikit_learn_at_that_lmbda(problem):
    X, D = problem
    Z = sparse_encode(X, D, max_error=0.2)
    for x, z, lmbda in zip(X[:7], Z, own_lmbdas(X, Z, D), strict=False):
        theirs = lasso_path(D.T, x, alphas=[lmbda / X.shape[1]], tol=1e-14, max_iter=100_000)[1][:, 0]
        np.testing.assert_allclose(z, theirs, atol=1e-6)


def test_n_nonzero_is_met_and_one_more_atom_is_about_to_join(problem, digits):
    X, D = problem
    for data, atoms in ((X, D), (digits[:100], random_dictionary(100, 64))):
        for n_nonzero in (1, 3, 8):
            Z = sparse_encode(data, atoms, n_nonzero=n_nonzero)
            assert (np.count_nonzero(Z, axis=1) == n_nonzero * data.any(axis=1)).all()
            c = np.sort(np.abs((data - Z @ atoms) @ atoms.T), axis=1)[:, ::-1]
            np.testing.assert_allclose(c[:, n_nonzero], c[:, 0], rtol=1e-9, atol=1e-12)
            assert_certified(data, Z, atoms)


@pytest.mark.parametrize(
    "options",
    [{}, {"positive": True}, {"l2": 0.7}, {"weights": np.linspace(0.2, 3.0, 35)}],
    ids=["plain", "positive", "ridge", "weights"],
)
def test_max_error_is_met_to_the_digit_at_the_largest_lmbda(problem, options):
    X, D = problem
    if options.get("positive"):
        D = np.vstack([D[:18], -D[:17]])
    X = X[np.linalg.norm(X, axis=1) > 0]
    Z = sparse_encode(X, D, max_error=0.8, **options)
    np.testing.assert_allclose(relative_errors(X, Z, D), 0.8, atol=1e-8)
    assert_certified(X, Z, D, **options)
    for x, lmbda in zip(X[:5], own_lmbdas(X, Z, D, options.get("weights", 1.0), options.get("l2", 0.0)), strict=False):
        if not options.get("positive"):
            for larger in np.linspace(1.001, 3.0, 7) * lmbda:
                assert relative_errors(x[None], sparse_encode(x[None], D, larger, **options), D)[0] > 0.8


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.05, 0.95), st.sampled_from([0.0, 0.4]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_first_stop_wins(seed, n_nonzero, max_error, l2, positive):
    rng = np.random.default_rng(seed)
    X, D = rng.normal(size=(5, 8)), random_dictionary(12, 8, seed + 1)
    options = {"l2": l2, "positive": positive}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        few, near, both = (
            sparse_encode(X, D, **target, **options)
            for target in (
                {"n_nonzero": n_nonzero},
                {"max_error": max_error},
                {"n_nonzero": n_nonzero, "max_error": max_error, "lmbda": 0.1},
            )
        )
    assert np.count_nonzero(few, axis=1).max() <= n_nonzero
    at = sparse_encode(X, D, 0.1, **options, code_tol=1e-12)
    lmbdas = np.array([own_lmbdas(X, Z, D, l2=l2) for Z in (few, near, at)])
    if not positive:
        first = np.argmax(lmbdas, axis=0)
        np.testing.assert_allclose(both, np.choose(first[:, None], [few, near, at]), atol=1e-6)
    assert_certified(X, both, D, l2=l2, positive=positive)


def test_the_code_at_a_lmbda_that_comes_before_any_target(problem):
    X, D = problem
    for target in ({"n_nonzero": 35}, {"n_nonzero": 10**9}, {"max_error": 0.0}):
        Z = sparse_encode(X, D, 0.5, **target)
        np.testing.assert_allclose(Z, sparse_encode(X, D, 0.5, code_tol=1e-13), atol=1e-10)
    assert not sparse_encode(X, D, 1e3, n_nonzero=3).any()


def test_an_error_out_of_reach_ends_at_least_squares_with_one_warning(rng):
    D = random_dictionary(5, 20, 1)
    X = np.vstack([rng.normal(size=(6, 20)), rng.normal(size=(4, 5)) @ D])
    with pytest.warns(UserWarning, match="6 of 10 rows cannot reach max_error=0.01 with these atoms") as caught:
        Z = sparse_encode(X, D, max_error=0.01)
    assert len(caught) == 1
    fitted = np.linalg.lstsq(D.T, X.T, rcond=None)[0].T
    np.testing.assert_allclose(Z[:6], fitted[:6], atol=1e-9)
    np.testing.assert_allclose(relative_errors(X, Z, D)[6:], 0.01, atol=1e-8)
    assert f"{relative_errors(X, fitted, D).max():.2g}." in str(caught[0].message)
    sparse_encode(X, D, n_nonzero=3, max_error=0.01)  # another stop was asked for: nothing to tell
    sparse_encode(X, D, 0.1, max_error=0.01)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_codes_do_not_depend_on_how_rows_come_and_go(target, digits, rng):
    X, D, order = digits[:600], random_dictionary(80, 64), rng.permutation(600)
    Z = sparse_encode(X, D, **target, n_jobs=1)
    np.testing.assert_array_equal(sparse_encode(X, D, **target, n_jobs=2), Z)
    np.testing.assert_allclose(sparse_encode(X[order], D, **target), Z[order], atol=1e-10 * np.abs(Z).max())
    np.testing.assert_array_equal(sparse_encode(sparse.csr_matrix(X), D, **target), Z)
    csr = sparse_encode(X, D, **target, sparse_output=True)
    assert csr.format == "csr"
    np.testing.assert_array_equal(csr.toarray(), Z)
    single = sparse_encode(X.astype(np.float32), D.astype(np.float32), **target)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Z, atol=1e-3)
    np.testing.assert_array_equal(np.count_nonzero(single, axis=1), np.count_nonzero(Z, axis=1))


def test_a_target_has_no_unit(problem):
    X, D = problem
    for target in ({"n_nonzero": 3}, {"max_error": 0.4}):
        Z = sparse_encode(X, D, **target)
        np.testing.assert_allclose(sparse_encode(3e7 * X, D, **target), 3e7 * Z, rtol=1e-9)
        np.testing.assert_allclose(sparse_encode(X, 1e3 * D, **target), 1e-3 * Z, rtol=1e-9)


def hostile_dictionaries():
    rng = np.random.default_rng(0)
    base = random_dictionary(30, 20)
    return {
        "duplicates": np.vstack([base, base]),
        "opposites": np.vstack([base, -base]),
        "coherence 1 - 1e-12": np.vstack([base, base + 1e-6 * rng.normal(size=base.shape)]),
        "20 atoms per feature": random_dictionary(400, 20),
        "one direction": np.tile(base[:1], (5, 1)),
    }


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("dtype", "scale"), [(np.float64, 1e-150), (np.float64, 1e150), (np.float32, 1e-15)])
@pytest.mark.parametrize("name", hostile_dictionaries())
def test_hostile_problems_end_within_their_target_or_say_so(name, dtype, scale, positive):
    D, X = hostile_dictionaries()[name], np.random.default_rng(1).normal(size=(20, 20))
    X[3], X[5], X[6] = 0.0, D[2], D[0] + D[1]
    D, X = D.astype(dtype), (X * scale).astype(dtype)
    for target in ({"n_nonzero": 5}, {"n_nonzero": 20}, {"max_error": 0.1}, {"max_error": 0.0}):
        for debias in (False, True):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                Z = sparse_encode(X, D, positive=positive, debias=debias, **target)
            assert np.isfinite(Z).all()
            assert not positive or Z.min() >= 0.0
            assert np.count_nonzero(Z, axis=1).max() <= target.get("n_nonzero", len(D))
            assert len(caught) <= 2
            missed = relative_errors(X / scale, Z / scale, D).max() > target.get("max_error", 1.0) + 1e-6
            assert not missed or any("cannot reach" in str(warning.message) for warning in caught)


def test_the_tolerance_is_that_at_the_row_s_own_lmbda(problem):
    X, D = problem[0][:3], problem[1]
    sparse_encode(X, D, n_nonzero=5, code_tol=1e-11)
    with pytest.warns(ConvergenceWarning, match="of 3 codes missed the tolerance") as caught:
        sparse_encode(X, D, n_nonzero=5, code_tol=1e-30)
    assert len(caught) == 1


# debiasing


@pytest.mark.parametrize("how", [{"lmbda": 0.4}, {"n_nonzero": 5}, {"max_error": 0.4}], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_debiased_codes_are_least_squares_on_their_support(problem, how, dtype):
    X, D = (a.astype(dtype) for a in problem)
    Z, refitted = sparse_encode(X, D, **how), sparse_encode(X, D, **how, debias=True, l2=0.0)
    assert refitted.dtype == dtype
    for x, before, after in zip(X, Z, refitted, strict=True):
        kept = before != 0
        assert not after[~kept].any()
        if kept.any():
            fit = np.linalg.lstsq(D[kept].T.astype(float), x.astype(float), rcond=None)[0]
            np.testing.assert_allclose(after[kept], fit, atol=1e-9 if dtype == np.float64 else 1e-4)


def test_debiased_positive_codes_are_non_negative_least_squares(problem):
    X, D = problem
    Z, refitted = (sparse_encode(X, D, 0.02, positive=True, debias=debias) for debias in (False, True))
    for x, before, after in zip(X, Z, refitted, strict=True):
        kept = before != 0
        assert not after[~kept].any()
        if kept.any():
            np.testing.assert_allclose(after[kept], nnls(D[kept].T, x)[0], atol=1e-9)
    assert refitted.min() >= 0.0
    assert (np.count_nonzero(refitted, axis=1) < np.count_nonzero(Z, axis=1)).any()  # some fits would turn negative


def test_debiasing_leaves_out_penalties_and_dependent_atoms(problem):
    X, D = problem
    Z = sparse_encode(X, D, 0.3, l2=0.5, weights=np.linspace(0.0, 2.0, 35))
    refitted = sparse_encode(X, D, 0.3, l2=0.5, weights=np.linspace(0.0, 2.0, 35), debias=True)
    duplicated = np.vstack([D, D])
    spread = sparse_encode(X, duplicated, 0.3, l2=0.5, debias=True)  # the ridge shares an entry between duplicates
    for x, before, after, doubled in zip(X, Z, refitted, spread, strict=True):
        fit = np.linalg.lstsq(D[before != 0].T, x, rcond=None)[0]
        np.testing.assert_allclose(after[before != 0] @ D[before != 0], fit @ D[before != 0], atol=1e-8)
        kept = (doubled[:35] != 0) | (doubled[35:] != 0)
        fit = np.linalg.lstsq(D[kept].T, x, rcond=None)[0]
        np.testing.assert_allclose(doubled @ duplicated, fit @ D[kept], atol=1e-8)


def test_debiased_codes_are_near_those_of_matching_pursuit(digits):
    X, D = digits[:200], random_dictionary(100, 64)
    greedy = orthogonal_mp_gram(D @ D.T, D @ X.T, n_nonzero_coefs=10).T
    plain, refitted = (sparse_encode(X, D, n_nonzero=10, debias=debias) for debias in (False, True))
    errors = [relative_errors(X, Z, D).mean() for Z in (greedy, refitted, plain)]
    assert errors[1] <= 1.3 * errors[0]
    assert errors[1] < errors[2]


# bad input


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("n_nonzero", w) for w in (0, -1, 2.0, True, "ten")]
    + [("max_error", w) for w in (-0.1, 1.0, True, float("nan"), "small")]
    + [("debias", "yes")],
)
def test_targets_out_of_range(name, wrong):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of sparse_encode must be"):
        sparse_encode(np.ones((2, 3)), np.eye(3), 0.1, **{name: wrong})


def test_targets_that_do_not_go_together():
    X, D = np.ones((2, 3)), np.eye(3)
    with pytest.raises(ValueError, match="Pass at least one of lmbda, n_nonzero and max_error"):
        sparse_encode(X, D)
    with pytest.raises(ValueError, match="init cannot be given with n_nonzero or max_error"):
        sparse_encode(X, D, n_nonzero=1, init=X)
    with pytest.raises(ValueError, match="weights has zeros"):
        sparse_encode(X, D, max_error=0.1, weights=[0.0, 1.0, 1.0])


@pytest.mark.parametrize("wrong", [[], [[0.1]], 0.1, [-0.1], [np.nan], [np.inf], [True], ["a"], [0.1, None]], ids=str)
def test_grids_out_of_range(wrong):
    with pytest.raises(ValueError, match="lmbdas must be a list of finite numbers"):
        lmbda_path(np.ones((2, 3)), np.eye(3), wrong)


# the path


@pytest.mark.parametrize(
    "options",
    [{}, {"positive": True}, {"l2": 0.7}, {"weights": np.linspace(0.2, 3.0, 35)}, {"weights": np.arange(35.0)}],
    ids=["plain", "positive", "ridge", "weights", "a free atom"],
)
def test_the_path_has_the_codes_of_each_lmbda(problem, options):
    X, D = problem
    path = lmbda_path(X, D, [0.1, 1.5, 0.0, 0.5, 0.5], code_tol=1e-12, **options)
    assert path.lmbdas.tolist() == [1.5, 0.5, 0.5, 0.1, 0.0]
    assert path.codes.shape == (5, 40, 35)
    weights, l2 = options.get("weights", np.ones(35)), options.get("l2", 0.0)
    for i, lmbda in enumerate(path.lmbdas):
        Z = path.codes[i]
        if lmbda > 0.0:  # without a penalty the atoms are dependent, and codes not unique
            np.testing.assert_allclose(Z, sparse_encode(X, D, lmbda, code_tol=1e-12, **options), atol=1e-6)
        assert duality_gap(X, Z, D, lmbda, **options).max() <= (1e-12 if lmbda > 0.0 else 1e-6)
        energies = (
            0.5 * np.sum((X - Z @ D) ** 2, axis=1) + lmbda * np.abs(Z) @ weights + 0.5 * l2 * np.sum(Z**2, axis=1)
        )
        np.testing.assert_allclose(path.energies[i], energies, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(path.errors[i], relative_errors(X, Z, D), atol=1e-7)
        assert path.densities[i] == np.mean(Z != 0)
    assert not path.errors[:, 7].any()


def test_the_default_grid_and_the_curve_it_draws(digits):
    X, D = digits[:300], random_dictionary(100, 64)
    path = lmbda_path(X, D)
    np.testing.assert_array_equal(path.lmbdas, lmbda_grid(X, D))
    assert (np.diff(path.densities) > 0).all()
    assert (np.diff(path.errors, axis=0) <= 1e-12).all()
    assert (np.diff(path.energies, axis=0) <= 1e-12).all()
    assert not lmbda_path(X, D, [2.0 * lmbda_max(X, D).max()]).codes.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_path_does_not_depend_on_how_rows_come_and_go(dtype, digits, rng):
    X, D, lmbdas, order = digits[:600].astype(dtype), random_dictionary(80, 64), [0.8, 0.2, 0.05], rng.permutation(600)
    path = lmbda_path(X, D, lmbdas, n_jobs=1)
    assert path.codes.dtype == dtype
    assert path.energies.dtype == path.errors.dtype == np.float64
    for one, two in zip(path, lmbda_path(X, D, lmbdas, n_jobs=2), strict=True):
        np.testing.assert_array_equal(one, two)
    tol = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(lmbda_path(X[order], D, lmbdas).codes, path.codes[:, order], atol=tol)
    np.testing.assert_array_equal(lmbda_path(sparse.csr_matrix(X), D, lmbdas).codes, path.codes)
    csr = lmbda_path(X, D, lmbdas, sparse_output=True)
    for compressed, Z in zip(csr.codes, path.codes, strict=True):
        assert compressed.format == "csr"
        np.testing.assert_array_equal(compressed.toarray(), Z)
    np.testing.assert_array_equal(csr.densities, path.densities)
    for Z, lmbda in zip(path.codes, path.lmbdas, strict=True):
        assert duality_gap(X, Z, D, lmbda).max() <= (1e-6 if dtype == np.float64 else 1e-4)


def test_codes_of_a_path_that_miss_the_tolerance_give_one_warning(problem):
    X, D = problem[0][:3], problem[1]
    with pytest.warns(ConvergenceWarning, match="of 6 codes missed the tolerance") as caught:
        lmbda_path(X, D, [0.5, 0.1], code_tol=1e-30)
    assert len(caught) == 1


@pytest.mark.filterwarnings("ignore:.* missed the tolerance", "ignore:.*cannot reach max_error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("apart", [1e-5, 1e-6, 1e-9, 1e-10, 1e-12])
@pytest.mark.parametrize("target", [{"n_nonzero": 6}, {"n_nonzero": 10}, {"max_error": 0.3}], ids=str)
def test_no_target_leads_above_the_energy_of_zero(target, apart, dtype):
    random = np.random.default_rng(0)
    atoms = random.normal(size=(5, 20))
    D = np.vstack([atoms, atoms + apart * random.normal(size=atoms.shape)]).astype(dtype)
    X = random.normal(size=(3, 20)).astype(dtype)
    Z = sparse_encode(X, D, **target)
    assert (relative_errors(X, Z, D) <= 1.0 + 1e-6).all()
    assert np.count_nonzero(Z, axis=1).max() <= target.get("n_nonzero", 10)


@pytest.mark.filterwarnings("ignore:.* missed the tolerance")
def test_least_squares_on_overlapping_bumps_is_finite():
    t = np.arange(40)
    D = np.array([np.exp(-0.5 * ((t - centre) / 4) ** 2) for centre in range(2, 39)])
    X = D[[3, 20]] + 0.02 * np.random.default_rng(0).normal(size=(2, 40))
    Z = sparse_encode(X, D, 0.0)
    assert np.isfinite(Z).all()
    assert (relative_errors(X, Z, D) < 0.5).all()


@pytest.mark.parametrize("max_error", [0.0, 1e-12, 1e-9, 1e-8])
def test_a_tiny_error_that_the_atoms_reach_is_met_without_a_warning(max_error):
    rng = np.random.default_rng(0)
    D = rng.normal(size=(200, 64))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = rng.normal(size=(5, 64))
    Z = sparse_encode(X, D, max_error=max_error)  # a warning is an error
    errors = np.linalg.norm(X - Z @ D, axis=1) / np.linalg.norm(X, axis=1)
    assert errors.max() <= max_error + 2e-8
