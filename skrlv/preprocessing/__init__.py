"""Transformers of data before coding, whose parameters are learned in `fit` and applied to any later data."""

from skrlv.preprocessing.local_contrast import LocalContrastNormalizer
from skrlv.preprocessing.whitening import PatchWhitener

__all__ = ["LocalContrastNormalizer", "PatchWhitener"]
