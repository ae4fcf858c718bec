"""Whitening of image patches."""

from collections.abc import Sequence
from math import prod
from numbers import Real
from typing import Self

import numpy as np
from scipy.fft import dctn, idctn
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skrlv._compat import Interval, StrOptions, _fit_context
from skrlv._containers import as_numpy, float_dtype
from skrlv._documentation import documented
from skrlv._restoring import restored_on_error
from skrlv._threads import dense_blocks, each_block
from skrlv.preprocessing.checks import check_image_shape, check_magnitude, largest

_EPS = np.finfo(np.float64).eps
_MIN_GAIN = 1e-6  # share of the largest gain below which a frequency is not restored


@documented
class PatchWhitener(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Whiten flattened image patches, so that no direction, or no frequency, outweighs the others.

    .. math:: \text{zca:}\quad x \mapsto (x - \mu) \, V \max(S, \epsilon s_1)^{-1/2} V^\top,
        \qquad \operatorname{cov} = V S V^\top

    .. math:: \text{olshausen\_field:}\quad \hat x(f) \mapsto \tfrac1s R(f) \, \hat x(f),
        \qquad R(f) = |f| \exp(-(|f| / f_0)^4)

    Photos have far more energy at low frequencies than at high ones, so that most atoms of a dictionary would represent
    slow changes of brightness. "zca" estimates the covariance and divides by its square root. "olshausen_field" is a
    fixed filter for photos, whose amplitudes fall as 1/f: it amplifies each frequency in proportion to f, and cuts off
    the highest ones, which are mostly noise.

    Parameters
    ----------
    method : {"zca", "olshausen_field"}, default="zca"
        The whitening transform.
    patch_shape : tuple of int or None, default=None
        (height, width) or (height, width, n_channels) of a row. Required by "olshausen_field", which filters each
        channel separately; with "zca" it is only checked against X.
    remove_mean : bool, default=True
        Whether to first subtract from each patch its own mean over pixels and channels. The filter of
        "olshausen_field" has no response at frequency zero, so with this method results change by rounding only.
    epsilon : float, default=0.01
        With "zca": the smallest variance to divide by, as a share of the largest, in [0, 1). Directions of larger
        variance get unit variance; the others, which are mostly noise, get less.
    cutoff : float, default=0.4
        With "olshausen_field": f0 in cycles per pixel, > 0. The published value of 200 cycles in 512 pixels is about
        0.4; 0.5 is the highest frequency that pixels can represent.

    Attributes
    ----------
    mean_ : array of shape (n_features_in_,)
        Mean of the rows, after `remove_mean`; zeros with "olshausen_field".
    whitening_ : array of shape (n_features_in_, n_features_in_)
        Symmetric matrix by which rows are multiplied, float64.
    dewhitening_ : array of shape (n_features_in_, n_features_in_)
        Its inverse, or its pseudo-inverse if frequencies are lost.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    Notes
    -----
    The output has the dtype of X. With "zca" its covariance is diagonal in the basis V; the diagonal is one, and less
    for directions below epsilon. With "olshausen_field" its entries have a mean square of one over the training rows.

    Olshausen and Field filtered whole photos and cut patches from the result. Here the filter sees one patch, which is
    continued by its mirror image beyond the border. Its frequencies are then multiples of half a cycle per side, and
    there is no artificial edge between opposite borders.

    In addition to X and the result, the memory needed is a few matrices of `n_features_in_` squared entries. X is read
    in blocks of rows and may be a memory map.

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

    def __init__(
        self,
        method: str = "zca",
        *,
        patch_shape: Sequence[int] | None = None,
        remove_mean: bool = True,
        epsilon: float = 0.01,
        cutoff: float = 0.4,
    ):
        self.method = method
        self.patch_shape = patch_shape
        self.remove_mean = remove_mean
        self.epsilon = epsilon
        self.cutoff = cutoff

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Estimate the covariance, or the scale of the filtered patches.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Patches as rows, pixels in C order with channels last. float32 and float64 keep their dtype, float16
            becomes float32, other dtypes float64.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted transformer. A fit that fails or is interrupted leaves it as it was.

        Raises
        ------
        ValueError
            If X is not a finite matrix, has masked entries or squares that overflow or vanish, if patch_shape is
            missing or does not fit X, or if a parameter is out of its range.
        """
        rows = check_array(as_numpy(X), dtype=float_dtype(X), input_name="X", estimator=self)
        check_magnitude(largest(rows))
        check_image_shape("patch_shape", self.patch_shape, rows.shape[1], needed=self.method == "olshausen_field")
        mean, whitening, dewhitening = self._zca(rows) if self.method == "zca" else self._olshausen_field(rows)
        with restored_on_error(self):
            validate_data(self, as_numpy(X), skip_check_array=True)  # sets n_features_in_ and feature_names_in_
            self.mean_, self.whitening_, self.dewhitening_ = mean, whitening, dewhitening
        return self

    def _zca(self, X):
        mean = sum(self._doubles(x).sum(axis=0) for x in dense_blocks(X)) / len(X)
        centred = (self._doubles(x) - mean for x in dense_blocks(X))
        variances, directions = np.linalg.eigh(sum(x.T @ x for x in centred) / len(X))
        smallest = max(self.epsilon, len(mean) * _EPS) * variances[-1]
        varies = variances[-1] > _rounding(X) ** 2
        scales = np.sqrt(np.maximum(variances, smallest)) if varies else np.ones(len(mean))
        return mean, (directions / scales) @ directions.T, (directions * scales) @ directions.T

    def _olshausen_field(self, X):
        shape = tuple(self.patch_shape or ())
        gains, n_channels = _gains(shape[:2], self.cutoff), prod(shape[2:])
        whitening = _filter_matrix(gains, n_channels)
        squares = sum(np.sum((self._doubles(x) @ whitening) ** 2) for x in dense_blocks(X))
        rms = np.sqrt(squares / X.size)
        scale = rms if rms > _rounding(X) else 1.0
        kept = gains > _MIN_GAIN * gains.max()
        inverse_gains = np.divide(1.0, gains, out=np.zeros_like(gains), where=kept)
        return np.zeros(X.shape[1]), whitening / scale, _filter_matrix(inverse_gains, n_channels) * scale

    def _doubles(self, x):
        """Rows in float64, minus their own means if ``remove_mean``."""
        x = x.astype(np.float64)
        return x - x.mean(axis=1, keepdims=True) if self.remove_mean else x

    def transform(self, X):
        """Whiten patches by the transform learned in `fit`.

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
        X = validate_data(self, as_numpy(X), dtype=float_dtype(X), reset=False)
        return _by_blocks(X, lambda x: (self._doubles(x) - self.mean_) @ self.whitening_)

    def inverse_transform(self, X):
        """Undo `transform`, except for what it removed: the mean of each patch, and frequencies without response.

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
        X = check_array(as_numpy(X), dtype=float_dtype(X), input_name="X")
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} features, but whitened patches have {self.n_features_in_}.")
        return _by_blocks(X, lambda x: x.astype(np.float64) @ self.dewhitening_ + self.mean_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _gains(sides, cutoff):
    """R at the frequencies of a patch that is continued by its mirror image: k / (2 side) cycles per pixel."""
    down, across = (np.arange(side) / (2 * side) for side in sides)
    frequency = np.hypot(down[:, None], across)
    return frequency * np.exp(-((frequency / cutoff) ** 4))


def _filter_matrix(gains, n_channels):
    """The filter with these gains as a matrix for rows, from its response to each pixel; channel by channel."""
    pixels = np.eye(gains.size).reshape(-1, *gains.shape)
    responses = idctn(dctn(pixels, axes=(1, 2)) * gains, axes=(1, 2)).reshape(gains.size, gains.size)
    return np.kron(responses, np.eye(n_channels))


def _rounding(X):
    """Magnitude of the rounding errors that may remain of entries that cancel."""
    return X.shape[1] * _EPS * largest(X)


def _by_blocks(X, function):
    """The result of a function of rows, applied to blocks of X in threads, in the dtype of X."""
    made = np.empty(X.shape, dtype=X.dtype)

    def fill(rows):
        made[rows] = function(X[rows])

    each_block(fill, len(X))
    return made
