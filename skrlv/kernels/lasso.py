"""Batch Lasso on (gram, correlations, half norms, thresholds), row by row.

Each row minimises  h - q.z + 1/2 z.G z + sum_j t_j |z_j|  over z, or over z >= 0 where ``positive``.
Shapes throughout: gram G (k, k), symmetric; correlations q (n, k); half_norms h (n,), float64;
thresholds t (k,), >= 0; z (n, k), the start on entry and the code on return.
"""

import math

import numpy as np

from skrlv.kernels._jit import kernel

SWEEPS = 10  # within a cycle; measured best between 4 and 20 on digits


@kernel
def shrink(v, threshold, positive):
    """Move v towards zero by threshold; to exactly zero where it is nearer, or negative and positive is asked."""
    if v > threshold:
        return v - threshold
    if v < -threshold and not positive:
        return v + threshold
    return v * 0


@kernel
def add_columns(gram, weights, out):
    """out (k,) += G weights, four non-zero weights at a time so that out is loaded and stored less often."""
    k = weights.size
    found = np.empty(4, dtype=np.int64)
    n_found = 0
    for j in range(k):
        if weights[j] != 0.0:
            found[n_found] = j
            n_found += 1
            if n_found == 4:
                a, b, c, d = found
                wa, wb, wc, wd = weights[a], weights[b], weights[c], weights[d]
                ga, gb, gc, gd = gram[a], gram[b], gram[c], gram[d]
                for i in range(k):
                    out[i] += wa * ga[i] + wb * gb[i] + wc * gc[i] + wd * gd[i]
                n_found = 0
    for found_at in range(n_found):
        j = found[found_at]
        w, g = weights[j], gram[j]
        for i in range(k):
            out[i] += w * g[i]


@kernel
def relative_gap(gram, q, half_norm, thresholds, positive, c, z):
    """Relative duality gap of one row with residual correlations c = q - G z; see inference.duality_gap."""
    inner, price, used, scale, slack = 0.0, 0.0, 0.0, 1.0, 0.0
    for j in range(z.size):
        reach = c[j] if positive else abs(c[j])
        inner += z[j] * (q[j] + c[j])
        if thresholds[j] > 0.0:
            price += thresholds[j] * abs(z[j])
            used += z[j] * c[j]
            if reach * scale > thresholds[j]:
                scale = thresholds[j] / reach
        elif gram[j, j] > 0.0:
            if z[j] != 0.0:
                reach = abs(c[j])
            slack = max(slack, reach / math.sqrt(gram[j, j]))
    smooth = max(half_norm - 0.5 * inner, 0.0)
    gap = (1.0 - scale) ** 2 * smooth + max(price - scale * used, 0.0) + slack * math.sqrt(2.0 * half_norm)
    unit = max(smooth + price, 1e-3 * half_norm)
    if unit == 0.0:  # a zero row, or one so small that its square is lost: then nothing is certified
        return math.inf if scale < 1.0 or slack > 0.0 or np.any(z != 0.0) else 0.0
    return gap / unit if gap < math.inf else math.inf  # also where an overflow made it NaN


@kernel
def visit(gram, j, thresholds, positive, c, z):
    """Minimise over entry j with the others held; c stays q - G z. Return the move in units of the data."""
    if gram[j, j] <= 0.0:
        return 0.0
    move = shrink(c[j] + gram[j, j] * z[j], thresholds[j], positive) / gram[j, j] - z[j]
    if move == 0.0:
        return 0.0
    z[j] += move
    g = gram[j]
    for i in range(z.size):
        c[i] -= move * g[i]
    return abs(move) * math.sqrt(gram[j, j])


@kernel
def rebuild(gram, q, half_norm, thresholds, positive, minus_z, c, z):
    """Set c = q - G z afresh, since updates drift, and return the gap; minus_z is scratch."""
    for j in range(z.size):
        c[j], minus_z[j] = q[j], -z[j]
    add_columns(gram, minus_z, c)
    return relative_gap(gram, q, half_norm, thresholds, positive, c, z)


