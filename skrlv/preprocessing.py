"""Beside the house: transformers for data before coding, fitted once, so that test data are treated alike."""

from math import prod
from numbers import Real

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter
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
        _check_image_shape("patch_shape", self.patch_shape, rows.shape[1], needed=self.method == "olshausen_field")
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


class LocalContrastNormalizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Local contrast normalisation: each pixel relative to its surroundings, in units of how much these vary.

    .. math:: v = x - G * x, \qquad x' = v / \max(s, s_0), \qquad s^2 = \frac1C \sum_c G * v_c^2

    G is a Gaussian window; every channel loses its own local mean, and all C are divided by one local deviation, so
    that colours stay in proportion. Where an image is flatter than the floor :math:`s_0` it is not blown up.

    Parameters
    ----------
    sigma : float, default=2.0
        Standard deviation of the window in pixels, > 0; about a quarter of the size of the kernels to be learned.
    floor : float or "mean", default="mean"
        :math:`s_0`, > 0, in the unit of X; "mean" is the mean of s over the images of `fit`.
    signal_shape : tuple of int or None, default=None
        (height, width) or (height, width, n_channels), where X has rows of pixels.

    Attributes
    ----------
    floor_ : float
        The floor in use.
    n_features_in_ : int
        Entries of an image of `fit`.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, where it had string names.

    Notes
    -----
    Beyond the border an image goes on mirrored. Images need not have the size of those of `fit`; rows must.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato, LeCun, What is the Best Multi-Stage Architecture for Object Recognition?, 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv.preprocessing import LocalContrastNormalizer
    >>> X = load_digits().images
    >>> LocalContrastNormalizer().fit(X).transform(X).shape
    (1797, 8, 8)
    """

    _parameter_constraints = {
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "floor": [Interval(Real, 0, None, closed="neither"), StrOptions({"mean"})],
        "signal_shape": [tuple, list, None],
    }

    def __init__(self, sigma=2.0, *, floor="mean", signal_shape=None):
        self.sigma = sigma
        self.floor = floor
        self.signal_shape = signal_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the floor.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or (n_samples, n_features), or list of images
            Images, or rows of their pixels; those of a list may have different sizes.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted transformer. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If X is not finite, rows do not fit signal_shape, or a parameter is out of its range.
        """
        images = self._images(X)
        deviations = [self._parts(image)[1] for image in images]
        mean = sum(float(s.sum()) for s in deviations) / sum(s.size for s in deviations)
        if not _is_list_of_images(X):  # writes n_features_in_, now that nothing can fail
            validate_data(self, X if _is_rows(X) else np.reshape(X, (len(images), -1)), skip_check_array=True)
        rounding = max(100.0 * np.finfo(image.dtype).eps * float(np.abs(image).max()) for image in images)
        self.floor_ = float(self.floor) if self.floor != "mean" else max(mean, rounding) or 1.0
        return self

    def transform(self, X):
        """Normalise images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or (n_samples, n_features), or list of images
            Images, or rows of their pixels.

        Returns
        -------
        array of the shape of X, or list of arrays
            Normalised images, without unit, of the dtype of X.
        """
        check_is_fitted(self)
        if not _is_list_of_images(X) and _is_rows(X):
            X = validate_data(self, X, dtype=_FLOATS, reset=False)
        images = self._images(X)
        made = [np.empty(0)] * len(images)

        def normalise(rows):
            for i in range(rows.start, rows.stop):
                centred, deviation = self._parts(images[i])
                made[i] = (centred / np.maximum(deviation, self.floor_)).astype(images[i].dtype)

        each_block(normalise, len(images), size=16)
        if _is_list_of_images(X):
            return [image.reshape(np.shape(x)) for image, x in zip(made, X, strict=True)]
        return np.stack(made).reshape(np.shape(X))

    def _images(self, X):
        """Checked images, each (height, width, n_channels)."""
        options = {"allow_nd": True, "dtype": _FLOATS, "estimator": self}
        if _is_list_of_images(X):
            checked = [check_array(x, ensure_2d=False, input_name=f"X[{i}]", **options) for i, x in enumerate(X)]
        else:
            checked = check_array(X, input_name="X", **options)
            if checked.ndim == 2:
                _check_image_shape("signal_shape", self.signal_shape, checked.shape[1], needed=True)
                checked = checked.reshape(len(checked), *self.signal_shape)
        for image in checked:
            if image.ndim not in (2, 3):
                raise ValueError(f"X has images of shape {image.shape}, but must have (height, width[, n_channels]).")
            if float(np.abs(image).max()) > _LARGEST:
                raise ValueError(f"X has entries above {_LARGEST:.0e}, whose squares overflow. Divide X by a constant.")
        return [image.reshape(*image.shape[:2], -1) for image in checked]

    def _parts(self, image):
        """The image without its local mean, and the local deviation, in float64."""
        image = image.astype(np.float64)
        centred = image - self._blurred(image)
        return centred, np.sqrt(self._blurred(np.mean(centred**2, axis=-1, keepdims=True)))

    def _blurred(self, image):
        return gaussian_filter(image, self.sigma, axes=(0, 1), mode="mirror")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_list_of_images(X):
    return isinstance(X, list) and all(getattr(x, "ndim", 0) >= 2 for x in X)


def _is_rows(X):
    return getattr(X, "ndim", None) == 2 or np.asarray(X).ndim == 2


def _check_image_shape(name, patch_shape, n_features, *, needed):
    if patch_shape is None:
        if needed:
            raise ValueError(f"{name}=None, but this needs (height, width[, n_channels]) of a row.")
        return
    whole = all(isinstance(side, int | np.integer) and side > 0 for side in patch_shape)
    if len(patch_shape) not in (2, 3) or not whole:
        raise ValueError(f"{name}={patch_shape!r} must be (height, width[, n_channels]), whole numbers > 0.")
    if prod(patch_shape) != n_features:
        raise ValueError(f"{name}={patch_shape!r} has {prod(patch_shape)} entries, but X has {n_features} features.")


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
