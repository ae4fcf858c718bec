"""Floor 4: how z is found. Each method takes a landscape and a start, and returns a `Solution`."""

from skrlv.inference.coordinate_descent import coordinate_descent
from skrlv.inference.duality import duality_gap
from skrlv.inference.homotopy import homotopy
from skrlv.inference.least_angle import debiased, gaps_at, lasso_path, least_angle, squared_errors
from skrlv.inference.mixed_precision import before_rounding, mixed_homotopy, rounded
from skrlv.inference.proximal_gradient import fista, fista_restart, ista
from skrlv.inference.solution import Gathered, Solution, joined

__all__ = [
    "Gathered",
    "Solution",
    "before_rounding",
    "coordinate_descent",
    "debiased",
    "duality_gap",
    "fista",
    "fista_restart",
    "gaps_at",
    "homotopy",
    "ista",
    "joined",
    "lasso_path",
    "least_angle",
    "mixed_homotopy",
    "rounded",
    "squared_errors",
]
