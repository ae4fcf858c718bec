"""Codes of float32 data: certified in float64, whatever the encoder draws them to."""

import numpy as np
import pytest
from problems import random_dictionary

from skrlv.decoders import Dictionary
from skrlv.encoders import ShrinkageEncoder
from skrlv.energy import Energy
from skrlv.inference import duality_gap, homotopy_path, mixed_path
from skrlv.regularizers import L1

LMBDAS = [0.6, 0.3]


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("tol", [1e-4, 1e-8])
def test_codes_drawn_to_a_prediction_are_certified(positive, tol, digits):
    decoder = Dictionary(random_dictionary(40, 64))
    encoder = ShrinkageEncoder.first_step(decoder, 0.3, positive=positive)
    energy = Energy(decoder, L1(positive=positive), 0.3, encoder, 0.7)
    y = digits[:100].astype(np.float32)
    landscape = energy.given(y.astype(np.float64))
    exact = homotopy_path(landscape, LMBDAS, tol=1e-10)
    for lmbda, single, double in zip(LMBDAS, mixed_path(energy, y, LMBDAS, tol=tol), exact, strict=True):
        assert single.z.dtype == np.float32
        assert single.converged.all()
        np.testing.assert_allclose(single.z, double.z, atol=1e-5)
        gaps = duality_gap(landscape.at(lmbda), single.z.astype(np.float64))
        np.testing.assert_allclose(single.error, gaps, atol=1e-12)
