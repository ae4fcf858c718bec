"""A linear decoder, its transpose and its curvature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_dictionary

from skrlv.decoders import Dictionary
from skrlv.encoders import ZeroEncoder

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 10_000))


@settings(max_examples=50, deadline=None)
@given(shapes)
def test_adjoint_is_the_transpose(shape):
    n_components, n_features, n_samples, seed = shape
    rng = np.random.default_rng(seed)
    decoder = Dictionary(rng.normal(size=(n_components, n_features)))
    z, r = rng.normal(size=(n_samples, n_components)), rng.normal(size=(n_samples, n_features))
    assert np.vdot(decoder(z), r) == pytest.approx(np.vdot(z, decoder.adjoint(r)), rel=1e-12, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(shapes)
def test_vjp_is_the_derivative(shape):
    n_components, n_features, n_samples, seed = shape
    rng = np.random.default_rng(seed)
    atoms, moves = rng.normal(size=(2, n_components, n_features))
    z, dz = rng.normal(size=(2, n_samples, n_components))
    dy = rng.normal(size=(n_samples, n_features))
    decoder = Dictionary(atoms)
    y, tape = decoder.forward(z)
    at_z, gradients = decoder.vjp(tape, dy)
    assert np.vdot(at_z, dz) == pytest.approx(np.vdot(dy, decoder(z + dz) - y), rel=1e-9, abs=1e-9)
    moved = Dictionary(atoms + moves)(z) - y
    assert np.vdot(gradients["atoms"], moves) == pytest.approx(np.vdot(dy, moved), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4), (4, 1)])
def test_lipschitz_is_the_largest_singular_value_squared(shape):
    atoms = random_dictionary(*shape)
    assert Dictionary(atoms).lipschitz == pytest.approx(np.linalg.norm(atoms, 2) ** 2, rel=1e-12)


def test_zero_encoder_predicts_zero_in_the_dtype_of_the_data():
    predicted = ZeroEncoder((3,))(np.ones((2, 7), dtype=np.float32))
    assert predicted.shape == (2, 3)
    assert predicted.dtype == np.float32
    assert not predicted.any()
