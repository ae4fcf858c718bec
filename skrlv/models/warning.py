"""Warnings that point at the user's own line."""

import sys
import warnings

from sklearn.exceptions import ConvergenceWarning

from skrlv.inference import unconverged


def warn_user(message, category=UserWarning):
    """Warn at the line outside of this library and scikit-learn that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("skrlv", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_unless_converged(solution, remedy):
    """Warn once of all rows of a call that missed the tolerance."""
    complaint = unconverged(solution, remedy)
    if complaint:
        warn_user(complaint, ConvergenceWarning)
