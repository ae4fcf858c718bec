"""Exact batch Lasso by homotopy, row by row, on (gram, correlations, thresholds).

Each row minimises  -q.z + 1/2 z.G z + sum_j t_j |z_j|  over z, or over z >= 0 if ``positive``.

At the minimum  c = q - G z  is t_j sign(z_j) on the support and within -t_j .. t_j elsewhere. A code that violates
these conditions by at most e solves a neighbouring problem: off the support the thresholds are t_j + e, and on the
support c may differ from its target by the present share of e. As e falls to zero the minimiser is piecewise linear,
with a breakpoint wherever an atom reaches its threshold or an entry of the code reaches zero. From zero this is least
angle regression; from any other code it passes only the breakpoints that are missing.

Each run works on a small set of atoms, packed together so that they stay in cache. When it ends, the conditions are
checked on all atoms, and the atoms that violate them most join. If many violate them, a run ends before e is zero.

=====  ====================================================================================
G, q   Gram matrix (k, k) of the k atoms of the dictionary, and correlations (k,) of a row
t, z   thresholds (k,), and the code (k,)
c      residual correlations q - G z
e      largest violation that is still allowed
i, j   an atom by its place on the support; by its place in the working set or dictionary
=====  ====================================================================================
"""

import math
from typing import Any, NamedTuple

import numpy as np

from skrlv.kernels._jit import inlined, lean, merged
from skrlv.kernels._simd import (
    LANES,
    add_scaled,
    any_above,
    argmin,
    clear,
    count_above,
    max_abs,
    outer_1,
    outer_2,
    outer_4,
    outer_8,
    sum_1,
    sum_2,
    sum_4,
    sum_8,
)

JOIN = 16  # atoms that join at a time, about; measured best between 8 and 128
RECHECK = 0.3  # share of the largest violation by an atom left out: there every run but the first ends
MAX_RUNS = 200  # of a row
MAX_BREAKPOINTS = 4  # of a run, per atom


class WorkingSet(NamedTuple):
    """A row's problem on a few atoms, and its present support. All widths are whole vectors."""

    atoms: Any  # (m,) their indices in the dictionary
    gram: Any  # flat, their Gram matrix
    thresholds: Any  # (m,) t; infinite for an atom that depends on the support
    c: Any  # (m,) q - G z
    support: Any  # (m,) places in the working set of the atoms on the support
    code: Any  # (m,) z on the support
    sign: Any  # (m,) its sign
    offset: Any  # (m,) c on the support less its target, as a share of e
    inverse: Any  # flat, inverse of the support's Gram matrix
    velocity: Any  # (m,) inverse @ offset: how fast the code changes as e falls
    drift: Any  # (m,) gram @ velocity: how fast c changes
    falls: Any  # (m,) by how much e falls until an atom reaches its threshold, or an entry of the code zero; scratch
    solved: Any  # (m,) scratch
    order: Any  # (m,) 0, 1, 2 ...


class Scratch(NamedTuple):
    """Vectors over all atoms of the dictionary, of whole vectors."""

    excess: Any  # (k,) by how much each atom violates the conditions
    weights: Any  # (k,)
    chosen: Any  # (k,) integers


class Sizes(NamedTuple):
    """How much of a working set is in use."""

    stride: Any  # of its Gram matrix
    inverse_stride: Any
    n_atoms: Any
    n_support: Any


class Target(NamedTuple):
    """Where the path of a row ends, at whichever comes first."""

    e: float
    n_nonzero: int  # no more atoms than this on the support
    error: float  # relative to the norm of the row; zero is no limit


