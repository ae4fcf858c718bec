"""Transformers for data before they are coded; `fit` learns their parameters, `transform` applies them to any data."""

from skrlv.preprocessing.local_contrast import LocalContrastNormalizer
from skrlv.preprocessing.whitening import PatchWhitener

__all__ = ["LocalContrastNormalizer", "PatchWhitener"]
