"""Energies over a plane: free energies over data, and the energy of one sample over two entries of its code."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import COLOURS, UNSIGNED, Display, dense

METHODS = ("ista", "fista", "fista_restart")
LEVELS = 16  # of the contours; closer to each other where the energy is low


class LandscapeDisplay(Display):
    """An energy over a plane, with points or paths on it.

    Parameters
    ----------
    x, y : array-like of shape (n_x,) and (n_y,)
        The places of columns and rows.
    values : array-like of shape (n_y, n_x)
        The energy at each place; infinite ones stay white.
    points : array-like of shape (n_points, 2) or None, default=None
        Data.
    paths : dict of str to array-like of shape (n_steps + 1, 2) or None, default=None
        The codes of each method, from the start on.
    names : tuple of str, default=("x", "y")
        The names of the axes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skrlv import SparseCoder
    >>> from skrlv.plotting import LandscapeDisplay
    >>> X = make_moons(300, noise=0.05, random_state=0)[0]
    >>> coder = SparseCoder(3, lmbda=0.2, random_state=0).fit(X)
    >>> display = LandscapeDisplay.from_estimator(coder, X)
    """

    def __init__(self, x, y, values, *, points=None, paths=None, names=("x", "y")):
        self.x, self.y, self.values = (np.asarray(part, dtype=float) for part in (x, y, values))
        if self.values.shape != (len(self.y), len(self.x)):
            raise ValueError(f"values has shape {self.values.shape}, but must have {(len(self.y), len(self.x))}.")
        self.points, self.names = None if points is None else np.asarray(points, dtype=float), names
        self.paths = {name: np.asarray(path, dtype=float) for name, path in (paths or {}).items()}

    @classmethod
    def from_estimator(cls, estimator, X, *, temperature=0.0, n_per_side=60, margin=0.25, ax=None):
        """Draw the free energy of a fitted model over the plane of the data.

        Data of more than two features are drawn in the plane of their first two principal components, and the energy
        is that of the places in this plane.

        Parameters
        ----------
        estimator : model with `free_energy`
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Data that are drawn as points.
        temperature : float, default=0.0
            Of the free energy.
        n_per_side : int, default=60
            Number of places along each axis.
        margin : float, default=0.25
            How far the plane goes beyond the data, as a share of their extent.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LandscapeDisplay
            With the picture.
        """
        check_is_fitted(estimator)
        X = np.asarray(dense(X))
        if X.ndim != 2 or X.shape[1] < 2:
            raise ValueError(f"X must have rows of two or more features, got shape {X.shape}.")
        origin, axes, names = _plane_of(X)
        points = (X - origin) @ axes.T
        x, y = (_between(points[:, i].min(), points[:, i].max(), margin, n_per_side) for i in range(2))
        places = origin + _grid(x, y) @ axes
        values = estimator.free_energy(places.astype(X.dtype), temperature).reshape(len(y), len(x))
        return cls(x, y, values, points=points, names=names).plot(ax=ax)

    @classmethod
    def from_landscape(
        cls, landscape, *, row=0, entries=(0, 1), methods=("ista", "fista"), n_steps=50, n_per_side=80, margin=0.25,
        ax=None,
    ):  # fmt: skip
        """Draw the energy of one sample over two entries of its code, and the steps of inference methods.

        If codes have more entries, the others stay where they are in the code of least energy.

        Parameters
        ----------
        landscape : Landscape
            ``energy.given(X)`` of a batch of NumPy rows.
        row : int, default=0
            The sample.
        entries : tuple of two int, default=(0, 1)
            The entries of the code on the axes.
        methods : sequence of {"ista", "fista", "fista_restart"}
            Methods of `skrlv.inference`, which begin at a code of zero.
        n_steps : int, default=50
            Number of steps.
        n_per_side : int, default=80
            Number of places along each axis.
        margin : float, default=0.25
            How far the plane goes beyond the paths, as a share of their extent.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LandscapeDisplay
            With the picture.
        """
        from skrlv import inference

        if isinstance(methods, str) or not set(methods) <= set(METHODS):
            raise ValueError(f"methods={methods!r} must be some of {METHODS}.")
        one = landscape.take(np.array([row]))
        start, entries = np.zeros_like(one.start()), list(entries)
        if start.ndim != 2 or len(entries) != 2 or not all(-start.shape[1] <= e < start.shape[1] for e in entries):
            raise ValueError(f"entries={tuple(entries)} must be two of the {start.shape[-1]} entries of a code.")
        best = inference.fista_restart(one, start, max_iter=20_000, tol=1e-9).z
        paths = {name: _path(getattr(inference, name), one, start, n_steps)[:, entries] for name in methods}
        reached = np.concatenate([best[:, entries], start[:, entries], *paths.values()])
        x, y = (_between(reached[:, i].min(), reached[:, i].max(), margin, n_per_side) for i in range(2))
        codes = np.repeat(best, len(x) * len(y), axis=0)
        codes[:, entries] = _grid(x, y)
        values = landscape.take(np.full(len(codes), row))(codes).reshape(len(y), len(x))
        names = tuple(f"$z_{{{entry}}}$" for entry in entries)
        return cls(x, y, values, points=best[:, entries], paths=paths, names=names).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the energy.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LandscapeDisplay
            This display.
        """
        ax = self._begin(ax)
        values = np.ma.masked_invalid(self.values)
        low, high = float(values.min()), float(values.max())
        levels = low + (max(high - low, 1e-12)) * np.linspace(0.0, 1.0, LEVELS) ** 2
        filled = ax.contourf(self.x, self.y, values, levels=levels, cmap=UNSIGNED)
        self.figure_.colorbar(filled, ax=ax, label="energy", format="%.2g")
        if self.points is not None:
            ax.scatter(*self.points.T, s=12.0 if self.paths else 4.0, c="white", edgecolors="black", linewidths=0.3)
        for i, (name, path) in enumerate(self.paths.items()):
            style = {
                "color": COLOURS[(i + 1) % len(COLOURS)],
                "marker": "os^"[i % 3],
                "linestyle": ("-", "--", ":")[i % 3],
            }
            ax.plot(*path.T, label=name, markersize=3.0, linewidth=1.0, **style)
        if self.paths:
            ax.legend()
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        return self


def _plane_of(X):
    """-> (origin, two orthonormal directions as rows, names of the axes)."""
    if X.shape[1] == 2:
        return np.zeros(2), np.eye(2), ("feature 0", "feature 1")
    origin = X.mean(axis=0)
    return (
        origin,
        np.linalg.svd(X - origin, full_matrices=False)[2][:2],
        ("principal component 0", "principal component 1"),
    )


def _between(low, high, margin, n):
    room = margin * ((high - low) or 1.0)
    return np.linspace(low - room, high + room, n)


def _grid(x, y):
    """The places of a grid as rows, those of the first y first."""
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _path(method, landscape, start, n_steps):
    """The code after each number of steps, from the start on."""
    found = [method(landscape, start, max_iter=n, tol=0.0).z for n in range(1, n_steps + 1)]
    return np.concatenate([start, *found])
