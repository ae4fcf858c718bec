"""Problems that several test files share."""

import numpy as np

from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.learning import unit_rows
from skrlv.regularizers import L1


def random_dictionary(n_components, n_features, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(n_components, n_features)))[0]


def random_lasso(seed, lmbda, n_components=200, n_features=100):
    """The random problems of Ablin, Moreau, Massias, Gramfort (2019): one sample with lmbda_max = 1."""
    random = np.random.RandomState(seed)
    atoms = random.randn(n_components, n_features)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    y = random.randn(1, n_components) @ atoms
    y /= np.abs(y @ atoms.T).max()
    return Energy(Dictionary(atoms), L1(), lmbda).given(y)
