"""Exact convolutional codes: the energy of other methods, a certificate that is valid, and the same bits on threads."""

from importlib import import_module

import numpy as np
import pytest
from test_convolution import SHAPES, as_matrix, dictionary

from skrlv._convolution import boxed_shape
from skrlv.decoders import ConvolutionalDictionary, Dictionary
from skrlv.encoders import ZeroEncoder
from skrlv.encoders.encoder import Encoder
from skrlv.energy import Energy
from skrlv.inference import duality_gap, fista_restart, homotopy, tiled_descent
from skrlv.kernels import convolution
from skrlv.learning import unit_rows
from skrlv.regularizers import L0, L1, ElasticNet

N = 3
tiled = import_module("skrlv.inference.tiled_descent")  # the package has the function under this name
in_every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@pytest.fixture
def small_tiles(monkeypatch):
    """Problems of a test's size in several tiles, and working sets that do not hold a tile."""
    monkeypatch.setattr(tiled, "_POSITIONS_PER_TILE", 8)
    monkeypatch.setattr(tiled, "_ENTRIES_PER_SLAB", 50)


def signals(decoder, rng):
    return rng.standard_normal((N, *decoder.spatial_shape, decoder.kernels.shape[-1]))


def unit_kernels(shape, rng):
    decoder = dictionary(shape, rng)
    return decoder.with_rows(unit_rows(decoder.rows)[0])


def some_lmbda(decoder, y, share=0.2):
    return share * float(np.abs(decoder.adjoint(y)).max())


@in_every_shape
@pytest.mark.parametrize("positive", [False, True])
def test_energy_is_that_of_fista_and_of_the_dense_matrix(shape, positive, small_tiles, rng):
    decoder = dictionary(shape, rng)
    y = signals(decoder, rng)
    regularizer, lmbda = L1(positive=positive), some_lmbda(decoder, y)
    landscape = Energy(decoder, regularizer, lmbda).given(y)
    found = tiled_descent(landscape, tol=1e-10)
    assert found.converged.all()
    dense = Energy(Dictionary(as_matrix(decoder)), regularizer, lmbda).given(y.reshape(N, -1))
    np.testing.assert_allclose(landscape(found.z), dense(homotopy(dense, tol=1e-10).z), rtol=1e-8)
    np.testing.assert_allclose(
        landscape(found.z), landscape(fista_restart(landscape, max_iter=20_000, tol=1e-11).z), rtol=1e-8
    )
    if positive:
        assert found.z.min() >= 0.0


@in_every_shape
@pytest.mark.parametrize("max_iter", [0, 1, 2, 5])
def test_gap_is_that_of_the_array_code_and_bounds_the_distance(shape, max_iter, small_tiles, rng):
    decoder = unit_kernels(shape, rng)
    y = signals(decoder, rng)
    landscape = Energy(decoder, L1(), some_lmbda(decoder, y)).given(y)
    early = tiled_descent(landscape, max_iter=max_iter, tol=1e-14)
    np.testing.assert_allclose(early.error, duality_gap(landscape, early.z), rtol=1e-6, atol=1e-13)
    least = landscape(tiled_descent(landscape, tol=1e-12).z)
    energy = landscape(early.z)
    unit = np.maximum(np.minimum(energy, landscape.half_norms), 1e-3 * landscape.half_norms)
    assert (energy - least <= early.error * unit + 1e-12 * energy).all()


