"""Local contrast normalization of images."""

from collections.abc import Sequence
from numbers import Real
from typing import Self

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skrlv._compat import Interval, StrOptions, _fit_context
from skrlv._containers import as_numpy, float_dtype
from skrlv._documentation import documented
from skrlv._restoring import restored_on_error
from skrlv._threads import each_block
from skrlv.preprocessing.checks import LARGEST, check_image_shape, check_magnitude, largest


@documented
class LocalContrastNormalizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Local contrast normalisation: each pixel minus its local mean, divided by the local standard deviation.

    .. math:: v = x - G * x, \qquad x' = v / \max(s, s_0), \qquad s^2 = \frac1C \sum_c G * v_c^2

    G is a Gaussian window. Its own local mean is subtracted from each channel, and all C channels are divided by the
    same local deviation, so that colours stay in proportion. Flat regions, with deviations below :math:`s_0`, are not
    amplified.

    Parameters
    ----------
    sigma : float, default=2.0
        Standard deviation of the window in pixels, > 0; a quarter of the size of the kernels to be learned is usual.
    floor : float or "mean", default="mean"
        :math:`s_0`, > 0, in the unit of X; "mean" is the mean of s over the images of `fit`.
    signal_shape : tuple of int or None, default=None
        (height, width) or (height, width, n_channels) of an image; required if X has rows of pixels.

    Attributes
    ----------
    floor_ : float
        The value of :math:`s_0` in use.
    n_features_in_ : int
        Number of entries of an image of `fit`; not set if X was a list.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    Notes
    -----
    Beyond the border an image is continued by its mirror image. In `transform` images may differ in size from those of
    `fit`, but rows must have the same size.

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

    def __init__(self, sigma: float = 2.0, *, floor: float | str = "mean", signal_shape: Sequence[int] | None = None):
        self.sigma = sigma
        self.floor = floor
        self.signal_shape = signal_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Compute ``floor_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or (n_samples, n_features), or list of images
            Images, or rows of their pixels; the images of a list may have different sizes.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted transformer. A fit that fails or is interrupted leaves it as it was.

        Raises
        ------
        ValueError
            If X is not finite, has masked entries or squares that overflow or vanish, if rows do not fit signal_shape,
            or if a parameter is out of its range.
        """
        X = _on_host(X)
        images = self._images(X)
        check_magnitude(max(largest(image) for image in images))
        floor = float(self.floor) if self.floor != "mean" else _mean_floor(images, self._parts)
        with restored_on_error(self):
            if _is_list_of_images(X):
                for name in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(name, None)
            else:  # sets n_features_in_ and feature_names_in_
                validate_data(self, X if _is_rows(X) else np.empty((1, images[0].size)), skip_check_array=True)
            self.floor_ = floor
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
        X = _on_host(X)
        if not _is_list_of_images(X) and _is_rows(X):
            X = validate_data(self, X, dtype=float_dtype(X), reset=False)
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
        options = {"allow_nd": True, "estimator": self}
        if _is_list_of_images(X):
            checked = [
                check_array(x, dtype=float_dtype(x), ensure_2d=False, input_name=f"X[{i}]", **options)
                for i, x in enumerate(X)
            ]
        else:
            checked = check_array(X, dtype=float_dtype(X), input_name="X", **options)
            if checked.ndim == 2:
                check_image_shape("signal_shape", self.signal_shape, checked.shape[1], needed=True)
                checked = checked.reshape(len(checked), *(self.signal_shape or ()))
        for image in checked:
            if image.ndim not in (2, 3):
                raise ValueError(f"X has images of shape {image.shape}, but must have (height, width[, n_channels]).")
            if not image.size:
                raise ValueError(f"X has images of shape {image.shape}, which hold no pixels.")
            if largest(image) > LARGEST:
                raise ValueError(f"X has entries above {LARGEST:.0e}, whose squares overflow. Divide X by a constant.")
        return [image.reshape(*image.shape[:2], -1) for image in checked]

    def _parts(self, image):
        """The image minus its local mean, and the local deviation, in float64."""
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


def _on_host(X):
    """Images, or a list of them, as NumPy arrays; data frames are returned unchanged."""
    return [as_numpy(x, f"X[{i}]") for i, x in enumerate(X)] if _is_list_of_images(X) else as_numpy(X)


def _is_list_of_images(X):
    return isinstance(X, list) and all(getattr(x, "ndim", 0) >= 2 for x in X)


def _is_rows(X):
    return getattr(X, "ndim", None) == 2 or np.asarray(X).ndim == 2


def _mean_floor(images, parts):
    """The mean local deviation, or the deviation that rounding errors cause in flat images if that is larger."""
    deviations = [parts(image)[1] for image in images]
    mean = sum(float(s.sum()) for s in deviations) / sum(s.size for s in deviations)
    rounding = max(100.0 * np.finfo(image.dtype).eps * largest(image) for image in images)
    return max(mean, rounding) or 1.0
