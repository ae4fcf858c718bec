"""Kernels: their statistics, the exact minimum in the unit ball, shifts; all of it the same in any unit of the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrlv._arrays import to_device, to_numpy
from skrlv.decoders import ConvolutionalDictionary
from skrlv.energy import Energy
from skrlv.inference import tiled_descent
from skrlv.learning import convolution_statistics, learn_kernels, unit_rows, update_kernels, worst_windows
from skrlv.learning.kernels import _in_unit_ball, better_centred
from skrlv.regularizers import L1

units = st.integers(-600, 600).map(lambda exponent: 2.0**exponent)


def test_update_is_the_minimum_over_each_kernel_in_the_ball(rng):
    """Against gradient descent on the table of lags, for one kernel, inside and on the edge of the ball."""
    kernels, spatial = rng.standard_normal((1, 3, 4, 2)), (12, 11)
    z = rng.standard_normal((2, 10, 8, 1)) * (rng.random((2, 10, 8, 1)) < 0.2)
    for size in (0.1, 1.0, 10.0):
        y = ConvolutionalDictionary(size * kernels, spatial)(z) + 0.1 * rng.standard_normal((2, *spatial, 2))
        found = convolution_statistics(y, z, (3, 4))
        row = update_kernels(np.zeros((1, 24)), found["ZtZ"], found["ZtY"])
        decoder = ConvolutionalDictionary(row.reshape(1, 3, 4, 2), spatial)
        slope = decoder.vjp(z, decoder(z) - y)[1]["kernels"].reshape(-1)
        inside = np.linalg.norm(row) < 1.0 - 1e-9
        multiplier = 0.0 if inside else -slope @ row[0]
        assert multiplier >= 0.0
        assert np.linalg.norm(row) <= 1.0 + 1e-9
        np.testing.assert_allclose(slope, -multiplier * row[0], atol=1e-8 * np.abs(found["ZtY"]).max())


def test_statistics_are_the_sums_they_say(rng):
    y, z = rng.standard_normal((3, 9, 8, 2)), rng.standard_normal((3, 7, 5, 4))
    z[rng.random(z.shape) < 0.7] = 0.0
    found = convolution_statistics(y, z, (3, 4))
    for i in range(4):
        for u in np.ndindex(3, 4):
            there = y[:, u[0] : u[0] + 7, u[1] : u[1] + 5]
            np.testing.assert_allclose(found["ZtY"][(i, *u)], np.einsum("npq,npqc->c", z[..., i], there), atol=1e-12)
        for j in range(4):
            for d in np.ndindex(5, 7):
                shift = d[0] - 2, d[1] - 3
                moved = np.zeros((3, 7, 5))
                a = slice(max(0, shift[0]), 7 + min(0, shift[0])), slice(max(0, shift[1]), 5 + min(0, shift[1]))
                b = slice(max(0, -shift[0]), 7 - max(0, shift[0])), slice(max(0, -shift[1]), 5 - max(0, shift[1]))
                if a[0].stop > a[0].start and a[1].stop > a[1].start:
                    moved[:, b[0], b[1]] = z[:, a[0], a[1], j]
                assert found["ZtZ"][(i, j, *d)] == pytest.approx(np.sum(z[..., i] * moved), abs=1e-12)
    np.testing.assert_allclose(found["usage"], np.count_nonzero(z, axis=(0, 1, 2)) / 12)
    assert found["count"] == 3 * 35 / 12


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.floats(-8, 8), st.integers(0, 10**6))
def test_the_minimum_in_the_ball_meets_its_conditions(n, rank, n_channels, log_size, seed):
    """(A + m I) x = b with m >= 0, and m = 0 within the ball; A of any rank and condition."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, rank)) * 10.0 ** rng.uniform(-3, 0, size=rank)
    A = factors @ factors.T
    b = 10.0**log_size * A @ rng.normal(size=(n, n_channels))
    x = _in_unit_ball(A, b)
    norm, slope, rounding = np.linalg.norm(x), A @ x - b, 1e-9 * (np.abs(A).max() + np.abs(b).max())
    assert norm <= 1.0 + 1e-12
    if norm < 1.0 - 1e-6:
        np.testing.assert_allclose(slope, 0.0, atol=rounding)
    else:
        multiplier = -np.sum(slope * x) / norm**2
        assert multiplier >= -rounding
        np.testing.assert_allclose(slope, -multiplier * x, atol=rounding)


@settings(max_examples=100, deadline=None)
@given(units)
def test_the_minimum_in_the_ball_does_not_depend_on_the_unit(unit):
    found = _in_unit_ball(np.diag([1.0, 2.0]) * unit, np.array([[3.0], [4.0]]) * unit)
    np.testing.assert_allclose(found.ravel(), [0.67673, 0.73623], atol=1e-5)
    np.testing.assert_array_equal(found, _in_unit_ball(np.diag([1.0, 2.0]), np.array([[3.0], [4.0]])))