@lean
def padded(n):
    """n rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@lean
def sum_rows(flat, stride, which, weights, n, out):
    """out = sum of n rows of a flat matrix, which[i] times weights[i]; out[:] is as long as the part that is asked."""
    at, whole = 0, out.size - out.size % LANES
    while at + 8 * LANES <= whole:
        sum_8(out, at, flat, stride, which, weights, n)
        at += 8 * LANES
    if at + 4 * LANES <= whole:
        sum_4(out, at, flat, stride, which, weights, n)
        at += 4 * LANES
    if at + 2 * LANES <= whole:
        sum_2(out, at, flat, stride, which, weights, n)
        at += 2 * LANES
    if at < whole:
        sum_1(out, at, flat, stride, which, weights, n)
    for j in range(whole, out.size):
        out[j] = 0.0
        for i in range(n):
            out[j] += weights[i] * flat[which[i] * stride + j]


@lean
def fill(x, start, stop, value):
    """x[start:stop] = value; the loop compiles in a tenth of the time."""
    for i in range(start, stop):
        x[i] = value


@lean
def magnitude(x):
    """The largest magnitude in x; NaN if an entry is not finite."""
    top, nothing = max_abs(x), x[0] * 0
    for j in range(x.size - x.size % LANES, x.size):
        top, nothing = max(top, abs(x[j])), nothing + (x[j] - x[j])
    return top + nothing


@lean
def add_outer(flat, stride, n, width, weight, x):
    """Add weight x x^T to the first n rows and width columns of a flat matrix; width is whole vectors."""
    at = 0
    while at + 8 * LANES <= width:
        outer_8(flat, stride, at, weight, x, n)
        at += 8 * LANES
    if at + 4 * LANES <= width:
        outer_4(flat, stride, at, weight, x, n)
        at += 4 * LANES
    if at + 2 * LANES <= width:
        outer_2(flat, stride, at, weight, x, n)
        at += 2 * LANES
    if at < width:
        outer_1(flat, stride, at, weight, x, n)


@lean
def restride(flat, n, stride, wider, scratch):
    """Move the rows of a flat matrix, n by n, apart to a wider stride."""
    for i in range(n - 1, 0, -1):
        for j in range(n):
            scratch[j] = flat[i * stride + j]
        for j in range(n):
            flat[i * wider + j] = scratch[j]


@inlined
def eps(x):
    """The spacing of numbers at one; np.finfo takes long to compile."""
    return 2.0**-52 if x.itemsize == 8 else 2.0**-23


@inlined
def dependence(x):
    """An atom depends on the support if the support leaves no more than this share of its squared norm."""
    return 0.1 * math.sqrt(eps(x))


@inlined
def with_room(working, sizes):
    """Sizes with a stride of the inverse that has room for one more row."""
    n, stride = sizes.n_support, sizes.inverse_stride
    if padded(n + 1) <= stride:
        return sizes
    wider = min(2 * stride + LANES, working.c.size)
    restride(working.inverse, n, stride, wider, working.drift)
    return Sizes(sizes.stride, wider, sizes.n_atoms, n)


@lean
def add_atom(working, sizes, place, code, sign, offset):
    """Put an atom on the support: border the inverse, and update the velocity.

    Returns the sizes; the support is unchanged if the atom depends on it.
    """
    sizes = with_room(working, sizes)
    n, stride, inverse_stride = sizes.n_support, sizes.stride, sizes.inverse_stride
    inverse, solved, width, wider = working.inverse, working.solved, padded(n), padded(n + 1)
    column = working.falls  # only scratch here
    for i in range(n):
        column[i] = working.gram[place * stride + working.support[i]]
    sum_rows(inverse, inverse_stride, working.order, column, n, solved[:width])
    norm, change = working.gram[place * stride + place], -offset
    rest = norm
    for i in range(n):
        rest -= column[i] * solved[i]
        change += solved[i] * working.offset[i]
    if not rest > dependence(working.c) * norm:
        return sizes
    if n == width:  # a new vector: beyond the support everything stays zero
        clear(solved, n, wider)
        clear(working.code, n, wider)
        clear(working.velocity, n, wider)
        for i in range(n):
            clear(inverse, i * inverse_stride + n, i * inverse_stride + wider)
    clear(inverse, n * inverse_stride, n * inverse_stride + wider)
    solved[n] = -1.0
    add_outer(inverse, inverse_stride, n + 1, wider, 1.0 / rest, solved)
    add_scaled(working.velocity, change / rest, solved, wider)
    working.support[n], working.code[n], working.sign[n], working.offset[n] = place, code, sign, offset
    return Sizes(stride, inverse_stride, sizes.n_atoms, n + 1)


@lean
def remove_atom(working, sizes, i):
    """Take the i-th atom off the support; the last takes its place. Returns the sizes."""
    n, stride = sizes.n_support, sizes.inverse_stride
    inverse, solved, width, last = working.inverse, working.solved, padded(n), n - 1
    for j in range(width):
        solved[j] = inverse[i * stride + j]
    share = 1.0 / solved[i]
    add_scaled(working.velocity, -working.velocity[i] * share, solved, width)
    add_outer(inverse, stride, n, width, -share, solved)
    for j in range(width):
        inverse[i * stride + j] = inverse[last * stride + j]
    for j in range(n):
        inverse[j * stride + i] = inverse[j * stride + last]
    working.support[i], working.code[i], working.sign[i] = working.support[last], working.code[last], working.sign[last]
    working.offset[i], working.velocity[i] = working.offset[last], working.velocity[last]
    working.code[last], working.velocity[last] = 0.0, 0.0
    for j in range(width):
        inverse[last * stride + j], inverse[j * stride + last] = 0.0, 0.0
    return Sizes(sizes.stride, stride, sizes.n_atoms, last)


@inlined
def first_minimum(x):
    """Smallest entry, at least zero, and its first place."""
    where = argmin(x)
    return max(x[where], 0.0), where


@inlined
def next_atom(working, width, n, e, positive, left):
    """By how much e falls until an atom off the support reaches its threshold, and which; not the one that just left.

    An atom that is all but one of the support keeps its distance, and never does.
    """
    c, drift, thresholds, falls = working.c, working.drift, working.thresholds, working.falls
    number = c.dtype.type  # a Python number would turn float32 into float64
    one, far, e, smallest = number(1.0), number(np.inf), number(e), number(dependence(c))
    below = -far if positive else number(0.0)  # a code of at least zero has no lower threshold
    for j in range(width):
        reach = thresholds[j] + e
        above = c[j] > reach * drift[j] + below  # which of the two thresholds comes first
        gap, closing = reach - c[j] if above else reach + c[j], one - drift[j] if above else one + drift[j]
        falls[j] = gap / closing if closing > smallest else far
    for i in range(n):
        falls[working.support[i]] = far
    if left >= 0:
        falls[left] = far
    return first_minimum(falls[:width])


@inlined
def next_zero(working, n):
    """By how much e falls until an entry of the code reaches zero, and its place on the support."""
    code, sign, velocity, falls = working.code, working.sign, working.velocity, working.falls
    none, far, width = code.dtype.type(0.0), code.dtype.type(np.inf), padded(n + 1)  # never empty
    for i in range(n):
        closing = -sign[i] * velocity[i]
        falls[i] = sign[i] * code[i] / closing if closing > none else far
    fill(falls, n, width, np.inf)
    return first_minimum(falls[:width])


@inlined
def largest_exchange(working, n, sign):
    """How far the code of an atom that depends on the support can grow until another entry is zero, and which.

    add_atom has left the atom's weights on the support in working.solved. While the atom is exchanged for them
    neither the reconstruction nor the penalty changes.
    """
    furthest, which = np.inf, -1
    for i in range(n):
        share = sign * working.solved[i] * working.sign[i]
        if share > 0.0 and abs(working.code[i]) < furthest * share:
            furthest, which = abs(working.code[i]) / share, i
    return furthest, which


@merged
def enter(working, sizes, place, positive, penalised):
    """Put an atom that has reached its threshold on the support, in exchange for another if it depends on it.

    Without a penalty an exchange gains nothing. Returns the sizes, the atom that left or -1, and whether the code
    still solves the problem at e; it does unless rounding spoils an exchange.
    """
    sign, step, left = 1.0 if positive or working.c[place] > 0.0 else -1.0, 0.0, np.int64(-1)
    while True:
        n = sizes.n_support
        sizes = add_atom(working, sizes, place, sign * step, sign, sign)
        if sizes.n_support > n:
            return sizes, left, True
        if left >= 0:  # not even in exchange
            working.thresholds[place] = np.inf
            return sizes, left, False
        step, which = largest_exchange(working, n, sign)
        if which < 0 or not penalised:
            working.thresholds[place] = np.inf
            return sizes, left, True
        left = working.support[which]
        add_scaled(working.code, -sign * step, working.solved, padded(n))
        sizes = remove_atom(working, sizes, which)


@merged
def follow(working, sizes, e, e_end, positive):
    """Let e fall to e_end. Returns the sizes, the number of breakpoints, and what is left of e."""
    left, width, most = np.int64(-1), padded(sizes.n_atoms), MAX_BREAKPOINTS * sizes.n_atoms
    for n_breakpoints in range(most):
        n = sizes.n_support
        sum_rows(working.gram, sizes.stride, working.support, working.velocity, n, working.drift[:width])
        enters, place = next_atom(working, width, n, e, positive, left)
        leaves, which = next_zero(working, n)
        fall = min(e - e_end, enters, leaves)
        add_scaled(working.code, fall, working.velocity, padded(n))
        add_scaled(working.c, -fall, working.drift, width)
        e -= fall
        if e <= e_end:
            return sizes, n_breakpoints, e
        if leaves <= enters:
            left, sizes = working.support[which], remove_atom(working, sizes, which)
            continue
        sizes, left, solves = enter(working, sizes, place, positive, working.thresholds[place] != 0.0)
        if not solves:
            return sizes, n_breakpoints, e
    return sizes, most, e


@lean
def joining_level(excess):
    """The violation that about JOIN atoms exceed; 0 if not many more violate the conditions at all."""
    top = max_abs(excess)
    level = top * 0  # of its dtype
    for _ in range(32):  # ties cannot be separated
        if count_above(excess, level) <= JOIN + JOIN // 2:
            break
        level += 0.15 * (top - level)
    return level


@lean
def pack(working, gram, n_before, n, stride_before, stride):
    """Fill the working set's Gram matrix from the n_before-th to the n-th atom, and move the rows before apart."""
    if stride > stride_before:
        restride(working.gram, n_before, stride_before, stride, working.drift)
    for i in range(n_before, n):
        row = gram[working.atoms[i]]
        for j in range(n):
            working.gram[i * stride + j] = row[working.atoms[j]]
        for j in range(n_before):
            working.gram[j * stride + i] = working.gram[i * stride + j]
    width = padded(n)
    for i in range(n):
        fill(working.gram, i * stride + n, i * stride + width, 0.0)
    fill(working.thresholds, n, width, np.inf)
    fill(working.c, n, width, 0.0)


