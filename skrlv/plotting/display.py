"""What all displays share: a figure and axes, and colours that colour-blind readers can tell apart."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito, 2008
SIGNED, UNSIGNED = "PuOr_r", "cividis"  # colour maps of numbers of both signs, and of at least zero


class Display:
    """A picture of data that were computed before; `plot` draws it, as often as wanted.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.
    """

    def _begin(self, ax, **size):
        """The axes to draw on; None makes a new figure."""
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(layout="constrained", **size)[1]
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def check_atoms(estimator):
    """Refuse an estimator without atoms, fitted or not, and say what to pass instead."""
    if hasattr(estimator, "steps"):
        raise TypeError("Pass the fitted step of the Pipeline, such as pipeline[-2], not the Pipeline.")
    if hasattr(estimator, "n_iter_") and not hasattr(estimator, "components_"):
        raise TypeError(f"{type(estimator).__name__} has no atoms: its decoder is not a sum of them.")
    check_is_fitted(estimator, "components_")


def reach(values):
    """The largest magnitude, or one."""
    values = np.abs(np.asarray(values, dtype=float))
    return float(values.max(initial=0.0)) or 1.0


def dense(codes):
    """Codes as an array."""
    return np.asarray(codes.toarray() if hasattr(codes, "toarray") else codes, dtype=float)