@kernel
def cycle(gram, thresholds, positive, max_sweeps, support, c, z):
    """Sweep once over all entries, then over the non-zero ones until these move ten times less.

    support is scratch. Returns the number of sweeps.
    """
    largest, n_support = 0.0, 0
    for j in range(z.size):
        largest = max(largest, visit(gram, j, thresholds, positive, c, z))
        if z[j] != 0.0:
            support[n_support] = j
            n_support += 1
    for sweeps in range(1, min(SWEEPS, max_sweeps)):
        moved = 0.0
        for at in range(n_support):
            moved = max(moved, visit(gram, support[at], thresholds, positive, c, z))
        if moved <= 0.1 * largest:
            return sweeps + 1
    return min(SWEEPS, max_sweeps)


@kernel
def factorise(gram, support, factor):
    """Cholesky factor of the Gram matrix of some atoms, in the lower corner of factor.

    Returns how many atoms it holds, and what is left of the squared norm of the first that depends on those
    before it; of that atom the row of the factor is there, but for its diagonal.
    """
    rest = 0.0
    for a in range(support.size):
        for b in range(a):
            rest = gram[support[a], support[b]]
            for i in range(b):
                rest -= factor[a, i] * factor[b, i]
            factor[a, b] = rest / factor[b, b]
        rest = gram[support[a], support[a]]
        for i in range(a):
            rest -= factor[a, i] * factor[a, i]
        if rest <= 1e-10 * gram[support[a], support[a]]:
            return a, max(rest, 0.0)
        factor[a, a] = math.sqrt(rest)
    return support.size, rest


@kernel
def solve_upper(factor, x):
    """Overwrite x with L^-T x, L the lower corner of factor."""
    for a in range(x.size - 1, -1, -1):
        for i in range(a + 1, x.size):
            x[a] -= factor[i, a] * x[i]
        x[a] /= factor[a, a]


@kernel
def solve(factor, x):
    """Overwrite x with (L L^T)^-1 x."""
    for a in range(x.size):
        for i in range(a):
            x[a] -= factor[a, i] * x[i]
        x[a] /= factor[a, a]
    solve_upper(factor, x)


@kernel
def aim(gram, support, rounding, factor, slope, direction):
    """Direction (in place) and longest step that lower the quadratic of this support and these signs.

    With independent atoms that is the way to its minimum, of length 1. Where an atom depends on those before it
    there is a direction that changes no reconstruction: along it the price falls until an entry is zero. Where
    there is no price to fall, and only rounding points anywhere, the step is 0.
    """
    n, rest = factorise(gram, support, factor)
    if n == support.size:
        direction[:] = slope
        solve(factor, direction)
        return 1.0
    direction[n:] = 0.0
    direction[n] = 1.0
    direction[:n] = -factor[n, :n]
    solve_upper(factor, direction[:n])
    gain, doubt = 0.0, 0.0
    for a in range(n + 1):
        gain += slope[a] * direction[a]
        doubt += (1e-9 * abs(slope[a]) + rounding) * abs(direction[a])
    if abs(gain) <= doubt:
        return 0.0
    if gain < 0.0:
        for a in range(n + 1):
            direction[a] = -direction[a]
    return abs(gain) / rest if rest > 0.0 else math.inf


@kernel
def jump(gram, q, thresholds, support, factor, slope, direction, c, z):
    """Go straight to the minimum for the present support and signs, or to the first entry that reaches zero.

    On one orthant the energy is a quadratic, so this never raises it; coordinate descent alone would creep
    there. support, factor, slope and direction are scratch. Returns whether an entry reached zero, so that the
    next jump is from a smaller support.
    """
    n = 0
    for j in range(z.size):
        if z[j] != 0.0:
            support[n] = j
            slope[n] = c[j] - math.copysign(thresholds[j], z[j])
            n += 1
    if n == 0:
        return False
    reach, first = aim(gram, support[:n], 1e-14 * np.abs(q).max(), factor, slope[:n], direction[:n]), -1
    for a in range(n):
        j = support[a]
        if z[j] * direction[a] < 0.0 and abs(z[j]) < reach * abs(direction[a]):
            reach, first = abs(z[j] / direction[a]), a
    if reach == 0.0 or reach == math.inf:
        return False
    for a in range(n):
        j = support[a]
        move = -z[j] if a == first else reach * direction[a]
        if move != 0.0:
            z[j] += move
            g = gram[j]
            for i in range(z.size):
                c[i] -= move * g[i]
    return first >= 0