@pytest.mark.parametrize("sizes", [(1e-300, 1.0), (1.0, 1e-300), (1e-200, 1e100), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_the_minimum_in_the_ball_is_finite_whatever_the_sizes(sizes):
    found = _in_unit_ball(np.diag([1.0, 2.0]) * sizes[0], np.array([[3.0], [4.0]]) * sizes[1])
    assert np.isfinite(found).all()
    assert np.linalg.norm(found) <= 1.0 + 1e-12


PATTERNS = unit_rows(np.random.default_rng(3).standard_normal((2, 11)))[0]


def problem(unit=1.0, n_signals=8, dtype=np.float64, place=np.asarray):
    """Signals with two planted patterns, and kernels whose windows miss half of them: -> (energy, y, z)."""
    rng = np.random.default_rng(7)
    y = 0.05 * rng.standard_normal((n_signals, 300, 1))
    for signal in y:
        for pattern in PATTERNS:
            for at in rng.choice(289, 6, replace=False):
                signal[at : at + 11, 0] += pattern * rng.choice([-4.0, 4.0])
    kernels = unit_rows(np.roll(PATTERNS, 5, axis=1) * (np.arange(11) >= 5))[0][..., None]
    decoder = ConvolutionalDictionary(place(kernels.astype(dtype)), (300,))
    y = (unit * y).astype(dtype)
    z = tiled_descent(Energy(ConvolutionalDictionary(kernels, (300,)), L1(), 2.0 * unit).given(y.astype(float))).z
    return Energy(decoder, L1(), 2.0 * unit), place(y), place(z.astype(dtype))


@settings(max_examples=10, deadline=None)
@given(st.integers(-300, 300).map(lambda exponent: 2.0**exponent))
def test_learning_does_not_depend_on_the_unit(unit):
    """To the bit: kernels, shifts and what is worst reconstructed; statistics and codes in their units."""
    results = []
    for size in (1.0, unit):
        energy, y, z = problem(size)
        state, after = learn_kernels({}, energy, y, z, whole=True)
        shifted, kernels = better_centred(energy, y, z)
        rows, errors = worst_windows(energy, y, z, 5)
        results.append(
            [
                *(state[name] for name in ("usage", "count", "scale", "idle")), state["ZtZ"] / size / size,
                state["ZtY"] / size / size, z / size, after.decoder.kernels, shifted, kernels, rows / size,
                errors / size / size,
            ]
        )  # fmt: skip
    assert results[0][8].size  # a kernel is shifted
    for here, there in zip(*results, strict=True):
        np.testing.assert_array_equal(here, there)


def test_a_shift_brings_in_more_of_the_pattern():
    energy, y, z = problem()
    shifted, kernels = better_centred(energy, y, z)
    np.testing.assert_array_equal(shifted, [0, 1])
    for pattern, before, after in zip(PATTERNS, energy.decoder.kernels, kernels, strict=True):
        likeness = [
            np.abs(np.correlate(pattern, unit_rows(kernel.T)[0][0], "full")).max() for kernel in (before, after)
        ]
        assert likeness[1] > likeness[0] + 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_step_writes_into_nothing_that_it_was_given(whole, device, dtype):
    if device != "cpu":
        pytest.importorskip("torch")
    energy, y, z = problem(dtype=dtype, place=lambda x: to_device(x, device))
    given_arrays = [to_numpy(x) for x in (energy.decoder.kernels, y, z)]
    before = [x.copy() for x in given_arrays]
    state, _ = learn_kernels({}, energy, y, z, whole=whole)
    kept = {name: np.copy(value) for name, value in state.items()}
    learn_kernels(state, energy, y, z, whole=whole)
    for now, then in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(now, then)
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value)


def test_a_step_learns_from_what_cannot_be_written():
    """Kernels and statistics of a model that was loaded as a memory map."""
    energy, y, z = problem()
    state, expected = learn_kernels(*learn_kernels({}, energy, y, z), y, z)
    first, after = learn_kernels({}, energy, y, z)
    locked = [after.decoder.kernels, y, z, *(value for value in first.values() if isinstance(value, np.ndarray))]
    for array in locked:
        array.flags.writeable = False
    again, found = learn_kernels(first, after, y, z)
    np.testing.assert_array_equal(found.decoder.kernels, expected.decoder.kernels)
    np.testing.assert_array_equal(again["ZtZ"], state["ZtZ"])


def test_worst_windows_do_not_overlap_and_those_that_are_missing_have_no_error(rng):
    kernels = unit_rows(rng.standard_normal((2, 4)))[0][..., None]
    energy = Energy(ConvolutionalDictionary(kernels, (11,)), L1(), 0.1)
    y, z = 1e20 * rng.standard_normal((1, 11, 1)), np.zeros((1, 8, 2))
    rows, errors = worst_windows(energy, y, z, 6)
    found = [row for row, error in zip(rows, errors, strict=True) if error > 0.0]
    assert 1 <= len(found) <= 2
    starts = [next(p for p in range(8) if (y[0, p : p + 4, 0] == row).all()) for row in found]
    assert len(starts) < 2 or abs(starts[0] - starts[1]) >= 4
    assert (np.diff(errors) <= 0.0).all()
