"""Free energies: the energy at the best code, and integrated over codes."""

import math

import numpy as np
import pytest
from estimators import MODELS, data, every_model, fitted, raw, state_of
from problems import random_dictionary
from scipy.integrate import dblquad, quad
from scipy.special import erfcx
from scipy.stats import multivariate_normal

from skrlv import ConvSparseCoder, SparseCoder, VariationalAutoencoder
from skrlv._arrays import to_device, to_numpy
from skrlv._layers import Layers
from skrlv.decoders import Dictionary, Network
from skrlv.encoders import ZeroEncoder
from skrlv.energy import Energy
from skrlv.inference import fista_restart, free_energy
from skrlv.inference.annealing import annealed
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1, StandardNormal

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
TEMPERATURES = pytest.mark.parametrize("temperature", [0.05, 0.5, 4.0])
PENALTIES = [L1(), L1(positive=True), L1(weights=[0.5, 2.0]), ElasticNet(), GroupL1(2), GroupL1(2, positive=True)]


def at(energy, y, temperature):
    """The free energy, with the code of least energy found first."""
    landscape = energy.given(y)
    return free_energy(landscape, temperature, fista_restart(landscape, max_iter=20_000, tol=1e-9).z)


# Estimators


@every_model
def test_it_is_at_most_the_energy_of_any_code(estimator):
    model, X = fitted(estimator), data(estimator)
    before, state = raw(X), state_of(model)
    found = model.free_energy(X)
    assert found.shape == (len(X),)
    assert found.dtype == np.float64
    Z = model.transform(X)
    unit = 1e-5 * np.abs(model.energy(X))
    for factor in (1.0, 0.9, 0.0):
        assert (found <= model.energy(X, factor * Z) + unit).all()
    np.testing.assert_array_equal(raw(X), before)
    assert state_of(model).keys() == state.keys()


@every_model
def test_where_transform_searches_it_is_the_energy(estimator):
    model, X = fitted(estimator), data(estimator)
    if hasattr(model, "posterior") or getattr(model, "inference", "") == "encoder" or hasattr(model, "refine"):
        assert (model.free_energy(X) < model.energy(X)).any()
    else:
        np.testing.assert_array_equal(model.free_energy(X), model.energy(X))


@every_model
@pytest.mark.parametrize("temperature", [-1.0, np.inf, np.nan, "cold", None, True])
def test_a_wrong_temperature_is_refused(estimator, temperature):
    with pytest.raises(ValueError, match=r"temperature=.* must be a finite number of at least 0"):
        fitted(estimator).free_energy(data(estimator), temperature)


@pytest.mark.parametrize("estimator", [MODELS[0], MODELS[7]], ids=lambda e: type(e).__name__)
def test_as_it_grows_cold_the_estimate_tends_to_the_minimum(estimator):
    model, X = fitted(estimator), data(estimator)[:4]
    hard, distance = model.free_energy(X), []
    for temperature in (1e-1, 1e-2, 1e-3):
        values, errors = model.free_energy(X, temperature, return_std=True)
        assert (errors > 0.0).all()
        distance.append(np.abs(values - hard).max())
    assert distance[2] < distance[1] < distance[0]
    assert distance[2] < 0.1


def test_a_row_does_not_depend_on_the_others(rng):
    """All rows share the draws; rounding may decide differently whether a chain moves."""
    X = rng.normal(size=(6, 9))
    coder = SparseCoder(5, lmbda=0.3, max_iter=5, random_state=0).fit(X)
    together = coder.free_energy(X, 0.5)
    np.testing.assert_allclose(np.concatenate([coder.free_energy(x[None], 0.5) for x in X]), together, atol=0.03)
    np.testing.assert_array_equal(coder.free_energy(X, 0.5), together)


def test_lists_of_signals_of_several_sizes(rng):
    signals = [rng.normal(size=n) for n in (12, 9, 12, 10)]
    coder = ConvSparseCoder(2, 3, lmbda=0.5, max_iter=3, random_state=0).fit(signals)
    np.testing.assert_array_equal(coder.free_energy(signals), coder.energy(signals))
    np.testing.assert_allclose(coder.free_energy(signals[:1], 0.1), coder.free_energy(signals, 0.1)[:1], atol=0.02)


def test_codes_of_too_many_entries_are_refused(rng):
    images = rng.normal(size=(2, 40, 40))
    coder = ConvSparseCoder(2, (3, 3), lmbda=0.5, max_iter=1, random_state=0).fit(images)
    with pytest.raises(ValueError, match="2888 entries are too many to integrate over"):
        coder.free_energy(images, 1.0)


# Closed forms


