"""Data that several test files share."""

import numpy as np
import open_faults
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    return load_digits().data / 16.0


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pytest_collection_modifyitems(items):
    open_faults.mark(items)
