"""Data that several test files share."""

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    return load_digits().data / 16.0


@pytest.fixture
def rng():
    return np.random.default_rng(0)
