r"""Adam, with a lower rate when the loss stops falling, and back to the best weights when it diverges.

References
----------
Kingma, Ba, Adam: A Method for Stochastic Optimization, 2015.
"""

import math

import numpy as np

from skrlv._arrays import is_numpy, namespace
from skrlv._threads import each_block
from skrlv.learning.learner import DIVERGED, AdamState

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999
SLOWER, LOWEST = 0.3, 0.02  # the factor of one slowing down; below this share of the first rate it is over
WORTH_THREADS = 2**17  # entries of all parameters together
EPSILON = 1e-8  # added to the denominator of a step
DIVERGED_LOSS = 10.0  # times the loss of no prediction


def adam_step(moments, parameters, gradients, rate, units):
    r"""One step down a gradient whose scale does not matter, at a rate that is a share of each parameter's unit.

    .. math:: p \leftarrow p - \eta u\, \hat m / (\sqrt{\hat v} + 10^{-8})

    Parameters
    ----------
    moments : dict
        What the last step returned, or empty; arrays, and the number of steps as "count".
    parameters, gradients : dict of arrays
        By the same names.
    rate : float
        :math:`\eta`.
    units : dict of float
        u, by name; gradients are taken with respect to p / u.

    Returns
    -------
    moments, parameters : dicts
        The next; nothing is written in place.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.learning import adam_step
    >>> moments, moved = adam_step({}, {"w": np.ones(2)}, {"w": np.array([3.0, -0.1])}, 0.01, {"w": 1.0})
    >>> moved["w"].round(3).tolist(), moments["count"]
    ([0.99, 1.01], 1)
    """
    count = moments.get("count", 0) + 1
    mean_weight, square_weight = 1.0 - MEAN_DECAY**count, 1.0 - SQUARE_DECAY**count
    names, next_moments, moved = list(parameters), {"count": count}, {}

    def move(turn):
        name = names[turn.start]
        value, slope, unit = parameters[name], gradients[name], units[name]
        mean, square = (_moment(moments, kind, name, value) for kind in ("mean", "square"))
        scales = (unit, 1.0 / mean_weight, 1.0 / square_weight, rate * unit)
        return (_moved_by_kernel if is_numpy(value) else _moved)(value, slope, mean, square, scales)

    n_entries = sum(math.prod(value.shape) for value in parameters.values())
    turns = each_block(move, len(names), None if n_entries >= WORTH_THREADS else 1, size=1)
    for name, (mean, square, value) in zip(names, turns, strict=True):
        next_moments |= {f"mean_{name}": mean, f"square_{name}": square}
        moved[name] = value
    return next_moments, moved


def _moment(moments, kind, name, like):
    kept = moments.get(f"{kind}_{name}")
    return namespace(like).zeros_like(like) if kept is None else kept


def _moved(value, slope, mean, square, scales):
    unit, mean_scale, square_scale, rate = scales
    slope = slope * unit
    mean = MEAN_DECAY * mean + (1.0 - MEAN_DECAY) * slope
    square = SQUARE_DECAY * square + (1.0 - SQUARE_DECAY) * slope**2
    return mean, square, value - rate * ((mean * mean_scale) / (namespace(value).sqrt(square * square_scale) + EPSILON))


def _moved_by_kernel(value, slope, mean, square, scales):
    from skrlv.kernels.adam import adam

    value = np.asarray(value)
    unit, mean_scale, square_scale, rate = scales
    smallest = np.finfo(value.dtype).smallest_normal
    numbers = (unit, MEAN_DECAY, SQUARE_DECAY, mean_scale, square_scale, rate, EPSILON, smallest)
    given = [np.ascontiguousarray(x, value.dtype).reshape(-1) for x in (value, slope, mean, square)]
    moved = [np.empty_like(given[0]) for _ in range(3)]
    adam(*given, tuple(value.dtype.type(number) for number in numbers), *moved)
    return tuple(x.reshape(value.shape) for x in moved)


class Descent:
    """Parameters on their way down, the best seen so far, and when to stop.

    Losses are relative to that of no prediction at all, or to the first. `step` takes one batch; `evaluate` takes the
    loss on data that no step has seen. If that has not fallen by a share ``tol`` of itself (of ``least``, if it is
    below) for ``patience`` times, the rate falls to a third and learning goes on from the best parameters; when the
    rate has become too small to matter, the descent is ``settled``. After a loss that is not finite, or above ten,
    learning goes on from the best parameters at a tenth of the rate.
    """

    def __init__(self, parameters, loss, *, rate, units, tol, patience, least=0.0):
        self.parameters = self.best = parameters
        self.best_loss, self.n_rollbacks, self.settled = loss, 0, False
        self._first_rate, self._adam = rate, AdamState(rate_factor=rate)
        self._units, self._tol, self._patience, self._least = units, tol, patience, least
        self._waited, self._mark = 0, math.inf

    @property
    def rate(self):
        return self._adam.rate_factor

    def step(self, loss, gradients, allowed):
        """One batch; ``allowed(parameters)`` puts the new ones back into their range."""
        if not self._sound(loss):  # gradients that are not finite show in the next loss
            return self._roll_back()
        moments, moved = adam_step(self._adam.moments, self.parameters, gradients, self.rate, self._units)
        self._adam, self.parameters = self._adam._replace(moments=moments), allowed(moved)

    def evaluate(self, loss):
        """The loss after a pass."""
        if not self._sound(loss, *self.parameters.values()):
            return self._roll_back()
        if loss < self.best_loss:
            self.best, self.best_loss = self.parameters, loss
        if self._mark == math.inf or loss < self._mark - self._tol * max(abs(self._mark), self._least):
            self._mark, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited >= self._patience:
            self._slow_down(SLOWER)

    @property
    def complaint(self):
        if not self.n_rollbacks:
            return None
        return (
            f"The loss diverged {self.n_rollbacks} times; each time learning went on from the best weights at a tenth "
            f"of the rate, at last {self.rate:.1g}. Lower learning_rate_init."
        )

    def _sound(self, loss, *arrays):
        return loss <= DIVERGED_LOSS and all(bool(namespace(x).all(namespace(x).isfinite(x))) for x in arrays)

    def _roll_back(self):
        self.n_rollbacks += 1
        self._slow_down(DIVERGED)

    def _slow_down(self, factor):
        self.parameters, self._adam, self._waited = self.best, self._adam.slowed(factor), 0
        lowest = LOWEST if not self.n_rollbacks else LOWEST * DIVERGED**self.n_rollbacks
        self.settled = self.rate < lowest * self._first_rate or self.n_rollbacks > 8
