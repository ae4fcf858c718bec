"""Inference: methods that find z. Each takes a landscape and initial codes, and returns a `Solution`."""

from skrlv.inference.coordinate_descent import coordinate_descent
from skrlv.inference.duality import duality_gap
from skrlv.inference.exact import exact_codes, exact_path
from skrlv.inference.free_energy import FreeEnergy, free_energy
from skrlv.inference.homotopy import homotopy, homotopy_path
from skrlv.inference.least_angle import debiased, gaps_at, least_angle
from skrlv.inference.mixed_precision import before_rounding, mixed_path, rounded
from skrlv.inference.proximal_gradient import fista, fista_restart, ista
from skrlv.inference.solution import (
    ROWS_PER_THREAD,
    Gathered,
    Solution,
    blockwise,
    check_solution,
    gather,
    joined,
    solved,
    unconverged,
)
from skrlv.inference.summary import code_energies, summarize
from skrlv.inference.tiled_descent import tiled_descent
from skrlv.inference.useful_range import useful_range
from skrlv.inference.working_set import working_set_debiased, working_set_gaps, working_set_least_angle

__all__ = [
    "ROWS_PER_THREAD",
    "FreeEnergy",
    "Gathered",
    "Solution",
    "before_rounding",
    "blockwise",
    "check_solution",
    "code_energies",
    "coordinate_descent",
    "debiased",
    "duality_gap",
    "exact_codes",
    "exact_path",
    "fista",
    "fista_restart",
    "free_energy",
    "gaps_at",
    "gather",
    "homotopy",
    "homotopy_path",
    "ista",
    "joined",
    "least_angle",
    "mixed_path",
    "rounded",
    "solved",
    "summarize",
    "tiled_descent",
    "unconverged",
    "useful_range",
    "working_set_debiased",
    "working_set_gaps",
    "working_set_least_angle",
]