@merged
def begin(working, gram, thresholds, code, sizes):
    """Begin at a code: its atoms form the working set, and the support, but for those that depend on others.

    Returns the sizes; the strides of the row before are kept.
    """
    n = none = np.int64(0)  # a literal 0 would compile all that is called here once more
    if magnitude(code) > 0.0:
        for j in range(code.size):
            if code[j] != 0.0:
                working.atoms[n], working.thresholds[n] = j, thresholds[j]
                n += 1
    sizes = Sizes(max(sizes.stride, padded(n)), sizes.inverse_stride, n, none)
    pack(working, gram, none, n, sizes.stride, sizes.stride)
    for i in range(n):
        start = code[working.atoms[i]]
        sizes = add_atom(working, sizes, i, start, math.copysign(1.0, start), 0.0)
    return sizes


@lean
def residual_correlations(working, scratch, gram, q, n_support, c):
    """c = q - G z over all atoms."""
    for i in range(n_support):
        scratch.chosen[i], scratch.weights[i] = working.atoms[working.support[i]], working.code[i]
    sum_rows(gram.reshape(gram.size), q.size, scratch.chosen, scratch.weights, n_support, c)
    for j in range(q.size):
        c[j] = q[j] - c[j]


@merged
def largest_violation(working, sizes, c, thresholds, positive, excess):
    """The largest violation of the conditions by any atom; excess is that of each atom out of the working set.

    working.offset is left as c less its target.
    """
    for j in range(c.size):
        excess[j] = max((c[j] if positive else abs(c[j])) - thresholds[j], 0.0)
    for i in range(sizes.n_atoms):
        if working.thresholds[i] == np.inf:
            excess[working.atoms[i]] = 0.0
    for i in range(sizes.n_support):
        j = working.atoms[working.support[i]]
        working.offset[i] = c[j] - working.sign[i] * thresholds[j]
        excess[j] = 0.0
    e = max_abs(excess)
    for i in range(sizes.n_support):
        e = max(e, abs(working.offset[i]))
    for i in range(sizes.n_atoms):
        excess[working.atoms[i]] = 0.0
    return e


