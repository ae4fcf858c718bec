"""Outliers by their energy."""

from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from skrlv._compat import HasMethods, Interval, _fit_context


class EnergyOutlierDetector(MetaEstimatorMixin, OutlierMixin, BaseEstimator):
    r"""Outliers are the rows that a model can only explain at a high energy.

    .. math:: s(x) = -E(x, z(x)), \qquad \text{outlier if } s(x) < o

    where z(x) is the code that the model's `transform` gives, and o is such that a share ``contamination`` of the
    training rows lies below it.

    Parameters
    ----------
    estimator : estimator with `fit` and `score_samples`
        A model of this library, or a Pipeline that ends with one; it is cloned, and fitted to the data.
    contamination : float in (0, 0.5], default=0.1
        Share of the training rows that count as outliers.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.
    offset_ : float
        o: scores below it are those of outliers.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers by how few splits separate them.

    Notes
    -----
    An energy grows with the length of a row, so rows of different length should be scaled first, or length counts. The
    model should not be able to explain everything: choose few atoms, or a lmbda at which its `score` is best.

    References
    ----------
    Adler, Elad, Hel-Or, Rivlin, Sparse Coding with Anomaly Detection, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder
    >>> from skrlv.outliers import EnergyOutlierDetector
    >>> X = load_digits().data / 16
    >>> detector = EnergyOutlierDetector(SparseCoder(32, random_state=0), contamination=0.05).fit(X)
    >>> noise = np.random.default_rng(0).uniform(size=(100, 64))
    >>> float((detector.predict(X) == -1).mean().round(2)), int((detector.predict(noise) == -1).sum())
    (0.05, 100)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "score_samples"])],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
    }

    def __init__(self, estimator: Any, *, contamination: float = 0.1):
        self.estimator = estimator
        self.contamination = contamination

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None) -> Self:
        """Fit the model, and find the offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training data, as the model takes them.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted detector.
        """
        estimator = clone(self.estimator).fit(X)
        self.offset_ = float(np.percentile(estimator.score_samples(X), 100.0 * self.contamination))
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                setattr(self, name, getattr(estimator, name))
        self.estimator_ = estimator
        return self

    def score_samples(self, X) -> np.ndarray:
        """Minus the energy of each sample.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array of shape (n_samples,)
            The lower, the more of an outlier.
        """
        check_is_fitted(self)
        return self.estimator_.score_samples(X)

    def decision_function(self, X) -> np.ndarray:
        """`score_samples` less the offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array of shape (n_samples,)
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """Whether each sample is an outlier.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array of int of shape (n_samples,)
            -1 for outliers, 1 for all others.
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), self.estimator.__sklearn_tags__()
        tags.input_tags, tags.requires_fit = inner.input_tags, True
        return tags