@TEMPERATURES
def test_a_quadratic_energy(temperature, rng):
    atoms, y, lmbda = random_dictionary(4, 7), rng.normal(size=(5, 7)), 0.7
    values, errors = at(Energy(Dictionary(atoms), StandardNormal(), lmbda), y, temperature)
    covariance = temperature * (np.eye(7) + atoms.T @ atoms / lmbda)  # of y, if z has variance T / lmbda
    volume = 0.5 * 7 * math.log(2 * math.pi * temperature) + 0.5 * 4 * math.log(2 * math.pi * temperature / lmbda)
    expected = -temperature * (multivariate_normal(np.zeros(7), covariance).logpdf(y) + volume)
    np.testing.assert_allclose(values, expected, rtol=1e-10)
    assert not errors.any()


@TEMPERATURES
def test_one_atom_under_l1(temperature, rng):
    """Two halves of Gaussian densities."""
    atom, y, lmbda = np.array([[0.6, 0.8]]), rng.normal(size=(6, 2)), 0.4
    values, errors = at(Energy(Dictionary(atom), L1(), lmbda), y, temperature)
    q = (y @ atom.T)[:, 0]
    halves = [erfcx((lmbda - sign * q) / math.sqrt(2 * temperature)) for sign in (1.0, -1.0)]
    integral = math.sqrt(math.pi * temperature / 2) * np.sum(halves, axis=0)
    np.testing.assert_allclose(values, 0.5 * np.sum(y**2, axis=1) - temperature * np.log(integral), rtol=1e-9)
    assert (errors <= 1e-9 * temperature).all()


def test_a_linear_decoder_and_gaussian_noise_are_probabilistic_pca(rng):
    """-F at T = 1 is log p(x), but for the constant of the normal density of codes."""
    X = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 6))
    model = VariationalAutoencoder(3, hidden_layer_sizes=(), max_iter=20, tol=0, random_state=0).fit(X)
    layers, scaling = model.decoder_.layers, model.decoder_.scaling
    atoms, mean = scaling.unit * layers.weights[0], scaling.back(layers.biases[0])
    law = multivariate_normal(mean, atoms.T @ atoms + model.scale_**2 * np.eye(6))
    np.testing.assert_allclose(-model.free_energy(X, 1.0), law.logpdf(X) + 1.5 * math.log(2 * math.pi), rtol=1e-9)


def test_without_a_penalty_few_atoms_are_bounded_by_the_data(rng):
    atoms, y = random_dictionary(3, 6), rng.normal(size=(4, 6))
    values, _ = at(Energy(Dictionary(atoms), L1(), 0.0), y, 0.5)
    left = y - y @ np.linalg.pinv(atoms) @ atoms
    volume = 1.5 * math.log(math.pi) - 0.5 * np.linalg.slogdet(atoms @ atoms.T)[1]  # 2 pi T is pi
    np.testing.assert_allclose(values, 0.5 * np.sum(left**2, axis=1) - 0.5 * volume, rtol=1e-10)


# Quadrature


@pytest.mark.parametrize("regularizer", PENALTIES, ids=str)
def test_codes_of_two_entries(regularizer):
    temperature = 0.5
    atoms, y = random_dictionary(2, 5), 2.0 * np.random.default_rng(1).normal(size=(2, 5))
    energy = Energy(Dictionary(atoms), regularizer, 0.3)
    values, errors = at(energy, y, temperature)
    least = energy(y, fista_restart(energy.given(y), tol=1e-9).z)
    low, parts = (0.0 if regularizer.positive else -60.0), ([0.0] if regularizer.positive else [-60.0, 0.0])
    for row in range(2):

        def density(b, a, row=row):
            return math.exp(-(energy(y[row : row + 1], np.array([[a, b]]))[0] - least[row]) / temperature)

        total = sum(
            dblquad(density, a, 60.0 if a == 0.0 else 0.0, low, lambda a: 60.0, epsabs=1e-7, epsrel=1e-5)[0]
            for a in parts
        )
        assert values[row] == pytest.approx(least[row] - temperature * math.log(total), rel=1e-3)
    assert (errors <= 1e-6 * temperature).all()


def test_two_minima_of_a_network():
    """The decoder |z| by two ReLU units: the far minimum counts as much as the one that was found."""
    folded = Network(Layers((np.array([[1.0, -1.0]]), np.ones((2, 1))), (np.zeros(2), np.zeros(1)), "relu"))
    landscape = Energy(folded, StandardNormal(), 0.1).given(np.array([[3.0]]))
    values, _ = free_energy(landscape, 0.1, np.array([[2.7]]))
    half = quad(lambda z: math.exp(-10 * (0.5 * (3.0 - z) ** 2 + 0.05 * z**2)), 0.0, 10.0, points=[2.7])[0]
    np.testing.assert_allclose(values, -0.1 * math.log(2.0 * half), rtol=1e-8)


