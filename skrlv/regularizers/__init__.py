"""Regularizers R, which penalise codes."""

from skrlv.regularizers.check import check_regularizer
from skrlv.regularizers.penalties import L0, L1, ElasticNet, GroupL1, LassoFamily, Regularizer, StandardNormal

__all__ = [
    "L0",
    "L1",
    "ElasticNet",
    "GroupL1",
    "LassoFamily",
    "Regularizer",
    "StandardNormal",
    "check_regularizer",
]
