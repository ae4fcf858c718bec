"""The certificate and the range of lmbda at the public face."""

import warnings

import numpy as np
import pytest
from problems import random_dictionary
from sklearn.exceptions import ConvergenceWarning

from skrlv import duality_gap, lmbda_grid, lmbda_max, sparse_encode


def test_codes_appear_exactly_below_lmbda_max(digits):
    D, X = random_dictionary(100, 64), digits[:50]
    for row, largest in zip(X, lmbda_max(X, D), strict=True):
        assert not sparse_encode(row[None], D, largest).any()
        assert sparse_encode(row[None], D, largest * (1 - 1e-4), code_tol=1e-12).any()


def test_lmbda_max_is_in_the_unit_of_the_data(digits):
    D = random_dictionary(30, 64)
    np.testing.assert_allclose(lmbda_max(3 * digits, 2 * D), 6 * lmbda_max(digits, D), rtol=1e-13)
    assert lmbda_max(digits.astype(np.float32), D).dtype == np.float32


@pytest.mark.parametrize("data", ["digits", "gauss"])
def test_grid_goes_from_the_first_codes_to_dense_ones(data, digits, rng):
    X = digits[:500] if data == "digits" else rng.normal(size=(500, 64))
    D = random_dictionary(100, 64)
    grid = lmbda_grid(X, D, n=7)
    assert grid.shape == (7,)
    assert (np.diff(grid) < 0).all()
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(grid[1] / grid[0]), rtol=1e-10)
    densities = [(sparse_encode(X, D, lmbda) != 0).mean() for lmbda in (grid[0], grid[-1])]
    assert densities[0] < 0.02
    assert densities[1] > 0.25


def test_rows_of_zeros_do_not_move_the_grid(digits):
    X, D = digits[:100], random_dictionary(100, 64)
    np.testing.assert_array_equal(lmbda_grid(np.vstack([np.zeros((900, 64)), X]), D), lmbda_grid(X, D))


def test_grid_of_data_without_codes():
    with pytest.raises(ValueError, match="orthogonal to every atom"):
        lmbda_grid(np.zeros((5, 3)), np.eye(3))
    with pytest.raises(ValueError, match="'n' parameter of lmbda_grid"):
        lmbda_grid(np.ones((5, 3)), np.eye(3), n=1)


@pytest.mark.parametrize(
    "options", [{}, {"positive": True}, {"l2": 0.3}, {"weights": np.linspace(0, 2, 40)}, {"positive": True, "l2": 1.0}]
)
def test_codes_are_certified(options, rng):
    X, D = rng.normal(size=(100, 15)), random_dictionary(40, 15)
    for tol in (1e-3, 1e-10):
        Z = sparse_encode(X, D, 0.3, code_tol=tol, **options)
        assert duality_gap(X, Z, D, 0.3, **options).max() <= tol
    worse = duality_gap(X, Z * 1.1, D, 0.3, **options)
    assert worse.max() > 1e-3


def test_least_squares_is_certified_by_the_normal_equations(rng):
    X, D = rng.normal(size=(30, 15)), random_dictionary(10, 15)
    Z = sparse_encode(X, D, 0.0)
    np.testing.assert_allclose(Z, np.linalg.lstsq(D.T, X.T, rcond=None)[0].T, atol=1e-8)
    assert duality_gap(X, Z, D, 0.0).max() <= 1e-6
    assert duality_gap(X, 0 * Z, D, 0.0).min() > 1e-2
    overcomplete = random_dictionary(40, 15)
    Z = sparse_encode(X, overcomplete, 0.0)
    np.testing.assert_allclose(Z @ overcomplete, X, atol=1e-6)


def test_a_code_that_is_far_too_large_has_a_large_gap():
    """E = 1/2 (9^2 + 10^2 + 10^2) + 0.1 x 30 = 143.5, the dual is 1/2 - 1/2 norm(y - 0.01 r)^2, and h is 1/2."""
    (gap,) = duality_gap([[1.0, 0.0, 0.0]], [[10.0, 10.0, 10.0]], np.eye(3), 0.1)
    residual = np.array([-9.0, -10.0, -10.0])
    dual = 0.5 - 0.5 * np.sum((np.array([1.0, 0.0, 0.0]) - 0.01 * residual) ** 2)
    assert gap == pytest.approx((143.5 - dual) / 0.5, rel=1e-12)
    assert gap == pytest.approx(287.2081, abs=1e-4)


def test_gap_of_zero_rows_is_zero():
    assert duality_gap(np.zeros((2, 3)), np.zeros((2, 3)), np.eye(3), 0.1).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["lmbda", "l2"])
@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "big", None, [1.0], True])
def test_weights_out_of_range(name, wrong):
    X, D, options = np.ones((2, 3)), np.eye(3), {"lmbda": 0.1} | {name: wrong}
    if (name, wrong) != ("lmbda", None):  # then a target is wanted
        with pytest.raises(ValueError, match=f"The '{name}' parameter of sparse_encode must be a float in the range"):
            sparse_encode(X, D, **options)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of duality_gap must be a float in the range"):
        duality_gap(X, X, D, **options)


def test_wrong_shapes():
    X, D = np.ones((2, 3)), np.eye(3)
    for call in (lambda *a: sparse_encode(*a, 0.1), lmbda_max, lmbda_grid):
        with pytest.raises(ValueError, match="dictionary has atoms of 4 features"):
            call(X, np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"Z has shape \(2, 4\)"):
        duality_gap(X, np.ones((2, 4)), D, 0.1)
    with pytest.raises(ValueError, match=r"init has shape \(1, 3\)"):
        sparse_encode(X, D, 0.1, init=np.ones((1, 3)))
    with pytest.raises(ValueError, match="init has negative entries"):
        sparse_encode(X, D, 0.1, init=-np.ones((2, 3)), positive=True)
    for call in (sparse_encode, lambda X, D, *a, **b: duality_gap(X, X, D, *a, **b)):
        with pytest.raises(ValueError, match="weights has 2 numbers, but codes have 3 entries"):
            call(X, D, 0.1, weights=[1.0, 1.0])
        with pytest.raises(ValueError, match="weights must be finite numbers of at least 0"):
            call(X, D, 0.1, weights=-np.ones(3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weights", [None, np.r_[np.zeros(10), np.ones(15)]], ids=["lmbda=0", "free atoms"])
def test_codes_of_duplicate_atoms_without_a_penalty_stay_small(weights, dtype):
    rng = np.random.default_rng(1)
    X, D = rng.normal(size=(300, 12)).astype(dtype), random_dictionary(20, 12, 1)
    D = np.vstack([D[:5], D[:5]] + ([] if weights is None else [D[5:]]))
    lmbda = 0.0 if weights is None else 0.1
    with warnings.catch_warnings():
        if dtype == np.float32:  # rounding alone may cost a row its certificate
            warnings.simplefilter("ignore", ConvergenceWarning)
        Z = sparse_encode(X, D, lmbda, weights=weights)
    assert np.abs(Z).max() < 1e3
    assert duality_gap(X, Z, D, lmbda, weights=weights).max() <= (1e-6 if dtype == np.float64 else 1e-3)


def test_overflow_and_underflow_certify_nothing():
    X, D = np.ones((2, 4)), np.eye(4)
    assert np.isinf(duality_gap(X, 1e200 * X, D, 0.5)).all()
    assert np.isinf(duality_gap(1e-200 * X, 1e-200 * X, D, 0.5e-200)).all()
