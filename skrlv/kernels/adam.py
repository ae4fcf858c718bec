"""One step of Adam in one pass over the memory; array code makes a pass for each of its dozen operations."""

import math

from skrlv.kernels._jit import kernel


@kernel
def adam(value, slope, mean, square, scales, next_mean, next_square, moved):
    """Move the entries of a vector; all arrays are flat and of one dtype.

    scales (8,): the factor on the slope, the two decays, one over each of the two weights that correct for the start
    at zero, the rate, the constant that keeps the denominator from zero, and the smallest number that is not
    subnormal. Moments below the last are set to zero: decay would keep them subnormal for ever, where they change no
    step, and arithmetic takes a hundred times as long. NaN stays NaN. In the loop s is the scaled slope, m and v are
    the moments.
    """
    unit, mean_decay, square_decay, mean_scale, square_scale, rate, least, smallest = scales
    zero = mean_decay - mean_decay
    one = zero + 1
    for i in range(value.size):
        s = unit * slope[i]
        m = mean_decay * mean[i] + (one - mean_decay) * s
        v = square_decay * square[i] + (one - square_decay) * s * s
        m = zero if abs(m) < smallest else m
        v = zero if v < smallest else v
        next_mean[i], next_square[i] = m, v
        moved[i] = value[i] - rate * (m * mean_scale) / (math.sqrt(v * square_scale) + least)
