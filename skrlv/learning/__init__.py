"""How the parameters move, see `Learner`."""

from skrlv.learning.adam import Descent, adam_step
from skrlv.learning.alternation import Alternation
from skrlv.learning.dictionary import (
    MOST_RESAMPLED,
    add,
    decay,
    learn_dictionary,
    learn_from_statistics,
    remembered,
    reordered,
    statistics,
    unit_rows,
    update_atoms,
    worst_reconstructed,
)
from skrlv.learning.encoder import NumberLearner, WeightLearner, rms_norm
from skrlv.learning.gradient import gradient_step
from skrlv.learning.kernels import convolution_statistics, learn_kernels, update_kernels, worst_windows
from skrlv.learning.learner import AdamState, Learner, LearningState, Streamer
from skrlv.learning.minibatches import minibatches
from skrlv.learning.prediction import learn_prediction
from skrlv.learning.variational import VariationalLearner, VariationalStream, variational_slopes

__all__ = [
    "MOST_RESAMPLED",
    "AdamState",
    "Alternation",
    "Descent",
    "Learner",
    "LearningState",
    "NumberLearner",
    "Streamer",
    "VariationalLearner",
    "VariationalStream",
    "WeightLearner",
    "adam_step",
    "add",
    "convolution_statistics",
    "decay",
    "gradient_step",
    "learn_dictionary",
    "learn_from_statistics",
    "learn_kernels",
    "learn_prediction",
    "minibatches",
    "remembered",
    "reordered",
    "rms_norm",
    "statistics",
    "unit_rows",
    "update_atoms",
    "update_kernels",
    "variational_slopes",
    "worst_reconstructed",
    "worst_windows",
]
