"""Floor 4: how z is found. Each method takes a landscape and a start, and returns a `Solution`."""

from skrlv.inference.coordinate_descent import coordinate_descent
from skrlv.inference.duality import duality_gap
from skrlv.inference.homotopy import homotopy
from skrlv.inference.mixed_precision import mixed_homotopy
from skrlv.inference.proximal_gradient import fista, fista_restart, ista
from skrlv.inference.solution import Solution, joined

__all__ = [
    "Solution",
    "coordinate_descent",
    "duality_gap",
    "fista",
    "fista_restart",
    "homotopy",
    "ista",
    "joined",
    "mixed_homotopy",
]