@kernel
def coordinate_descent(gram, correlations, half_norms, thresholds, positive, tol, max_iter, n_iter, gaps, z):
    """Sweep each row until its relative duality gap is at most tol, or max_iter sweeps are over."""
    n, k = correlations.shape
    c, minus_z, support = np.empty(k, gram.dtype), np.empty(k, gram.dtype), np.empty(k, np.int64)
    factor, slope, direction = np.empty((k, k), gram.dtype), np.empty(k, gram.dtype), np.empty(k, gram.dtype)
    for row in range(n):
        q, zr = correlations[row], z[row]
        gap, sweeps = rebuild(gram, q, half_norms[row], thresholds, positive, minus_z, c, zr), 0
        cycles = 0
        while gap > tol and sweeps < max_iter:
            sweeps += cycle(gram, thresholds, positive, max_iter - sweeps, support, c, zr)
            cycles += 1
            for _ in range(cycles):  # easy rows need one, hard ones get more and more
                if not jump(gram, q, thresholds, support, factor, slope, direction, c, zr):
                    break
            gap = relative_gap(gram, q, half_norms[row], thresholds, positive, c, zr)
            if gap <= tol or sweeps >= max_iter:
                gap = rebuild(gram, q, half_norms[row], thresholds, positive, minus_z, c, zr)
        n_iter[row], gaps[row] = sweeps, gap


@kernel
def fista_restart(gram, correlations, half_norms, thresholds, positive, step, tol, max_iter, n_iter, error, z):
    """Walk each row by FISTA with restart until its gradient mapping is a small share of its gradient at zero.

    G z is carried along, so a step touches only the columns of non-zero entries.
    """
    n, k = correlations.shape
    dtype = gram.dtype
    gz, gz_before, ahead, g_ahead = np.empty(k, dtype), np.empty(k, dtype), np.empty(k, dtype), np.empty(k, dtype)
    lean = np.empty(1, dtype)  # in the dtype of the arrays, or float32 would be promoted in the loops
    for row in range(n):
        q, zr = correlations[row], z[row]
        gz[:] = 0.0
        add_columns(gram, zr, gz)
        scale = 0.0
        for j in range(k):
            scale = max(scale, abs(q[j]))
            ahead[j], g_ahead[j], gz_before[j] = zr[j], gz[j], gz[j]
        inertia, iteration, share = 1.0, 0, math.inf
        while iteration < max_iter and share > tol:
            iteration += 1
            largest, uphill = zr[0] * 0, 0.0
            gz[:] = 0.0
            for j in range(k):
                new = shrink(ahead[j] - step * (g_ahead[j] - q[j]), step * thresholds[j], positive)
                largest = max(largest, abs(ahead[j] - new))
                uphill += (ahead[j] - new) * (new - zr[j])
                ahead[j], zr[j] = zr[j], new
            add_columns(gram, zr, gz)
            share = largest / (step * scale) if largest > 0.0 else 0.0
            if uphill > 0.0:
                inertia = 1.0
            faster = (1.0 + math.sqrt(1.0 + 4.0 * inertia * inertia)) / 2.0
            lean[0] = (inertia - 1.0) / faster
            inertia = faster
            for j in range(k):
                g_ahead[j] = gz[j] + lean[0] * (gz[j] - gz_before[j])
                ahead[j] = zr[j] + lean[0] * (zr[j] - ahead[j])
                gz_before[j] = gz[j]
        n_iter[row], error[row] = iteration, share