# Annealed importance sampling


@pytest.mark.parametrize("regularizer", [*PENALTIES, StandardNormal()], ids=str)
@TEMPERATURES
def test_estimates_agree_with_quadrature(regularizer, temperature):
    atoms, y = random_dictionary(2, 5), 2.0 * np.random.default_rng(1).normal(size=(8, 5))
    landscape = Energy(Dictionary(atoms), regularizer, 0.3).given(y)
    z = fista_restart(landscape, tol=1e-9).z
    expected, _ = free_energy(landscape, temperature, z)
    for hessian in (None, atoms @ atoms.T):
        values, errors = annealed(landscape, temperature, z, hessian, 0)
        assert (np.abs(values - expected) <= 5.0 * errors + 0.03 * temperature).all()
        assert (errors <= 0.2 * temperature).all()


def test_estimates_agree_with_the_closed_form_of_many_entries():
    atoms, y = random_dictionary(20, 30), np.random.default_rng(1).normal(size=(5, 30))
    landscape = Energy(Dictionary(atoms), StandardNormal(), 0.3).given(y)
    z = fista_restart(landscape, tol=1e-9).z
    expected, _ = free_energy(landscape, 0.5, z)
    for hessian in (atoms @ atoms.T, None):
        values, errors = annealed(landscape, 0.5, z, hessian, 0)
        assert (np.abs(values - expected) <= 5.0 * errors).all()
        assert (errors <= 0.2).all()


def test_independent_entries_add_up():
    """Orthogonal atoms: the integral is a product over entries."""
    energies = [Energy(Dictionary(np.eye(k)), L1(), 0.4) for k in (12, 1)]
    y = np.random.default_rng(2).normal(size=(3, 12))
    values, errors = at(energies[0], y, 0.3)
    alone = [at(energies[1], y[:, j : j + 1], 0.3)[0] for j in range(12)]
    assert (np.abs(values - np.sum(alone, axis=0)) <= 5.0 * errors + 1e-3).all()
    assert (errors < 0.1).all()


def test_torch_agrees_with_numpy():
    pytest.importorskip("torch")
    atoms, y = random_dictionary(4, 6), np.random.default_rng(3).normal(size=(3, 6))
    for regularizer in (L1(), L1(positive=True), StandardNormal()):
        found = []
        for device in ("cpu", "torch:cpu"):
            landscape = Energy(Dictionary(to_device(atoms, device)), regularizer, 0.3).given(to_device(y, device))
            z = to_device(to_numpy(fista_restart(landscape, tol=1e-9).z), device)
            found.append(free_energy(landscape, 0.5, z).values)
        np.testing.assert_allclose(*found, atol=0.03)


# What has no integral


@pytest.mark.parametrize("regularizer", [L1(), L0(), L1(weights=np.r_[0.0, np.ones(7)])], ids=str)
def test_an_energy_that_does_not_bound_the_code_is_refused(regularizer, rng):
    lmbda = 0.0 if getattr(regularizer, "weights", None) is None else 0.3
    energy = Energy(Dictionary(random_dictionary(8, 4)), regularizer, lmbda)
    with pytest.raises(ValueError, match="is minus infinity"):
        free_energy(energy.given(rng.normal(size=(2, 4))), 1.0, np.zeros((2, 8)))


def test_codes_with_zeros_are_no_part_of_an_integral(rng):
    energy = Energy(Dictionary(random_dictionary(3, 6)), L0(), 0.3)
    with pytest.raises(ValueError, match="L0 has no free energy at a temperature above zero"):
        free_energy(energy.given(rng.normal(size=(2, 6))), 1.0, np.zeros((2, 3)))


@every_model
def test_any_model_at_a_temperature(estimator):
    model, X = fitted(estimator), data(estimator)[:2]
    if getattr(estimator, "device", "cpu") != "cpu" or getattr(estimator, "regularizer", "") == "l0":
        pytest.skip("torch is asked elsewhere; L0 has none")
    values, errors = model.free_energy(X, 0.5, return_std=True)
    assert np.isfinite(values).all()
    assert (errors >= 0.0).all()
    assert (errors < 0.5).all()


def test_an_encoder_term_bounds_the_code(rng):
    energy = Energy(Dictionary(random_dictionary(8, 4)), L1(), 0.0, ZeroEncoder((8,)), 0.5)
    assert np.isfinite(at(energy, rng.normal(size=(2, 4)), 1.0).values).all()
