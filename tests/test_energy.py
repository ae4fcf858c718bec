"""The equation and its landscapes: gradients, folding, limits."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_dictionary

from skrlv.costs import SquaredError
from skrlv.decoders import Decoder, Dictionary, LinearDecoder
from skrlv.encoders import Encoder, ZeroEncoder
from skrlv.energy import DecoderLandscape, Energy, GramLandscape
from skrlv.inference import coordinate_descent, duality_gap, fista_restart, ista
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1


@dataclass(frozen=True, eq=False)
class LinearEncoder(Encoder):
    """A prediction to fold."""

    weights: object

    def __call__(self, y):
        return y @ self.weights

    def forward(self, y):
        return self(y), y

    def vjp(self, tape, dz):
        return {"weights": tape.T @ dz}

    @property
    def parameters(self):
        return {"weights": self.weights}


def problem(seed, encoder_weight=0.7, shape=(7, 5), n_samples=4):
    rng = np.random.default_rng(seed)
    atoms = random_dictionary(*shape, seed)
    encoder = LinearEncoder(rng.normal(size=shape[::-1])) if encoder_weight else None
    energy = Energy(Dictionary(atoms), L1(), 0.3, encoder, encoder_weight)
    return energy, rng.normal(size=(n_samples, shape[1])), rng.normal(size=(n_samples, shape[0]))


seeds = st.integers(0, 10_000)
weights = st.sampled_from([0.0, 0.1, 3.0])
landscape_of = {"decoder": lambda e, y: DecoderLandscape(e, y, e._prediction(y)), "chosen": Energy.given}


@pytest.mark.parametrize("way", landscape_of)
@settings(max_examples=25, deadline=None)
@given(seed=seeds, weight=weights)
def test_gradient_against_finite_differences(way, seed, weight):
    energy, y, z = problem(seed, weight)
    landscape, h = landscape_of[way](energy, y), 1e-5
    for j in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, j] = h
        slope = (landscape.smooth(z + step) - landscape.smooth(z - step)) / (2 * h)
        np.testing.assert_allclose(landscape.grad(z)[:, j], slope, rtol=1e-6, atol=1e-6)


@dataclass(frozen=True, eq=False)
class Squashed(Decoder):
    """A decoder that is not a matrix: tanh of one."""

    atoms: object

    def __call__(self, z):
        return np.tanh(z @ self.atoms)

    def forward(self, z):
        return self(z), z

    def vjp(self, tape, dy):
        slope = dy * (1.0 - self(tape) ** 2)
        return slope @ self.atoms.T, {"atoms": tape.T @ slope}

    @property
    def parameters(self):
        return {"atoms": self.atoms}

    @property
    def code_shape(self):
        return self.atoms.shape[:1]

    @property
    def lipschitz(self):
        return 4.0 * np.linalg.norm(self.atoms, 2) ** 2


def test_a_decoder_that_is_not_a_matrix():
    energy, y, z = problem(8)
    energy = replace(energy, decoder=Squashed(energy.decoder.atoms))
    landscape, h = energy.given(y), 1e-6
    move = np.random.default_rng(0).normal(size=z.shape)
    slope = (landscape.smooth(z + h * move) - landscape.smooth(z - h * move)) / (2 * h)
    np.testing.assert_allclose(np.sum(landscape.grad(z) * move, axis=1), slope, rtol=1e-6)
    solution = ista(replace(energy, encoder=None, encoder_weight=0.0).given(y), max_iter=5000, tol=1e-8, record=True)
    assert solution.converged.all()
    assert np.diff(solution.energies, axis=0).max() <= 1e-12


@settings(max_examples=25, deadline=None)
@given(seed=seeds, weight=weights)
def test_quadratic_is_the_smooth_part(seed, weight):
    energy, y, z = problem(seed, weight)
    gram, correlations, half_norms = energy.given(y).quadratic()
    folded = half_norms - np.sum(correlations * z, axis=1) + 0.5 * np.sum((z @ gram) * z, axis=1)
    plain = energy.cost(y, energy.decoder(z))
    if weight:
        plain = plain + weight * SquaredError()(z, energy.encoder(y))
    np.testing.assert_allclose(folded, plain, rtol=1e-12)
    np.testing.assert_allclose(energy(y, z), plain + 0.3 * np.abs(z).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(energy.given(y)(z), energy(y, z), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_folding_is_stacking(seed):
    energy, y, z = problem(seed)
    root = np.sqrt(energy.encoder_weight)
    stacked = Energy(Dictionary(np.hstack([energy.decoder.atoms, root * np.eye(7)])), L1(), 0.3)
    np.testing.assert_allclose(stacked(np.hstack([y, root * energy.encoder(y)]), z), energy(y, z), rtol=1e-12)


def test_lipschitz_bounds_the_curvature():
    energy, y, _ = problem(0)
    gram = energy.given(y).quadratic().gram
    assert energy.lipschitz == pytest.approx(np.linalg.eigvalsh(gram)[-1], rel=1e-12)


def test_the_gram_is_used_where_it_is_cheaper():
    assert isinstance(problem(0, shape=(7, 5))[0].given(np.ones((1, 5))), GramLandscape)
    assert isinstance(problem(0, shape=(11, 5))[0].given(np.ones((1, 5))), DecoderLandscape)


@pytest.mark.parametrize("way", landscape_of)
def test_float32_energies_lose_nothing_to_cancellation(way, digits):
    """Rows with an offset, nearly reproduced: the energy is a millionth of the half norm."""
    atoms, y = random_dictionary(100, 64).astype(np.float32), (digits[:50] + 100.0).astype(np.float32)
    single = Energy(Dictionary(atoms), L1(), 1e-4, ZeroEncoder((100,)), 1e-9)
    exact = replace(single, decoder=Dictionary(atoms.astype(np.float64)))
    z = coordinate_descent(exact.given(y.astype(np.float64)), tol=1e-3).z.astype(np.float32)
    expected = exact(y.astype(np.float64), z.astype(np.float64))
    assert expected.max() < 1e-5 * 0.5 * np.sum(y.astype(np.float64) ** 2, axis=1).min()
    np.testing.assert_allclose(landscape_of[way](single, y)(z), expected, rtol=1e-5)


@pytest.mark.parametrize("way", landscape_of)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_that_float32_cannot_hold(way, scale):
    energy, y, z = problem(7, 0.0)
    energy = replace(energy, encoder=ZeroEncoder((7,)), encoder_weight=0.2, lmbda=0.3 * scale)
    single = replace(energy, decoder=Dictionary(energy.decoder.atoms.astype(np.float32)))
    landscape = landscape_of[way](single, (scale * y).astype(np.float32))
    expected = energy(scale * y, scale * z)
    np.testing.assert_allclose(landscape((scale * z).astype(np.float32)), expected, rtol=1e-5)
    np.testing.assert_allclose(landscape.quadratic().half_norms, 0.5 * np.sum((scale * y) ** 2, axis=1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(7, 5), (11, 5)])
def test_some_rows_of_a_landscape(shape):
    energy, y, z = problem(1, shape=shape)
    rows = np.array([2, 0])
    part, whole = energy.given(y).take(rows), energy.given(y)
    np.testing.assert_allclose(part(z[rows]), whole(z)[rows], rtol=1e-13)
    np.testing.assert_allclose(part.grad(z[rows]), whole.grad(z)[rows], rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(part.start(), whole.start()[rows])


def test_a_landscape_at_another_lmbda():
    rng = np.random.default_rng(0)
    energy, y, z = (
        Energy(Dictionary(rng.normal(size=(30, 5))), L1(), 0.3),
        rng.normal(size=(4, 5)),
        rng.normal(size=(4, 30)),
    )
    for landscape in (energy.given(y), energy.given(y).on_gram()):
        np.testing.assert_array_equal(landscape.at(0.7)(z), replace(energy, lmbda=0.7)(y, z))
    assert landscape.at(0.7).quadratic() is landscape.quadratic()  # computed once


def test_a_search_starts_at_the_prediction():
    energy, y, _ = problem(2)
    np.testing.assert_array_equal(energy.given(y).start(), energy.encoder(y))
    assert not problem(2, encoder_weight=0.0)[0].given(y).start().any()


def test_zero_encoder_is_the_elastic_net():
    energy, y, z = problem(3, 0.0)
    ridge = replace(energy, encoder=ZeroEncoder((7,)), encoder_weight=0.3)
    net = replace(energy, regularizer=ElasticNet(0.5), lmbda=0.6)
    np.testing.assert_allclose(ridge(y, z), net(y, z), rtol=1e-13)
    codes = [coordinate_descent(e.given(y), tol=1e-12).z for e in (ridge, net)]
    np.testing.assert_allclose(*codes, atol=1e-10)


def test_limits_of_the_encoder_weight():
    energy, y, _ = problem(4)
    without = coordinate_descent(replace(energy, encoder=None, encoder_weight=0.0).given(y), tol=1e-12).z
    nearly = coordinate_descent(replace(energy, encoder_weight=1e-9).given(y), tol=1e-12).z
    np.testing.assert_allclose(nearly, without, atol=1e-6)
    held = coordinate_descent(replace(energy, encoder_weight=1e9).given(y), tol=1e-12).z
    np.testing.assert_allclose(held, energy.encoder(y), atol=1e-6)


def test_only_the_squared_error_itself_has_a_gram_matrix():
    energy, y, _ = problem(5)

    @dataclass(frozen=True)
    class Weighted(SquaredError):
        def __call__(self, a, b):
            return 2.0 * super().__call__(a, b)

    class Other:
        pass

    assert energy.is_quadratic
    for cost in (Weighted(), Other()):
        other = replace(energy, cost=cost)
        assert not other.is_quadratic
        with pytest.raises(TypeError, match="Gram matrix"):
            other.given(y).quadratic()


def free_energy(atoms, y, lmbda):
    energy = Energy(Dictionary(atoms), L1(), lmbda)
    z = coordinate_descent(energy.given(y), tol=1e-14, max_iter=2000).z
    return energy(y, z)[0], z, y - z @ atoms


def test_free_energy_is_a_projection_and_obeys_the_envelope_theorem():
    atoms, y = random_dictionary(8, 6, 3), np.random.default_rng(1).normal(size=(1, 6))
    lmbda, h = 0.4, 1e-5
    F, z, r = free_energy(atoms, y, lmbda)
    assert 0 < np.count_nonzero(z) < 8
    assert pytest.approx(0.5 * np.sum(y**2) - 0.5 * np.sum((y - r) ** 2), rel=1e-10) == F
    by_lmbda = (free_energy(atoms, y, lmbda + h)[0] - free_energy(atoms, y, lmbda - h)[0]) / (2 * h)
    assert by_lmbda == pytest.approx(np.abs(z).sum(), abs=1e-6)
    for i in range(6):
        step = h * np.eye(6)[i]
        by_y = (free_energy(atoms, y + step, lmbda)[0] - free_energy(atoms, y - step, lmbda)[0]) / (2 * h)
        assert by_y == pytest.approx(r[0, i], abs=1e-6)
        for j in range(8):
            move = np.zeros_like(atoms)
            move[j, i] = h
            by_atom = (free_energy(atoms + move, y, lmbda)[0] - free_energy(atoms - move, y, lmbda)[0]) / (2 * h)
            assert by_atom == pytest.approx(-z[0, j] * r[0, i], abs=1e-6)


def test_a_weight_without_an_encoder_is_refused():
    with pytest.raises(ValueError, match="needs an encoder"):
        Energy(Dictionary(np.eye(2)), L1(), 0.1, encoder_weight=1.0)


@pytest.mark.parametrize("regularizer", [L1(True), ElasticNet(0.5, True), GroupL1(2, True), L0(True)], ids=str)
def test_a_negative_code_costs_infinity_without_a_penalty_too(regularizer):
    energy, y, z = problem(6, 0.0)
    z[1:] = np.abs(z[1:])
    z[0, 0] = -1.0
    free = replace(energy, regularizer=regularizer, lmbda=0.0)
    expected = SquaredError()(y, energy.decoder(z))
    expected[0] = np.inf
    for way in landscape_of.values():
        np.testing.assert_allclose(way(free, y)(z), expected, rtol=1e-12)


@pytest.mark.parametrize("regularizer", [L1(), ElasticNet()], ids=str)
def test_numpy_scalars_do_not_promote_float32(regularizer):
    atoms, y = random_dictionary(8, 6).astype(np.float32), np.ones((3, 6), dtype=np.float32)
    energy = Energy(Dictionary(atoms), regularizer, np.float64(0.2), ZeroEncoder((8,)), np.float64(0.1))
    landscape = energy.given(y)
    for array in (landscape.grad(landscape.start()), landscape.prox(y, 0.5), *landscape.quadratic()[:2]):
        assert array.dtype == np.float32


def test_a_decoder_without_a_gram_matrix_is_solved_by_decoding_and_certified():
    """A convolution, written as a linear decoder: bounds, solvers and certificate hold, and no numba kernel is used."""

    @dataclass(frozen=True, eq=False)
    class Convolution(LinearDecoder):
        kernel: object

        def __call__(self, z):
            return np.stack([np.convolve(row[:, 0], self.kernel) for row in z])

        def adjoint(self, r):
            return np.stack([np.correlate(row, self.kernel, "valid") for row in r])[..., None]

        def forward(self, z):
            return self(z), None

        def vjp(self, tape, dy):
            return self.adjoint(dy), {}

        parameters, code_shape = {}, (20, 1)
        squared_norms = property(lambda self: np.array([self.kernel @ self.kernel]))
        lipschitz = property(lambda self: float(np.abs(self.kernel).sum() ** 2))

    kernel, y = np.array([0.2, 0.9, 0.4]), np.random.default_rng(0).normal(size=(5, 22))
    matrix = Convolution(kernel)(np.eye(20)[:, :, None])
    for regularizer in (L1(), L1(positive=True), ElasticNet(0.7)):
        dense = Energy(Dictionary(matrix), regularizer, 0.2)
        wave = replace(dense, decoder=Convolution(kernel))
        exact = coordinate_descent(dense.given(y), tol=1e-12).z
        found = fista_restart(wave.given(y), max_iter=5000, tol=1e-10).z
        np.testing.assert_allclose(found[..., 0], exact, atol=1e-8)
        assert duality_gap(wave.given(y), found).max() <= 1e-7
        with pytest.raises(TypeError):
            coordinate_descent(wave.given(y))
