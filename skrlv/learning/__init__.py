"""Floor 4: how the parameters move. Functions take the state, a dict of NumPy arrays, and return the next."""

from skrlv.learning.dictionary import learn_dictionary, unit_rows, update_atoms
from skrlv.learning.minibatches import minibatches
from skrlv.learning.statistics import add, decay, statistics

__all__ = ["add", "decay", "learn_dictionary", "minibatches", "statistics", "unit_rows", "update_atoms"]
