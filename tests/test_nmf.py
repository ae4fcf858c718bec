"""Non-negative codes on non-negative atoms are non-negative matrix factorisation; scikit-learn's is the judge."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from skrlv import SparseCoder

N_ITER = 1000


def error(X, reconstruction):
    return np.linalg.norm(X - reconstruction) / np.linalg.norm(X)


@pytest.mark.parametrize("n_components", [16, 32])
def test_non_negative_codes_and_atoms_factorise_as_nmf_does(n_components, digits):
    """At as many sweeps over the atoms, enough for both to settle."""
    train, test = digits[:1200], digits[1200:]
    signs = {"positive": True, "positive_dictionary": True}
    coder = SparseCoder(
        n_components, lmbda=1e-3, max_iter=N_ITER, tol=0, batch_size=len(train), random_state=0, **signs
    ).fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        nmf = NMF(n_components, max_iter=N_ITER, tol=0, random_state=0).fit(train)
    np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1.0, rtol=1e-12)
    assert (coder.components_ >= 0.0).all()
    for X in (train, test):
        Z = coder.transform(X)
        assert (Z >= 0.0).all()
        assert error(X, Z @ coder.components_) <= 1.02 * error(X, nmf.inverse_transform(nmf.transform(X)))
