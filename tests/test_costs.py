"""Costs are float64 and know no scale; gradients, curvatures, extremes."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import bernoulli, norm

from skrlv._arrays import to_device, to_numpy
from skrlv.costs import CrossEntropy, GaussianError, SquaredError
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import fista
from skrlv.regularizers import L1


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_squares_that_float32_cannot_hold(scale, device, rng):
    if device != "cpu":
        pytest.importorskip("torch")
    a, b = ((scale * rng.normal(size=(5, 3, 4))).astype(np.float32) for _ in range(2))
    cost = to_numpy(SquaredError()(to_device(a, device), to_device(b, device)))
    assert cost.dtype == np.float64
    np.testing.assert_allclose(cost, 0.5 * np.sum((a.astype(float) - b.astype(float)) ** 2, axis=(1, 2)), rtol=1e-6)


COSTS = {
    "squared error": SquaredError(),
    "cross-entropy": CrossEntropy(),
    "Gaussian": GaussianError(0.7),
    "Gaussian, learned": GaussianError(np.asarray(-0.4)),
}
every_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)


@every_cost
def test_gradients_are_those_of_finite_differences(cost, rng):
    a, b, move = rng.uniform(size=(4, 6)), 3.0 * rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    h = 1e-6
    slope = (cost(a, b + h * move) - cost(a, b - h * move)) / (2 * h)
    np.testing.assert_allclose(np.sum(cost.grad(a, b) * move, axis=1), slope, rtol=1e-7)


@every_cost
def test_no_slope_changes_faster_than_the_curvature(cost, rng):
    a, b = rng.uniform(size=(200, 3)), 3.0 * rng.normal(size=(200, 3))
    b[0], move = 0.0, 1e-4 * rng.normal(size=(200, 3))
    change = np.abs(cost.grad(a, b + move) - cost.grad(a, b)) / np.abs(move)
    assert change.max() <= cost.curvature * (1 + 1e-6)
    assert change.max() >= cost.curvature * 0.99  # the bound is tight


def test_cross_entropy_is_minus_the_log_likelihood_of_bernoulli_data(rng):
    a, b = (rng.uniform(size=(5, 8)) < 0.5).astype(float), 4.0 * rng.normal(size=(5, 8))
    np.testing.assert_allclose(CrossEntropy()(a, b), -bernoulli.logpmf(a, expit(b)).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_any_log_odds_is_finite(dtype, device):
    if device != "cpu":
        pytest.importorskip("torch")
    b = np.array([[-1e30, -800.0, -1e-30, 0.0, 1e-30, 800.0, 1e30]], dtype=dtype)
    a, b = to_device(np.array([[0, 0, 0, 0.5, 1, 1, 1]], dtype=dtype), device), to_device(b, device)
    np.testing.assert_allclose(to_numpy(CrossEntropy()(a, b)), 3.0 * np.log(2.0), rtol=1e-6)
    slope = to_numpy(CrossEntropy().grad(a, b))
    assert slope.dtype == dtype
    np.testing.assert_allclose(slope, [[0, 0, 0.5, 0, -0.5, 0, 0]], atol=1e-6)


def test_codes_of_minimum_cross_entropy(rng):
    """Sparse codes of black and white pictures: FISTA's fixed point meets the conditions of the minimum."""
    atoms, X = rng.normal(size=(12, 30)), (rng.uniform(size=(8, 30)) < 0.5).astype(float)
    energy = Energy(Dictionary(atoms), L1(), 1.5, cost=CrossEntropy())
    z = fista(energy.given(X), max_iter=5000, tol=1e-12).z
    slope = (expit(z @ atoms) - X) @ atoms.T
    np.testing.assert_allclose(slope[z != 0], -1.5 * np.sign(z[z != 0]), atol=1e-6)
    assert np.abs(slope[z == 0]).max() <= 1.5 + 1e-6
    assert 0.05 < np.mean(z != 0) < 0.95


def test_gaussian_error_is_minus_the_log_likelihood(rng):
    a, b = rng.normal(size=(2, 5, 8))
    expected = -norm.logpdf(a, b, np.exp(0.35)).sum(axis=1)
    np.testing.assert_allclose(GaussianError(0.7)(a, b), expected, rtol=1e-12)


@every_cost
def test_gradients_of_what_is_learned(cost, rng):
    a, b, h = rng.uniform(size=(4, 6)), rng.normal(size=(4, 6)), 1e-6
    gradients = cost.gradients(a, cost(a, b))
    assert gradients.keys() == cost.parameters.keys()
    for name, value in cost.parameters.items():
        ahead, behind = (cost.with_parameters({name: value + sign * h})(a, b).sum() for sign in (1, -1))
        np.testing.assert_allclose(gradients[name], (ahead - behind) / (2 * h), rtol=1e-7)


def test_noise_does_not_vanish():
    cost = GaussianError(np.asarray(0.0), lowest=-3.0).with_parameters({"log_variance": np.asarray(-50.0)})
    assert cost.log_variance == -3.0


def test_what_is_expected_of_a_decoded_code():
    b = np.array([[-1.0, 0.0, 2.0]])
    np.testing.assert_allclose(CrossEntropy().expected(b), expit(b), rtol=1e-12)
    np.testing.assert_array_equal(SquaredError().expected(b), b)


@every_cost
def test_nothing_of_the_caller_is_written(cost, rng):
    a, b = rng.uniform(size=(4, 6)), rng.normal(size=(4, 6))
    a.flags.writeable = b.flags.writeable = False
    costs = cost(a, b)
    costs.flags.writeable = False
    cost.grad(a, b)
    cost.expected(b)
    cost.gradients(a, costs)


@pytest.mark.parametrize("exponent", [-400, 400])
def test_squared_error_has_the_squared_unit_of_the_data(exponent, rng):
    a, b, unit = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), 2.0**exponent
    np.testing.assert_array_equal(SquaredError()(unit * a, unit * b), SquaredError()(a, b) * unit * unit)
