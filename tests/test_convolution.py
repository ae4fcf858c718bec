"""The convolutional dictionary is a matrix: its sums, its transpose, its norm, and the codes that are found on it."""

import numpy as np
import pytest
from scipy.signal import convolve as scipy_convolve

from skrlv import _convolution
from skrlv.decoders import ConvolutionalDictionary, Dictionary
from skrlv.energy import Energy
from skrlv.inference import duality_gap, fista_restart, homotopy
from skrlv.regularizers import L1

SHAPES = [  # spatial, kernel, n_components, n_channels
    ((23,), (5,), 3, 1),
    ((7,), (7,), 4, 2),
    ((12, 9), (3, 4), 2, 1),
    ((11, 14), (5, 5), 4, 3),
    ((5, 6, 7), (2, 3, 2), 3, 2),
    ((8, 8), (1, 1), 2, 3),
]
in_every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
N = 3


@pytest.fixture(params=["products", "fft"])
def method(request, monkeypatch):
    monkeypatch.setattr(_convolution, "MOST_TAPS", 10**9 if request.param == "products" else 0)
    return request.param


def dictionary(shape, rng):
    spatial, kernel, n_components, n_channels = shape
    return ConvolutionalDictionary(rng.standard_normal((n_components, *kernel, n_channels)), spatial)


def draw(decoder, rng):
    """Codes and signals of its shapes."""
    n_channels = decoder.kernels.shape[-1]
    return rng.standard_normal((N, *decoder.code_shape)), rng.standard_normal((N, *decoder.spatial_shape, n_channels))


def as_matrix(decoder):
    """The rows that each code entry draws, as a dense dictionary."""
    n = int(np.prod(decoder.code_shape))
    return decoder(np.eye(n).reshape(n, *decoder.code_shape)).reshape(n, -1)


@in_every_shape
def test_it_is_the_sum_of_full_convolutions(shape, method, rng):
    decoder = dictionary(shape, rng)
    z, _ = draw(decoder, rng)
    for code, signal in zip(z, decoder(z), strict=True):
        for c in range(signal.shape[-1]):
            parts = [scipy_convolve(code[..., i], kernel[..., c]) for i, kernel in enumerate(decoder.kernels)]
            np.testing.assert_allclose(signal[..., c], np.sum(parts, axis=0), atol=1e-12)


@in_every_shape
def test_adjoint_is_the_transpose(shape, method, rng):
    decoder = dictionary(shape, rng)
    z, r = draw(decoder, rng)
    assert decoder.adjoint(r).shape == z.shape
    assert np.vdot(decoder(z), r) == pytest.approx(np.vdot(z, decoder.adjoint(r)), rel=1e-12, abs=1e-11)


@in_every_shape
def test_vjp_is_the_derivative(shape, method, rng):
    decoder = dictionary(shape, rng)
    z, dy = draw(decoder, rng)
    moves = rng.standard_normal(decoder.kernels.shape)
    y, tape = decoder.forward(z)
    at_z, gradients = decoder.vjp(tape, dy)
    np.testing.assert_allclose(at_z, decoder.adjoint(dy))
    moved = ConvolutionalDictionary(decoder.kernels + moves, decoder.spatial_shape)(z) - y
    assert np.vdot(gradients["kernels"], moves) == pytest.approx(np.vdot(dy, moved), rel=1e-9, abs=1e-9)


@in_every_shape
def test_lipschitz_is_a_bound_and_nearly_reached(shape, rng):
    decoder = dictionary(shape, rng)
    norm = np.linalg.norm(as_matrix(decoder), 2) ** 2
    assert norm <= decoder.lipschitz * (1 + 1e-12)
    assert decoder.lipschitz <= 2.0 * norm or min(decoder.code_shape[:-1]) < 3


def test_lipschitz_is_tight_on_long_signals(rng):
    decoder = ConvolutionalDictionary(rng.standard_normal((3, 4, 1)), (300,))
    assert decoder.lipschitz == pytest.approx(np.linalg.norm(as_matrix(decoder), 2) ** 2, rel=2e-3)


