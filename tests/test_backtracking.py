"""Proximal methods find their steps where no bound on the curvature is known."""

import numpy as np
import pytest

from skrlv._layers import Layers
from skrlv.costs import CrossEntropy
from skrlv.decoders import Dictionary, Network
from skrlv.energy import Energy
from skrlv.inference import fista, fista_restart, ista
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1, StandardNormal

every_method = pytest.mark.parametrize("method", [ista, fista, fista_restart])
REGULARIZERS = [L1(), L1(positive=True, weights=np.arange(5.0)), ElasticNet(), GroupL1(2), L0(), StandardNormal()]


def network(dtype=np.float64, activation="tanh"):
    rng = np.random.RandomState(0)
    layers = Layers.drawn((5, 30, 20), activation, rng, np.zeros((1, 1), dtype))
    return Network(Layers(layers.weights, tuple(rng.randn(*b.shape).astype(dtype) for b in layers.biases), activation))


def rows(dtype=np.float64):
    y = np.random.RandomState(1).randn(12, 20)
    y[3], y[4] = 10.0 * y[3], 0.0
    return y.astype(dtype)


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_energies_never_rise_and_the_code_is_stationary(method, regularizer, dtype):
    lmbda = 1.0 if isinstance(regularizer, L0) else 0.1
    landscape = Energy(network(dtype), regularizer, lmbda).given(rows(dtype))
    found = method(landscape, max_iter=5_000, tol=1e-5, record=True)
    assert found.converged.all()
    assert found.z.dtype == dtype
    rounding = 10 * np.finfo(dtype).eps * np.abs(found.energies[:-1])
    assert (np.diff(found.energies, axis=0) <= rounding).all()
    exact, z = Energy(network(), regularizer, lmbda).given(rows()), found.z.astype(float)
    step = 1e-5  # shorter than one over any curvature on the way
    moved = (exact.prox(z - step * exact.grad(z), step) - z) / step
    unit = np.abs(exact.grad(0 * z)).max(axis=1, keepdims=True)
    assert (np.abs(moved) <= (1e-4 if dtype == np.float64 else 1e-3) * unit).all()


@every_method
def test_a_linear_network_has_the_codes_of_its_matrix(method):
    atoms = np.random.RandomState(2).randn(8, 20)
    linear = Network(Layers((atoms,), (np.zeros(20),), "relu"))
    for regularizer in (L1(), GroupL1(2), StandardNormal()):
        one, other = (
            method(Energy(decoder, regularizer, 0.5).given(rows()), max_iter=10_000, tol=1e-10)
            for decoder in (linear, Dictionary(atoms))
        )
        assert one.converged.all()
        np.testing.assert_allclose(one.z, other.z, atol=1e-7)


@every_method
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_the_code_of_a_row_does_not_depend_on_the_others(method, activation):
    energy, y = Energy(network(activation=activation), L1(), 0.1), rows()
    together = method(energy.given(y), max_iter=500, tol=1e-6)
    for row in range(len(y)):
        alone = method(energy.given(y[row : row + 1]), max_iter=500, tol=1e-6)
        np.testing.assert_allclose(alone.z[0], together.z[row], atol=1e-4)


@every_method
def test_a_row_that_ends_at_a_kink_has_not_converged(method):
    """3 abs(z - 1/2) by two ReLU units: y = -1 is nearest at z = 1/2, where the decoder has a kink."""
    biases = (np.array([-0.5, 0.5]), np.zeros(1))
    units = Layers((np.array([[1.0, -1.0]]), np.array([[3.0], [3.0]])), biases, "relu")
    landscape = Energy(Network(units), StandardNormal(), 0.1).given(np.array([[-1.0]]))
    found = method(landscape, np.array([[0.7]]), max_iter=2_000, tol=1e-8)
    assert abs(found.z[0, 0] - 0.5) < 1e-6
    assert not found.converged[0] or found.z[0, 0] == 0.5  # where both units are off, and the gradient is zero
    assert found.n_iter[0] < 2_000


@every_method
def test_a_code_that_the_network_made_is_found_again(method):
    """At lmbda = 0, from a start nearby."""
    decoder, rng = network(), np.random.RandomState(3)
    z = rng.randn(6, 5)
    landscape = Energy(decoder, L1(), 0.0).given(decoder(z))
    found = method(landscape, z + 0.1 * rng.randn(6, 5), max_iter=20_000, tol=1e-8)
    np.testing.assert_allclose(found.z, z, atol=1e-4)


def test_momentum_saves_steps():
    landscape = Energy(network(), L1(), 0.01).given(rows())
    plain, restarted = (method(landscape, max_iter=5_000, tol=1e-6) for method in (ista, fista_restart))
    assert np.sum(restarted.n_iter) <= 0.6 * np.sum(plain.n_iter)


def test_another_cost():
    """Logits of a network under cross-entropy."""
    y = (rows() > 0.0).astype(np.float64)
    landscape = Energy(network(), L1(), 0.1, cost=CrossEntropy()).given(y)
    found = fista_restart(landscape, max_iter=5_000, tol=1e-6)
    assert found.converged.all()
    assert (landscape(found.z) < landscape(landscape.start())).all()


def test_a_module_of_torch_is_a_decoder():
    torch = pytest.importorskip("torch")
    from skrlv.torch_modules import ModuleLayers

    dense = network()
    module = torch.nn.Sequential(torch.nn.Linear(5, 30), torch.nn.Tanh(), torch.nn.Linear(30, 20)).double()
    with torch.no_grad():
        for at, (weights, biases) in enumerate(zip(dense.layers.weights, dense.layers.biases, strict=True)):
            module[2 * at].weight.copy_(torch.from_numpy(weights.T.copy()))
            module[2 * at].bias.copy_(torch.from_numpy(biases))
    y = torch.from_numpy(rows())
    layers = ModuleLayers.of(module, 5, 20, y, "decoder")
    found = fista(Energy(Network(layers), L1(), 0.1).given(y), max_iter=5_000, tol=1e-8)
    expected = fista(Energy(dense, L1(), 0.1).given(rows()), max_iter=5_000, tol=1e-8)
    np.testing.assert_allclose(found.z.numpy(), expected.z, atol=1e-6)
