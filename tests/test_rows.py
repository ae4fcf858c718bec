"""Rows: the same blocks and summaries as of the converted array, without ever holding it."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from skrlv._rows import Rows, converts_by_block, sample_rows, summarize
from skrlv._threads import dense, dense_blocks

N_ROWS, N_FEATURES = 1000, 6
CHOICES = [slice(None), slice(250, 520), np.array([999, 3, 3]), np.arange(N_ROWS) % 7 == 0]


def in_memory(X, folder):
    return X


def on_disk(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def by_columns(X, folder):
    return np.asfortranarray(X)


def as_csr(X, folder):
    return sparse.csr_matrix(X)


@pytest.fixture
def numbers(rng):
    return rng.integers(0, 3, (N_ROWS, N_FEATURES)) * rng.integers(0, 2, (N_ROWS, 1))


@pytest.mark.parametrize("held", [in_memory, on_disk, by_columns])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", ">f4", "longdouble"])
def test_rows_are_those_of_the_converted_array(dtype, held, numbers, tmp_path):
    X = numbers.astype(dtype)
    rows = Rows(held(X, tmp_path), np.float64)
    assert rows.shape == X.shape
    assert len(rows) == N_ROWS
    assert rows.dtype == np.float64
    for chosen in CHOICES:
        np.testing.assert_array_equal(rows[chosen], X[chosen].astype(np.float64), strict=True)
        assert rows[chosen].flags.c_contiguous
    np.testing.assert_array_equal(np.concatenate(list(dense_blocks(rows))), X.astype(np.float64), strict=True)
    np.testing.assert_array_equal(dense(rows), X.astype(np.float64), strict=True)
    np.testing.assert_array_equal(rows.take([5, 2]), X[[5, 2]].astype(np.float64), strict=True)


@pytest.mark.parametrize("held", [in_memory, on_disk, as_csr])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_keep_their_dtype(dtype, held, numbers, tmp_path):
    X = numbers.astype(dtype)
    rows = Rows(held(X, tmp_path))
    for chosen in CHOICES:
        np.testing.assert_array_equal(rows[chosen], X[chosen], strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_needs_no_conversion_is_not_copied(dtype, numbers):
    X = numbers.astype(dtype)
    assert np.shares_memory(Rows(X)[100:400], X)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_a_file_is_never_held_as_a_whole(dtype, tmp_path):
    shape = (40_000, 128)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=dtype, shape=shape)
    X[:] = 1
    rows = Rows(X, np.float64)
    tracemalloc.start()
    try:
        summary = rows.summary()
        sample_rows(rows, summary)
        rows.map(lambda x: np.isfinite(x).all())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.total.tolist() == [40_000.0] * 128
    assert peak < 0.1 * 8 * np.prod(shape)


def assert_summary(summary, X):
    X = X.astype(np.longdouble)
    assert summary.n_rows == len(X)
    assert summary.largest == np.abs(X).max()
    np.testing.assert_allclose(summary.rms, np.sqrt(np.mean(X**2)).astype(float), rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(summary.total, X.sum(axis=0).astype(float), rtol=1e-6, atol=1e-12 * summary.largest)
    assert summary.varies == (len(np.unique(X, axis=0)) > 1)
    lengths = np.sum(X**2, axis=1)
    assert float(lengths[summary.longest]) == pytest.approx(float(lengths.max()))
    assert summary.longest_squares * float(summary.largest) ** 2 == pytest.approx(float(lengths.max()))
    np.testing.assert_array_equal(summary.nonzero, [row.any() for row in X])
    np.testing.assert_array_equal(summary.positive, [row.max() > 0.0 for row in X])


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(-100, 100)),
    st.integers(1, 300),
)
def test_a_summary_is_that_of_all_rows(few, n_copies):
    X = np.repeat(few, n_copies, axis=0)
    assert_summary(Rows(X).summary(), X)
    assert_summary(summarize(X), X)


def test_a_summary_of_large_entries_does_not_overflow():
    X = np.array([[3e200, 4e200], [0.0, 0.0]])
    assert summarize(X).rms == pytest.approx(2.5e200)


def test_an_offset_is_seen():
    X = np.random.default_rng(0).normal(size=(600, 5))
    assert not Rows(X).summary().is_offset
    assert Rows(X + 100.0).summary().is_offset
    assert not Rows(np.full((600, 5), 100.0)).summary().is_offset  # rows that are all the same have no other energy


def test_a_sample_is_spread_over_the_rows_that_are_not_zero(numbers):
    rows = Rows(numbers.astype(np.float64))
    sample = sample_rows(rows, rows.summary())
    found = numbers[numbers.any(axis=1)]
    assert len(sample) == 256 < len(found)
    np.testing.assert_array_equal(sample[[0, -1]], found[[0, -1]])
    assert sample.any(axis=1).all()
    few = Rows(rows[:40])
    np.testing.assert_array_equal(sample_rows(few, few.summary()), [row for row in rows[:40] if row.any()])


def test_what_is_converted_by_block(numbers, tmp_path):
    for dtype in ("bool", "uint8", "float16", ">f8"):
        assert converts_by_block(numbers.astype(dtype))
        assert converts_by_block(on_disk(numbers.astype(dtype), tmp_path))
    others = [numbers.astype(np.float32), numbers.astype(np.float64), numbers[None], numbers.astype(complex)]
    others += [numbers.astype(str), numbers.tolist(), np.ma.masked_array(numbers), sparse.csr_matrix(numbers)]
    assert not any(map(converts_by_block, others))
