"""Non-negative codes on non-negative atoms are non-negative matrix factorisation; scikit-learn's is the judge."""

import numpy as np
import pytest
from sklearn.decomposition import NMF

from skrlv import SparseCoder


def error(X, reconstruction):
    return np.linalg.norm(X - reconstruction) / np.linalg.norm(X)


@pytest.mark.parametrize("n_components", [16, 32])
def test_non_negative_codes_and_atoms_factorise_as_nmf_does(n_components, digits):
    train, test = digits[:1200], digits[1200:]
    settings = {"positive": True, "positive_dictionary": True, "tol": 1e-4, "random_state": 0}
    coder = SparseCoder(n_components, lmbda=1e-3, **settings).fit(train)
    nmf = NMF(n_components, max_iter=1000, random_state=0).fit(train)
    np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1.0, rtol=1e-12)
    assert (coder.components_ >= 0.0).all()
    for X in (train, test):
        Z = coder.transform(X)
        assert (Z >= 0.0).all()
        assert error(X, Z @ coder.components_) <= 1.02 * error(X, nmf.inverse_transform(nmf.transform(X)))


def test_at_the_atoms_of_nmf_codes_are_those_of_nmf(digits):
    """Its atoms, scaled to unit norm, and lmbda = 0: least squares with non-negative codes, in both."""
    nmf = NMF(16, max_iter=2000, tol=1e-8, random_state=0).fit(digits[:400])
    atoms = nmf.components_ / np.linalg.norm(nmf.components_, axis=1, keepdims=True)
    Z = SparseCoder(dictionary=atoms, lmbda=1e-8, positive=True).fit(digits).transform(digits)
    theirs = nmf.transform(digits) @ nmf.components_
    assert error(digits, Z @ atoms) <= error(digits, theirs) + 1e-9
    np.testing.assert_allclose(Z @ atoms, theirs, atol=0.02)
