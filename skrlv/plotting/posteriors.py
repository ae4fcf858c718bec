"""Codes with noise: posteriors as ellipses, and what the decoder makes of codes in a plane."""

import numpy as np
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import Display
from skrlv.plotting.tiles import pictures


def plot_balls(mean, variance, labels=None, *, ax=None):
    r"""Draw Gaussian posteriors of codes in a plane: the mean of each, and its ellipse of one standard deviation.

    Parameters
    ----------
    mean, variance : array-like of shape (n_samples, 2)
        Means and variances of the posteriors, as from ``VariationalAutoencoder.posterior``. The picture stays legible
        for a few hundred posteriors.
    labels : array-like of int of shape (n_samples,) or None, default=None
        Classes, which are shown as colours; None draws all in one colour.
    ax : matplotlib.axes.Axes or None, default=None
        Axes to draw on; None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    Raises
    ------
    ValueError
        If codes do not have two dimensions, or shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.plotting import plot_balls
    >>> ax = plot_balls([[0.0, 0.0], [2.0, 1.0]], [[1.0, 1.0], [0.1, 0.4]], labels=[0, 1])
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import EllipseCollection

    mean, variance = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
    if mean.ndim != 2 or mean.shape[1] != 2 or variance.shape != mean.shape:
        raise ValueError(
            f"mean of shape {mean.shape} and variance of shape {variance.shape} must both be (n_samples, 2)."
        )
    labels = np.zeros(len(mean), dtype=int) if labels is None else np.asarray(labels)
    if labels.shape != (len(mean),):
        raise ValueError(f"labels has shape {labels.shape}, but mean has {len(mean)} rows.")
    ax = ax or plt.subplots()[1]
    colours = plt.get_cmap("tab10")(np.unique(labels, return_inverse=True)[1] % 10)
    width, height = 2.0 * np.sqrt(variance).T
    ellipses = EllipseCollection(
        width, height, np.zeros(len(mean)), units="xy", offsets=mean, offset_transform=ax.transData,
        facecolors=colours * [1, 1, 1, 0.15], edgecolors=colours * [1, 1, 1, 0.8], linewidths=0.5,
    )  # fmt: skip
    ax.add_collection(ellipses)
    ax.scatter(*mean.T, s=1.0, c=colours)  # for ellipses too small to see
    ends = np.concatenate([mean - np.sqrt(variance), mean + np.sqrt(variance)])
    ax.set(xlim=(ends[:, 0].min(), ends[:, 0].max()), ylim=(ends[:, 1].min(), ends[:, 1].max()))
    ax.set_aspect("equal")
    return ax


class LatentDisplay(Display):
    """Posteriors of codes in the plane of two latent units: means, and ellipses of one standard deviation.

    Parameters
    ----------
    mean, variance : array-like of shape (n_samples, n_components)
        Of the posteriors, as from ``VariationalAutoencoder.posterior``.
    labels : array-like of shape (n_samples,) or None, default=None
        Classes, which are shown as colours.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import VariationalAutoencoder
    >>> from skrlv.plotting import LatentDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> vae = VariationalAutoencoder(2, hidden_layer_sizes=(32,), max_iter=20, tol=0, random_state=0).fit(X / 16)
    >>> display = LatentDisplay.from_estimator(vae, X[:200] / 16, y[:200])
    """

    def __init__(self, mean, variance, *, labels=None):
        self.mean, self.variance = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
        self.labels = labels

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, units=(0, 1), ax=None):
        """Draw the posteriors that a fitted `VariationalAutoencoder` finds.

        Parameters
        ----------
        estimator : VariationalAutoencoder
            Fitted.
        X : array-like of shape (n_samples, n_features)
            A few hundred samples.
        y : array-like of shape (n_samples,) or None, default=None
            Classes.
        units, ax
            As for `plot`.

        Returns
        -------
        LatentDisplay
            With the picture.
        """
        _check_posteriors(estimator)
        return cls(*estimator.posterior(X), labels=y).plot(units=units, ax=ax)

    def plot(self, *, units=(0, 1), ax=None):
        """Draw the posteriors.

        Parameters
        ----------
        units : tuple of two int, default=(0, 1)
            The latent units on the axes.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LatentDisplay
            This display.
        """
        units = _checked_units(units, self.mean.shape[1])
        ax, numbers = self._begin(ax), _numbered(self.labels)
        plot_balls(self.mean[:, units], self.variance[:, units], numbers, ax=ax)
        if numbers is not None and numbers.max() < 10:
            for number, label in enumerate(np.unique(np.asarray(self.labels))):
                ax.scatter([], [], color=f"C{number}", label=str(label))
            ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        ax.set(xlabel=f"latent unit {units[0]}", ylabel=f"latent unit {units[1]}")
        return self


def _check_posteriors(estimator):
    check_is_fitted(estimator)
    if not hasattr(estimator, "posterior"):
        raise TypeError(f"{type(estimator).__name__} has no posteriors; pass a VariationalAutoencoder.")


def _checked_units(units, n_components):
    """Two different latent units, as a list."""
    if n_components < 2:
        raise ValueError("The picture needs a model of at least two latent units, and this one has one.")
    units = list(units)
    if len(set(units)) != 2 or len(units) != 2 or not all(0 <= unit < n_components for unit in units):
        raise ValueError(f"units={tuple(units)} must be two different numbers of latent units, below {n_components}.")
    return units


def _numbered(labels):
    return None if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1]


class ManifoldDisplay(Display):
    r"""What a decoder makes of codes on a grid: pictures at quantiles of N(0, 1) of two latent units, the others zero.

    Parameters
    ----------
    images : array-like of shape (n_rows, n_columns, n_features) or (n_rows, n_columns, height, width[, n_channels])
        Decoded codes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    References
    ----------
    Kingma, Welling, Auto-Encoding Variational Bayes, 2014, appendix A.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import VariationalAutoencoder
    >>> from skrlv.plotting import ManifoldDisplay
    >>> X = load_digits().data / 16
    >>> vae = VariationalAutoencoder(2, hidden_layer_sizes=(32,), max_iter=20, tol=0, random_state=0).fit(X)
    >>> display = ManifoldDisplay.from_estimator(vae, image_shape=(8, 8))
    """

    def __init__(self, images):
        self.images = np.asarray(images, dtype=float)

    @classmethod
    def from_estimator(cls, estimator, *, image_shape, units=(0, 1), n_per_side=12, ax=None):
        """Decode a grid of codes of a fitted `VariationalAutoencoder`, and draw it.

        Parameters
        ----------
        estimator : VariationalAutoencoder
            Fitted.
        image_shape : tuple of int
            (height, width) or (height, width, 3) of a row.
        units : tuple of two int, default=(0, 1)
            The latent units that vary: from left to right, and from bottom to top.
        n_per_side : int, default=12
            Number of pictures along each side.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        ManifoldDisplay
            With the picture.
        """
        _check_posteriors(estimator)
        units = _checked_units(units, estimator.n_components_)
        quantiles = norm.ppf(np.linspace(0.03, 0.97, n_per_side))
        codes = np.zeros((n_per_side, n_per_side, estimator.n_components_))
        codes[..., units[0]] = quantiles
        codes[..., units[1]] = quantiles[::-1, None]
        images = estimator.inverse_transform(codes.reshape(-1, estimator.n_components_))
        return cls(images.reshape(n_per_side, n_per_side, -1)).plot(image_shape=image_shape, ax=ax)

    def plot(self, *, image_shape=None, ax=None):
        """Draw the pictures side by side, all in one scale.

        Parameters
        ----------
        image_shape : tuple of int or None, default=None
            (height, width) or (height, width, 3) of a row; not needed if images have these axes.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        ManifoldDisplay
            This display.
        """
        n_rows, n_columns = self.images.shape[:2]
        tiles = pictures(self.images.reshape(n_rows * n_columns, *self.images.shape[2:]), image_shape)
        low, high = tiles.min(), tiles.max()
        tiles = np.pad(tiles, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=np.nan)  # gaps
        height, width, n_channels = tiles.shape[1:]
        sheet = tiles.reshape(n_rows, n_columns, height, width, n_channels).swapaxes(1, 2)
        sheet = sheet.reshape(n_rows * height, n_columns * width, n_channels)
        ax = self._begin(ax)
        if n_channels == 1:
            ax.imshow(sheet[..., 0], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        else:
            ax.imshow(np.nan_to_num((sheet - low) / ((high - low) or 1.0), nan=1.0), interpolation="nearest")
        ax.set_axis_off()
        return self
