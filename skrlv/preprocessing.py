"""Beside the house: transformers for data before coding, fitted once, so that test data are treated alike."""

from math import prod
from numbers import Real

import numpy as np
from scipy.fft import dctn, idctn
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skrlv._compat import Interval, StrOptions, _fit_context
from skrlv._threads import dense_blocks, each_block

_EPS = np.finfo(np.float64).eps
_LARGEST = 1e140
_FLOATS = [np.float64, np.float32]
_WEAKEST = 1e-6  # share of the largest gain below which a frequency counts as lost


class PatchWhitener(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Whiten flattened image patches: no direction, or no frequency, outweighs the others.

    .. math:: \text{zca:}\quad x \mapsto (x - \mu) \, V \max(S, \epsilon s_1)^{-1/2} V^\top,
        \qquad \operatorname{cov} = V S V^\top

    .. math:: \text{olshausen\_field:}\quad \hat x(f) \mapsto \tfrac1s R(f) \, \hat x(f),
        \qquad R(f) = |f| \exp(-(|f| / f_0)^4)

    Photos have far more energy at low frequencies than at high ones, so the first directions of a dictionary would
    all go into slow shades. "zca" learns from the covariance what to divide by. "olshausen_field" knows: it raises
    each frequency in proportion, against amplitudes that fall as 1/f, and cuts off the highest, which hold noise.

    Parameters
    ----------
    method : {"zca", "olshausen_field"}, default="zca"
        How to whiten.
    patch_shape : tuple of int or None, default=None
        (height, width) or (height, width, n_channels) of a row. "olshausen_field" needs it, and filters each channel
        by itself; for "zca" it is only checked against X.
    remove_mean : bool, default=True
        Whether to take from each patch its own mean, over pixels and channels, first. The filter has no response at
        frequency zero, so there it makes no difference beyond rounding.
    epsilon : float, default=0.01
        "zca": the smallest variance to divide by, as a share of the largest, in [0, 1). Directions above it end with
        unit variance, those below with less: they hold mostly noise.
    cutoff : float, default=0.4
        "olshausen_field": f0 in cycles per pixel, > 0. 0.4 is 200 cycles in 512 pixels, as published; 0.5 is the
        finest stripe that pixels can show.

    Attributes
    ----------
    mean_ : array of shape (n_features_in_,)
        Mean row, after each lost its own mean; "olshausen_field" subtracts none.
    whitening_ : array of shape (n_features_in_, n_features_in_)
        Symmetric matrix that rows are multiplied by, float64.
    dewhitening_ : array of shape (n_features_in_, n_features_in_)
        Its inverse, or pseudo-inverse where frequencies are lost.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, where it had string names.

    Notes
    -----
    Output has the dtype of X. Entries of "zca" have a covariance of ones and, below epsilon, smaller numbers on its
    diagonal in the basis V; entries of "olshausen_field" have a mean square of one over the training rows.

    Olshausen and Field filtered whole photos and cut patches from the result. On a patch the same filter has to guess
    what lies beyond the border: here the patch goes on mirrored, so that its frequencies are multiples of half a
    cycle per side and opposite borders, which have nothing to do with each other, do not make an edge.

    Memory beyond X and the result is a few matrices of `n_features_in_` squared entries; X is read a block of rows at a
    time, so it may be a memory map.

    References
    ----------
    Bell, Sejnowski, The "independent components" of natural scenes are edge filters, 1997.
    Olshausen, Field, Sparse coding with an overcomplete basis set: a strategy employed by V1?, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skrlv.preprocessing import PatchWhitener
    >>> X = load_digits().data
    >>> zca = PatchWhitener().fit(X)
    >>> bool(np.linalg.eigvalsh(np.cov(zca.transform(X).T, bias=True))[-1] < 1 + 1e-9)
    True
    >>> field = PatchWhitener("olshausen_field", patch_shape=(8, 8)).fit(X)
    >>> float(np.mean(field.transform(X) ** 2).round(6))
    1.0
    """

    _parameter_constraints = {
        "method": [StrOptions({"zca", "olshausen_field"})],
        "patch_shape": [tuple, list, None],
        "remove_mean": ["boolean"],
        "epsilon": [Interval(Real, 0, 1, closed="left")],
        "cutoff": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, method="zca", *, patch_shape=None, remove_mean=True, epsilon=0.01, cutoff=0.4):
        self.method = method
        self.patch_shape = patch_shape
        self.remove_mean = remove_mean
        self.epsilon = epsilon
        self.cutoff = cutoff

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the covariance, or the scale of what the filter leaves.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Patches as rows, pixels in C order with channels last; float32 or float64, other dtypes become float64.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted transformer. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If X is not a finite matrix, patch_shape is missing or does not fit it, or a parameter is out of range.
        """
        rows = check_array(X, dtype=_FLOATS, input_name="X", estimator=self)
        if float(np.abs(rows).max()) > _LARGEST:
            raise ValueError(
                f"X has entries above {_LARGEST:.0e}, whose squares overflow. Divide it by a constant first."
            )
        _check_patch_shape(self.patch_shape, rows.shape[1], needed=self.method == "olshausen_field")
        learned = self._zca(rows) if self.method == "zca" else self._olshausen_field(rows)
        validate_data(self, X, skip_check_array=True)  # writes n_features_in_, now that nothing can fail
        self.mean_, self.whitening_, self.dewhitening_ = learned
        return self

    def _zca(self, X):
        mean = sum(self._levelled(x).sum(axis=0) for x in dense_blocks(X)) / len(X)
        centred = (self._levelled(x) - mean for x in dense_blocks(X))
        variances, directions = np.linalg.eigh(sum(x.T @ x for x in centred) / len(X))
        least = max(self.epsilon, len(mean) * _EPS) * variances[-1]
        scales = np.sqrt(np.maximum(variances, least)) if variances[-1] > _dust(X) ** 2 else np.ones(len(mean))
        return mean, (directions / scales) @ directions.T, (directions * scales) @ directions.T

    def _olshausen_field(self, X):
        gains, n_channels = _gains(self.patch_shape[:2], self.cutoff), prod(self.patch_shape[2:])
        whitening = _filter_matrix(gains, n_channels)
        squares = sum(np.sum((self._levelled(x) @ whitening) ** 2) for x in dense_blocks(X))
        rms = np.sqrt(squares / X.size)
        scale = rms if rms > _dust(X) else 1.0
        kept = gains > _WEAKEST * gains.max()
        inverse_gains = np.divide(1.0, gains, out=np.zeros_like(gains), where=kept)
        return np.zeros(X.shape[1]), whitening / scale, _filter_matrix(inverse_gains, n_channels) * scale

    def _levelled(self, x):
        """Rows in float64, without their own mean where that is asked for."""
        x = x.astype(np.float64)
        return x - x.mean(axis=1, keepdims=True) if self.remove_mean else x

    def transform(self, X):
        """Whiten patches as those of `fit` were.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Patches.

        Returns
        -------
        array of shape (n_samples, n_features)
            Whitened patches, without unit, of the dtype of X.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        return _by_blocks(X, lambda x: (self._levelled(x) - self.mean_) @ self.whitening_)

    def inverse_transform(self, X):
        """Undo `transform`, up to what it removed: each patch's own mean, and frequencies without response.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Whitened patches.

        Returns
        -------
        array of shape (n_samples, n_features)
            Patches in the unit of the training data, of the dtype of X.

        Raises
        ------
        ValueError
            If X does not have `n_features_in_` columns.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=_FLOATS, input_name="X")
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} features, but whitened patches have {self.n_features_in_}.")
        return _by_blocks(X, lambda x: x.astype(np.float64) @ self.dewhitening_ + self.mean_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _check_patch_shape(patch_shape, n_features, *, needed):
    if patch_shape is None:
        if needed:
            raise ValueError("patch_shape=None: method='olshausen_field' needs (height, width[, n_channels]).")
        return
    whole = all(isinstance(side, int | np.integer) and side > 0 for side in patch_shape)
    if len(patch_shape) not in (2, 3) or not whole:
        raise ValueError(f"patch_shape={patch_shape!r} must be (height, width[, n_channels]), whole numbers > 0.")
    if prod(patch_shape) != n_features:
        raise ValueError(
            f"patch_shape={patch_shape!r} has {prod(patch_shape)} entries, but X has {n_features} features."
        )


def _gains(sides, cutoff):
    """R at the frequencies of a patch that goes on mirrored: k / (2 side) cycles per pixel."""
    down, across = (np.arange(side) / (2 * side) for side in sides)
    frequency = np.hypot(down[:, None], across)
    return frequency * np.exp(-((frequency / cutoff) ** 4))


def _filter_matrix(gains, n_channels):
    """The filter with these gains as a matrix for rows: what it makes of each single pixel, channel by channel."""
    pixels = np.eye(gains.size).reshape(-1, *gains.shape)
    responses = idctn(dctn(pixels, axes=(1, 2)) * gains, axes=(1, 2)).reshape(gains.size, gains.size)
    return np.kron(responses, np.eye(n_channels))


def _dust(X):
    """What rounding may leave where exact numbers would cancel."""
    return X.shape[1] * _EPS * max(np.abs(x).max() for x in dense_blocks(X))


def _by_blocks(X, function):
    """What ``function`` makes of the rows of X, in the dtype of X."""
    made = np.empty(X.shape, dtype=X.dtype)

    def fill(rows):
        made[rows] = function(X[rows])

    each_block(fill, len(X))
    return made
