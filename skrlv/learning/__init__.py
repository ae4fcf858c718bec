"""Floor 4: how the parameters move. Functions take the state, a dict of NumPy arrays, and return the next."""

from skrlv.learning.adam import BLOWN_UP, Descent, adam_step, moments_of, with_moments, without_moments
from skrlv.learning.dictionary import (
    MOST_RESAMPLED,
    learn_dictionary,
    learn_from_statistics,
    remembered,
    unit_rows,
    update_atoms,
    worst_reconstructed,
)
from skrlv.learning.encoder import NumberLearner, WeightLearner, rms_norm
from skrlv.learning.gradient import gradient_step
from skrlv.learning.kernels import convolution_statistics, learn_kernels, update_kernels, worst_windows
from skrlv.learning.minibatches import minibatches
from skrlv.learning.statistics import add, decay, statistics
from skrlv.learning.variational import VariationalLearner, looks, variational_slopes, variational_step

__all__ = [
    "BLOWN_UP",
    "MOST_RESAMPLED",
    "Descent",
    "NumberLearner",
    "VariationalLearner",
    "WeightLearner",
    "adam_step",
    "add",
    "convolution_statistics",
    "decay",
    "gradient_step",
    "learn_dictionary",
    "learn_from_statistics",
    "learn_kernels",
    "looks",
    "minibatches",
    "moments_of",
    "remembered",
    "rms_norm",
    "statistics",
    "unit_rows",
    "update_atoms",
    "update_kernels",
    "variational_slopes",
    "variational_step",
    "with_moments",
    "without_moments",
    "worst_reconstructed",
    "worst_windows",
]
