"""Codes as a picture: which samples use which atoms."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import SIGNED, UNSIGNED, Display, dense, reach


class CodesDisplay(Display):
    """Codes of several samples: one row per sample, one column per atom, the most used atom first.

    Parameters
    ----------
    codes : array-like or sparse matrix of shape (n_samples, n_components)
        Codes, as from `transform`; or the maps of one signal, (n_positions, n_kernels) of a series or (height, width,
        n_kernels) of an image, with ``maps=True``.
    labels : array-like of shape (n_samples,) or None, default=None
        Classes: rows are sorted by them, and lines separate them.
    usage : array-like of shape (n_components,) or None, default=None
        How often learning used each atom; None counts the uses in these codes.
    maps : bool, default=False
        Whether the codes are the maps of one signal.

    Attributes
    ----------
    order_ : array of int
        Which atom each column shows; of an estimator it is the order of `DictionaryDisplay`.
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

    def __init__(self, codes, *, labels=None, usage=None, maps=False):
        self.codes, self.maps = dense(codes), maps
        self.usage = (self.codes != 0).mean(axis=0) if usage is None else np.asarray(usage, dtype=float)
        if self.codes.ndim != 2 and not (maps and self.codes.ndim == 3):
            raise ValueError(f"codes of shape {self.codes.shape} must be (n_samples, n_components), or maps.")
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
            A few hundred samples; a convolutional estimator takes one series or image, with its axis of samples.
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
            if len(maps) != 1 or np.ndim(maps[0]) not in (2, 3):
                raise ValueError("The maps of a convolutional estimator are drawn for one series or image: X[:1].")
            return cls(maps[0], maps=True).plot(ax=ax)
        codes = dense(estimator.transform(X))
        usage = getattr(estimator, "atom_usage_", None)
        known = usage is not None and len(usage) == codes.shape[1]  # split signs have two columns per atom
        return cls(codes, labels=y, usage=usage if known else None).plot(ax=ax)

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
        if self.maps:
            self.order_ = np.arange(self.codes.shape[-1])
            sheet = tiled_maps(self.codes) if self.codes.ndim == 3 else self.codes.T
            labels = {"xlabel": "position", "ylabel": "kernel"} if self.codes.ndim == 2 else {}
        else:
            rows = np.arange(len(self.codes)) if self.labels is None else np.argsort(self.labels, kind="stable")
            self.order_ = np.argsort(-self.usage, kind="stable")
            sheet = self.codes[rows][:, self.order_]
            labels = {"xlabel": "atom, the most used first", "ylabel": "sample"}
            self._mark_classes(ax, rows)
        self._draw(ax, sheet)
        ax.set(title=f"{(self.codes != 0).mean():.1%} of the entries are not zero", **labels)
        if not labels:  # of an image
            ax.set_aspect("equal")
            ax.set_axis_off()
        elif self.maps:
            ax.set_yticks(self.order_)
        return self

    def _draw(self, ax, sheet):
        """All entries in one scale, from zero where none is negative."""
        limit, signed = reach(self.codes), (self.codes < 0).any()
        colours = {"cmap": SIGNED, "vmin": -limit} if signed else {"cmap": UNSIGNED, "vmin": 0.0}
        image = ax.imshow(sheet, **colours, vmax=limit, aspect="auto", interpolation="nearest")
        self.figure_.colorbar(image, ax=ax, label="coefficient")

    def _mark_classes(self, ax, rows):
        """Lines between the classes, and their names."""
        if self.labels is None:
            return
        classes, first = np.unique(self.labels[rows], return_index=True)
        for edge in first[1:]:
            ax.axhline(edge - 0.5, color="0.3", linewidth=0.5)
        middles = 0.5 * (first + np.append(first[1:], len(rows))) - 0.5
        ax.set_yticks(middles, [str(name) for name in classes])


def tiled_maps(maps):
    """Maps (height, width, n_kernels) side by side, with NaN between them."""
    n_kernels = maps.shape[-1]
    n_columns = int(np.ceil(np.sqrt(n_kernels)))
    padded = np.pad(np.moveaxis(maps, -1, 0), [(0, -n_kernels % n_columns), (0, 1), (0, 1)], constant_values=np.nan)
    height, width = padded.shape[1:]
    return padded.reshape(-1, n_columns, height, width).swapaxes(1, 2).reshape(-1, n_columns * width)