@in_every_shape
def test_gap_is_above_an_independent_dual_bound(shape, rng):
    """The residual, scaled until no kernel correlates above lmbda anywhere, is dual feasible."""
    from scipy.signal import correlate

    decoder = unit_kernels(shape, rng)
    y = signals(decoder, rng)
    lmbda = some_lmbda(decoder, y)
    landscape = Energy(decoder, L1(), lmbda).given(y)
    found = tiled_descent(landscape, tol=1e-3)
    for signal, z, gap in zip(y, found.z, found.error, strict=True):
        residual = signal - decoder(z[None])[0]
        pulls = [
            sum(correlate(residual[..., c], kernel[..., c], mode="valid") for c in range(signal.shape[-1]))
            for kernel in decoder.kernels
        ]
        feasible = residual * min(1.0, lmbda / np.abs(pulls).max())
        at_zero = 0.5 * np.sum(signal**2)
        bound = at_zero - 0.5 * np.sum((signal - feasible) ** 2)
        energy = 0.5 * np.sum(residual**2) + lmbda * np.abs(z).sum()
        unit = max(min(energy, at_zero), 1e-3 * at_zero)
        assert energy - bound == pytest.approx(gap * unit, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("shape", [((40, 37), (5, 4), 6, 1), ((300,), (9,), 4, 2), ((11, 12, 13), (3, 3, 3), 4, 1)])
def test_threads_never_change_a_bit(shape, small_tiles, rng):
    decoder = unit_kernels(shape, rng)
    y = signals(decoder, rng)
    landscape = Energy(decoder, L1(), some_lmbda(decoder, y)).given(y)
    one, two = (tiled_descent(landscape, tol=1e-6, n_jobs=n_jobs) for n_jobs in (1, 2))
    alone = tiled_descent(Energy(decoder, L1(), landscape.energy.lmbda).given(y[1:2]), tol=1e-6)
    np.testing.assert_array_equal(one.z, two.z)
    np.testing.assert_array_equal(one.z[1], alone.z[0])
    np.testing.assert_array_equal(one.n_iter, two.n_iter)


@pytest.mark.parametrize("shape", [((40, 37), (5, 4), 6, 1), ((300,), (9,), 4, 2), ((11, 12, 13), (3, 3, 3), 4, 1)])
def test_tiles_of_one_colour_are_apart_and_cover_all(shape, small_tiles, rng):
    decoder = unit_kernels(shape, rng)
    problem = tiled.ConvolutionalLasso(Energy(decoder, L1(), 1.0), np.float64)
    reach = [size // 2 for size in problem.table.shape[1:-1]]
    for tiling in problem.tilings:
        seen = np.zeros(boxed_shape(problem.positions), int)
        for group in tiling:
            touched = np.zeros(np.add(seen.shape, np.multiply(2, reach)), int)
            for box in group:
                where = [slice(box[2 * axis], box[2 * axis + 1]) for axis in range(3)]
                seen[tuple(where)] += 1
                touched[tuple(slice(w.start, w.stop + 2 * r) for w, r in zip(where, reach, strict=True))] += 1
            assert touched.max() == 1
        assert (seen == 1).all()


class Constant(Encoder):
    """Predicts what it was given."""

    def __init__(self, code):
        object.__setattr__(self, "code", code)

    def forward(self, y):
        return self.code, None

    def vjp(self, tape, dz):
        return {}

    @property
    def parameters(self):
        return {}


@in_every_shape
def test_codes_may_be_drawn_to_a_prediction(shape, small_tiles, rng):
    decoder = unit_kernels(shape, rng)
    y = signals(decoder, rng)
    guess = rng.standard_normal((N, *decoder.code_shape))
    landscape = Energy(decoder, L1(), some_lmbda(decoder, y), Constant(guess), 0.7).given(y)
    found = tiled_descent(landscape, tol=1e-9)
    assert found.converged.all()
    np.testing.assert_allclose(found.error, duality_gap(landscape, found.z), rtol=1e-3, atol=1e-13)
    expected = landscape(fista_restart(landscape, max_iter=20_000, tol=1e-11).z)
    np.testing.assert_allclose(landscape(found.z), expected, rtol=1e-8)


@pytest.mark.parametrize(
    "regularizer",
    [L1(weights=np.array([0.0, 0.5, 1.0, 2.0])), L1(True, weights=np.array([1.0, 3.0, 1.0, 2.0])), ElasticNet(0.6)],
    ids=str,
)
def test_weights_and_ridges(regularizer, rng):
    decoder = unit_kernels(((30,), (5,), 4, 1), rng)
    y = signals(decoder, rng)
    landscape = Energy(decoder, regularizer, some_lmbda(decoder, y)).given(y)
    found = tiled_descent(landscape, tol=1e-8)
    assert found.converged.all()
    np.testing.assert_allclose(found.error, duality_gap(landscape, found.z), rtol=1e-3, atol=1e-12)
    expected = landscape(fista_restart(landscape, max_iter=50_000, tol=1e-11).z)
    np.testing.assert_allclose(landscape(found.z), expected, rtol=1e-7)


def test_a_ridge_of_an_encoder_that_predicts_nothing(rng):
    decoder = unit_kernels(((20, 20), (4, 4), 4, 1), rng)
    y = signals(decoder, rng)
    landscape = Energy(decoder, L1(), 0.5, ZeroEncoder(decoder.code_shape), 0.3).given(y)
    found = tiled_descent(landscape, tol=1e-8)
    np.testing.assert_allclose(
        landscape(found.z), landscape(fista_restart(landscape, max_iter=20_000, tol=1e-11).z), rtol=1e-8
    )


def test_float32_codes_and_a_certificate_in_float64(rng):
    shape = ((60, 50), (5, 4), 6, 1)
    decoder = unit_kernels(shape, rng)
    y, lmbda = signals(decoder, rng), 1.0
    single = Energy(ConvolutionalDictionary(decoder.kernels.astype(np.float32), decoder.spatial_shape), L1(), lmbda)
    exact = Energy(
        ConvolutionalDictionary(single.decoder.kernels.astype(np.float64), decoder.spatial_shape), L1(), lmbda
    )
    y = y.astype(np.float32)
    for tol in (1e-4, 1e-6):
        found = tiled_descent(single.given(y), tol=tol)
        assert found.z.dtype == np.float32
        gaps = duality_gap(exact.given(y.astype(np.float64)), found.z.astype(np.float64))
        assert gaps.max() <= tol * 1.01 + 2e-7


def test_a_warm_start_is_no_detour(rng):
    decoder = unit_kernels(((60, 50), (5, 4), 6, 1), rng)
    y = signals(decoder, rng)
    landscape = Energy(decoder, L1(), 1.0).given(y)
    cold = tiled_descent(landscape, tol=1e-8)
    warm = tiled_descent(landscape, cold.z, tol=1e-8)
    assert (warm.n_iter == 0).all()
    np.testing.assert_array_equal(warm.z, cold.z)
    near = tiled_descent(landscape, 1.01 * cold.z, tol=1e-8)
    assert near.n_iter.sum() < cold.n_iter.sum()
    np.testing.assert_allclose(landscape(near.z), landscape(cold.z), rtol=1e-8)


def test_more_entries_than_one_working_set_holds(rng):
    decoder = unit_kernels(((50, 50), (3, 3), 8, 1), rng)
    y = signals(decoder, rng)[:1]
    landscape = Energy(decoder, L1(), some_lmbda(decoder, y, 0.01)).given(y)
    found = tiled_descent(landscape, tol=1e-5)
    assert found.converged.all()
    assert np.count_nonzero(found.z) > convolution.MAX_ENTRIES
    np.testing.assert_allclose(found.error, duality_gap(landscape, found.z), rtol=1e-6)


def test_zero_is_an_answer(rng):
    decoder = unit_kernels(((20,), (5,), 4, 1), rng)
    y = signals(decoder, rng)
    y[1] = 0.0
    found = tiled_descent(Energy(decoder, L1(), 1.001 * some_lmbda(decoder, y, 1.0)).given(y))
    assert not found.z.any()
    assert (found.n_iter == 0).all()
    assert found.converged.all()


def test_visits_run_out_and_say_so(rng):
    decoder = unit_kernels(((60,), (5,), 4, 1), rng)
    y = signals(decoder, rng)
    found = tiled_descent(Energy(decoder, L1(), 0.01).given(y), max_iter=1, tol=1e-9)
    assert not found.converged.any()
    assert (found.error > 1e-9).all()
    assert np.isfinite(found.z).all()


def test_other_problems_are_refused(rng):
    decoder = unit_kernels(((20,), (5,), 4, 1), rng)
    y = signals(decoder, rng)
    with pytest.raises(TypeError, match="ConvolutionalDictionary"):
        tiled_descent(Energy(Dictionary(np.eye(20)), L1(), 1.0).given(y[..., 0]))
    with pytest.raises(TypeError, match="L1 family"):
        tiled_descent(Energy(decoder, L0(), 1.0).given(y))
