"""Codes as a picture: which samples use which atoms."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import SIGNED, Display, dense, reach
from skrlv.plotting.tiles import plot_atoms


class CodesDisplay(Display):
    """Codes of several samples: one row per sample, one column per atom, the most used atom first.

    Parameters
    ----------
    codes : array-like or sparse matrix of shape (n_samples, n_components)
        Codes, as from `transform`; or the maps of one signal, (height, width, n_kernels).
    labels : array-like of shape (n_samples,) or None, default=None
        Classes: rows are sorted by them, and lines separate them.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder
    >>> from skrlv.plotting import CodesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> coder = SparseCoder(32, random_state=0).fit(X / 16)
    >>> display = CodesDisplay.from_estimator(coder, X[:200] / 16, y[:200])
    """

    def __init__(self, codes, *, labels=None):
        self.codes = dense(codes)
        self.labels = None if labels is None else np.asarray(labels)
        if self.labels is not None and self.labels.shape != self.codes.shape[:1]:
            raise ValueError(f"labels has shape {self.labels.shape}, but there are {len(self.codes)} codes.")

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None):
        """Draw the codes that a fitted estimator finds.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        X : array-like
            A few hundred samples; a convolutional estimator takes one image, with its axis of samples.
        y : array-like of shape (n_samples,) or None, default=None
            Classes.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        CodesDisplay
            With the picture.
        """
        check_is_fitted(estimator)
        if hasattr(estimator, "kernel_size"):
            maps = estimator.encode(X)
            if len(maps) != 1 or np.ndim(maps[0]) != 3:
                raise ValueError("The maps of a convolutional estimator are drawn for one image with two axes: X[:1].")
            return cls(maps[0]).plot(ax=ax)
        return cls(estimator.transform(X), labels=y).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the codes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        CodesDisplay
            This display.
        """
        ax = self._begin(ax)
        if self.codes.ndim == 3:
            plot_atoms(np.moveaxis(self.codes, -1, 0), ax=ax)
            return self
        if self.codes.ndim != 2:
            raise ValueError(
                f"codes of shape {self.codes.shape} must be (n_samples, n_components) or maps of an image."
            )
        rows = np.arange(len(self.codes)) if self.labels is None else np.argsort(self.labels, kind="stable")
        columns = np.argsort(-(self.codes != 0).mean(axis=0), kind="stable")
        drawn, limit = self.codes[rows][:, columns], reach(self.codes)
        image = ax.imshow(drawn, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        self.figure_.colorbar(image, ax=ax, label="coefficient")
        if self.labels is not None:
            sorted_labels = self.labels[rows]
            for edge in np.flatnonzero(sorted_labels[1:] != sorted_labels[:-1]):
                ax.axhline(edge + 0.5, color="0.3", linewidth=0.5)
        share = (self.codes != 0).mean()
        ax.set(xlabel="atom, the most used first", ylabel="sample", title=f"{share:.1%} of the entries are not zero")
        return self
