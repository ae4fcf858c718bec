"""One step of Adam in one pass over the memory; in array code each of its dozen operations is one."""

import math

from skrlv.kernels._jit import kernel


@kernel
def adam(value, slope, mean, square, scales, next_mean, next_square, moved):
    """Move the entries of a vector; all arrays are flat and of one dtype.

    scales (7,): what the slope is multiplied by, the two decays, one over each of the two weights that undo the start
    at zero, the rate, and what keeps the denominator from zero.
    """
    unit, mean_decay, square_decay, mean_scale, square_scale, rate, least = scales
    one = mean_decay - mean_decay + 1
    for i in range(value.size):
        s = unit * slope[i]
        m = mean_decay * mean[i] + (one - mean_decay) * s
        v = square_decay * square[i] + (one - square_decay) * s * s
        next_mean[i], next_square[i] = m, v
        moved[i] = value[i] - rate * (m * mean_scale) / (math.sqrt(v * square_scale) + least)