@merged
def join(working, gram, thresholds, excess, sizes):
    """Add the atoms that violate the conditions most to the working set.

    Returns the sizes, and how far e may fall before all atoms should be checked again.
    """
    level, n, n_before, stride = joining_level(excess), sizes.n_atoms, sizes.n_atoms, sizes.stride
    for at in range(0, excess.size, LANES):
        if any_above(excess, at, level):
            for j in range(at, at + LANES):
                if excess[j] > level:
                    working.atoms[n], working.thresholds[n] = j, thresholds[j]
                    n += 1
    if padded(n) > stride:  # room for more, and an odd number of vectors: rows do not share the sets of a cache
        stride = min(padded(n + n // 2) // LANES | 1, working.c.size // LANES) * LANES
    if n > n_before:
        pack(working, gram, n_before, n, sizes.stride, stride)
    return Sizes(stride, sizes.inverse_stride, n, sizes.n_support), RECHECK * level if n_before > 0 else 0.0


@merged
def write_code(working, n, code):
    """Write the code out, without entries that rounding carried past zero. Returns whether there were none."""
    fill(code, 0, code.size, 0.0)
    clean = True
    for i in range(n):
        if working.code[i] * working.sign[i] > 0.0:
            code[working.atoms[working.support[i]]] = working.code[i]
        else:
            working.code[i], clean = 0.0, False
    return clean


@merged
def solve_row(working, scratch, gram, q, thresholds, positive, rounding, sizes, c):
    """Add atoms and follow the path until no atom violates the conditions by more than rounding.

    c is q - G z on entry. Returns the sizes, the number of breakpoints, and whether c is q - G z on return.
    """
    before, n_breakpoints = np.inf, 0
    for _ in range(MAX_RUNS):
        e, n_before = largest_violation(working, sizes, c, thresholds, positive, scratch.excess), sizes.n_atoms
        sizes, e_end = join(working, gram, thresholds, scratch.excess, sizes)
        if not e > rounding or (sizes.n_atoms == n_before and e > 0.5 * before):
            break
        n, before = sizes.n_support, e
        for i in range(sizes.n_atoms):
            working.c[i] = c[working.atoms[i]]
        for i in range(n):
            working.offset[i] /= e
        sum_rows(working.inverse, sizes.inverse_stride, working.order, working.offset, n, working.velocity[: padded(n)])
        sizes, passed, e = follow(working, sizes, e, e_end, positive)
        n_breakpoints += passed + 1
        if e > e_end:
            return sizes, n_breakpoints, False
        residual_correlations(working, scratch, gram, q, sizes.n_support, c)
    return sizes, n_breakpoints, True


@lean
def homotopy(working, scratch, gram, correlations, thresholds, positive, n_iter, residual, z):
    """Follow each row from its code in z[0] to its minimum under thresholds[0], from there to that under the next ...

    thresholds (n_points, k), z and residual (n_points, n, k): residual is q - G z at the end; n_iter (n_points, n)
    counts the breakpoints. If atoms depend on each other, or rounding prevails, a row may end a little above its
    minimum: certify the codes. working and scratch are overwritten.
    """
    n_points, n_rows, k = z.shape
    fill(scratch.excess, k, scratch.excess.size, 0.0)
    stride = min(9 * LANES, working.c.size)  # the strides that a row needed are kept for the next
    sizes = Sizes(stride, stride, np.int64(0), np.int64(0))
    for row in range(n_rows):
        q = correlations[row]
        rounding = 64.0 * eps(q) * magnitude(q)
        sizes = begin(working, gram, thresholds[0], z[0, row], sizes)
        for point in range(n_points):
            t, c = thresholds[point], residual[point, row]
            if not rounding < np.inf:
                fill(c, 0, k, np.nan)
                n_iter[point, row] = 0
                continue
            if point == 0:
                residual_correlations(working, scratch, gram, q, sizes.n_support, c)
            else:
                for j in range(k):
                    c[j] = residual[point - 1, row, j]
                for i in range(sizes.n_atoms):
                    working.thresholds[i] = t[working.atoms[i]]
            sizes, n_iter[point, row], current = solve_row(working, scratch, gram, q, t, positive, rounding, sizes, c)
            if not (write_code(working, sizes.n_support, z[point, row]) and current):
                residual_correlations(working, scratch, gram, q, sizes.n_support, c)


@lean
def until_error(working, n, e, ridges, squares, goal):
    """By how much e falls until the squared error is down to the goal; and the two coefficients of its change.

    While e falls by s it changes by s (s curvature - 2 slope). The ridges are no part of the reconstruction.
    """
    slope = curvature = 0.0
    for i in range(n):
        v, ridge = working.velocity[i], ridges[working.support[i]]
        slope += (e * working.sign[i] + ridge * working.code[i]) * v
        curvature += (working.sign[i] - ridge * v) * v
    left = squares - goal
    root = slope * slope - curvature * left
    meets = left / (slope + math.sqrt(root)) if goal > 0.0 and slope > 0.0 and root >= 0.0 else np.inf
    return meets, slope, curvature


@lean
def has_diverged(working, sizes, q, norm, e):
    """Whether rounding prevails: the last atom is off its threshold, or the energy is above that of zero.

    q (k,) is in units of 1 / norm.
    """
    n, size = sizes.n_support, 0.0
    if n == 0:
        return False
    j = working.support[n - 1]
    c = q[j] / norm
    for i in range(n):
        c -= working.code[i] * working.gram[j * sizes.stride + working.support[i]]
        size += abs(working.code[i])
    return not (abs(working.sign[n - 1] * c - e) <= 1e-4 * e + 1e-12 and e * size <= 0.5000001)


@lean
def follow_to_target(working, sizes, q, norm, ridges, e, rounding, positive, target):
    """Follow the minimum under equal thresholds e down to the target. From e = rounding on it is straight.

    It begins with an empty support and a squared error of one, and ends early, a breakpoint back, if atoms depend on
    each other so much that rounding prevails. Returns the sizes, e, the number of breakpoints, and whether it arrived
    at the target's e.
    """
    left, n_breakpoints, squares, stride = np.int64(-1), 0, 1.0, sizes.stride
    goal = target.error * target.error
    while e > target.e and n_breakpoints < 2 * MAX_BREAKPOINTS * stride:
        n = sizes.n_support
        sum_rows(working.gram, stride, working.support, working.velocity, n, working.drift[:stride])
        enters, place = next_atom(working, stride, n, e, positive, left)
        leaves, which = next_zero(working, n)
        meets, slope, curvature = until_error(working, n, e, ridges, squares, goal)
        if e - min(enters, leaves) <= rounding:  # a breakpoint made by rounding
            enters = leaves = np.inf
        fall = min(e - target.e, enters, leaves, meets)
        add_scaled(working.code, fall, working.velocity, padded(n))
        add_scaled(working.c, -fall, working.drift, stride)
        squares += fall * (fall * curvature - 2.0 * slope)
        if has_diverged(working, sizes, q, norm, e - fall):
            add_scaled(working.code, -fall, working.velocity, padded(n))
            return sizes, e, n_breakpoints, False
        if fall == e - target.e:
            return sizes, target.e, n_breakpoints, True
        e -= fall
        n_breakpoints += 1
        if fall == meets or (n == target.n_nonzero and enters < leaves):
            return sizes, e, n_breakpoints, False
        if leaves <= enters:
            left, sizes = working.support[which], remove_atom(working, sizes, which)
        else:
            sizes, left, _ = enter(working, sizes, place, positive, True)
    return sizes, e, n_breakpoints, e <= target.e


@lean
def least_angle(working, correlations, norms, ridges, positive, target, n_iter, ends, z):
    """Follow each row, in units of its norm, from zero down the path of its minima with equal thresholds.

    target.e is in the unit of the data; ends (n,) is the threshold at which each row ended. ridges (k,) is the part
    of the Gram's diagonal that does not come from the atoms. n_iter counts the breakpoints. The working set is
    scratch, but for its Gram matrix: of all atoms, in rows of whole vectors.
    """
    n_rows, k = correlations.shape
    stride, none = padded(k), np.int64(0)
    fill(working.thresholds, k, stride, np.inf)
    fill(working.c, k, stride, 0.0)
    sizes = Sizes(stride, min(9 * LANES, working.c.size), k, none)
    for row in range(n_rows):
        q, norm, e = correlations[row], norms[row], 0.0
        if not 0.0 < norm < np.inf:
            norm = np.inf
        for j in range(k):
            working.c[j], working.thresholds[j] = q[j] / norm, 0.0
            e = max(e, working.c[j] if positive else abs(working.c[j]))
        rounding = 1e4 * eps(q) * e
        sizes = Sizes(stride, sizes.inverse_stride, k, none)
        sizes, e, n_iter[row], arrived = follow_to_target(
            working, sizes, q, norm, ridges, e, rounding, positive,
            Target(target.e / norm, target.n_nonzero, target.error),
        )  # fmt: skip
        ends[row] = target.e if arrived else e * norm
        fill(z[row], 0, k, 0.0)
        for j in range(sizes.n_support):
            if working.code[j] * working.sign[j] > 0.0:
                z[row, working.support[j]] = working.code[j] * norm


@lean
def refit(working, scratch, gram, correlations, thresholds, positive, z):
    """Least squares on the non-zero entries of each row, non-negative if asked; entries that depend become zero.

    working and scratch are overwritten, thresholds are zeros.
    """
    n_rows, k = correlations.shape
    c, stride = scratch.excess[:k], min(9 * LANES, working.c.size)
    sizes = Sizes(stride, stride, np.int64(0), np.int64(0))
    for row in range(n_rows):
        code = z[row]
        sizes = begin(working, gram, thresholds, code, sizes)
        for _ in range(2):  # the second time for what rounding left
            n, e = sizes.n_support, 0.0
            residual_correlations(working, scratch, gram, correlations[row], n, c)
            for i in range(sizes.n_atoms):
                working.c[i] = c[working.atoms[i]]
                e = max(e, abs(working.c[i]))
            if not 0.0 < e < np.inf:
                break
            for i in range(n):
                working.offset[i] = c[scratch.chosen[i]] / e
            velocity = working.velocity[: padded(n)]
            sum_rows(working.inverse, sizes.inverse_stride, working.order, working.offset, n, velocity)
            if positive:
                sizes, _, e = follow(working, sizes, e, 0.0, positive)
            else:
                add_scaled(working.code, e, velocity, padded(n))
        fill(code, 0, k, 0.0)
        for i in range(sizes.n_support):
            if working.code[i] > 0.0 or not positive:
                code[working.atoms[working.support[i]]] = working.code[i]


@lean
def summarize(decoded, chosen, entries, atoms, factors, y, z, squares, counts, penalties, lengths):
    """For each row of codes with few non-zeros: the squared norm of y - z D, the number of entries that are not zero,
    sum_j factors_j |z_j|, and the squared norm of z. The first three arrays are scratch.
    """
    (n_rows, k), width = z.shape, y.shape[1]
    flat = atoms.reshape(k * width)
    for row in range(n_rows):
        n, squares[row], penalties[row], lengths[row] = np.int64(0), 0.0, 0.0, 0.0
        for j in range(k):
            if z[row, j] != 0.0:
                chosen[n], entries[n] = j, z[row, j]
                penalties[row] += factors[j] * abs(entries[n])
                lengths[row] += entries[n] * entries[n]
                n += 1
        sum_rows(flat, width, chosen, entries, n, decoded)
        for i in range(width):
            squares[row] += (y[row, i] - decoded[i]) ** 2
        counts[row] = n