def test_large_signals_go_slab_by_slab(monkeypatch, rng):
    decoder = dictionary(((11, 14), (5, 5), 4, 3), rng)
    z, r = draw(decoder, rng)
    whole = decoder(z), decoder.adjoint(r), decoder.vjp(z, r)[1]["kernels"]
    monkeypatch.setattr(_convolution, "_MOST_ENTRIES", 2000)
    for part, expected in zip((decoder(z), decoder.adjoint(r), decoder.vjp(z, r)[1]["kernels"]), whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-11)


@in_every_shape
@pytest.mark.parametrize("positive", [False, True])
def test_fista_finds_the_codes_of_the_dense_matrix(shape, positive, method, rng):
    decoder = dictionary(shape, rng)
    _, y = draw(decoder, rng)
    lmbda = 0.3 * float(np.abs(decoder.adjoint(y)).max())
    landscape = Energy(decoder, L1(positive=positive), lmbda).given(y)
    codes = fista_restart(landscape, max_iter=20_000, tol=1e-12)
    dense = Energy(Dictionary(as_matrix(decoder)), L1(positive=positive), lmbda).given(y.reshape(N, -1))
    exact = homotopy(dense, tol=1e-10)
    np.testing.assert_allclose(landscape(codes.z), dense(exact.z), rtol=1e-8)
    assert duality_gap(landscape, codes.z).max() < 1e-6
    off = codes.z * 0.9
    np.testing.assert_allclose(duality_gap(landscape, off), duality_gap(dense, off.reshape(N, -1)), rtol=1e-9)


@in_every_shape
def test_float32_stays(shape, method, rng):
    exact = dictionary(shape, rng)
    decoder = ConvolutionalDictionary(exact.kernels.astype(np.float32), exact.spatial_shape)
    z, r = (x.astype(np.float32) for x in draw(decoder, rng))
    for found, expected in ((decoder(z), exact(z)), (decoder.adjoint(r), exact.adjoint(r))):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


@in_every_shape
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_on_other_array_libraries(library, shape, method, rng):
    place = pytest.importorskip(library).asarray
    decoder = dictionary(shape, rng)
    z, r = draw(decoder, rng)
    expected = decoder(z), decoder.adjoint(r), decoder.vjp(z, r)[1]["kernels"], decoder.lipschitz
    theirs = ConvolutionalDictionary(place(decoder.kernels), decoder.spatial_shape)
    found = theirs(place(z)), theirs.adjoint(place(r)), theirs.vjp(place(z), place(r))[1]["kernels"]
    for a, b in zip(found, expected[:3], strict=True):
        np.testing.assert_allclose(np.asarray(a), b, atol=1e-11)
    assert theirs.lipschitz == pytest.approx(expected[3])


@pytest.mark.parametrize(("spatial", "kernel"), [((4,), (5,)), ((9, 3), (3, 4)), ((9,), (3, 3))])
def test_kernels_that_do_not_fit_are_refused(spatial, kernel):
    with pytest.raises(ValueError, match="do not fit"):
        ConvolutionalDictionary(np.ones((2, *kernel, 1)), spatial)


@in_every_shape
@pytest.mark.parametrize("exponent", [-400, -40, 400])
def test_no_bit_depends_on_the_unit_and_nothing_of_the_caller_is_written(shape, exponent, method, rng):
    decoder, unit = dictionary(shape, rng), 2.0**exponent
    z, r = draw(decoder, rng)
    few = z * (rng.random(z.shape) < 0.005)  # codes that are added up kernel by kernel
    for array in (decoder.kernels, z, r, few):
        array.flags.writeable = False
    np.testing.assert_array_equal(decoder(unit * z), unit * decoder(z))
    np.testing.assert_array_equal(decoder(unit * few), unit * decoder(few))
    np.testing.assert_array_equal(decoder.adjoint(unit * r), unit * decoder.adjoint(r))
    gradients = [decoder.vjp(z, dy)[1]["kernels"] for dy in (r, unit * r)]
    np.testing.assert_array_equal(gradients[1], unit * gradients[0])
