r"""The integral of :math:`e^{-E / T}` over codes of many entries, by annealed importance sampling.

Chains of codes begin at draws from a normal density about the minimum and end near :math:`e^{-E / T}`, through the
densities in between. Each step multiplies the weight of a chain by the ratio of two neighbouring densities, and then
moves its code in a way that leaves the newer density as it is. The mean weight is unbiased for the ratio of the
integrals.

References
----------
Neal, Annealed Importance Sampling, 2001. Roberts, Tweedie, Exponential Convergence of Langevin Distributions and Their
Discrete Approximations, 1996. Roberts, Rosenthal, Optimal Scaling of Discrete Approximations to Langevin Diffusions,
1998.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skrlv._arrays import (
    column,
    device,
    double,
    namespace,
    per_row,
    rows_of,
    sum_per_sample,
    to_device_of,
    to_numpy,
)
from skrlv.inference.backtracking import first_step

CHAINS, STEPS, PILOT = 16, 600, 100  # per row: chains, their steps, and steps of a first run that settles their length
_ACCEPTED = 0.57  # share of Langevin steps that should be taken: Roberts, Rosenthal, 1998
_WIDER = 1.3  # than the energy about the minimum, so that chains reach its tails
_SEARCHES = 24  # for the width along each axis
_MOST_ENTRIES = 2**23  # of an array at once


class _Chains(NamedTuple):
    """Codes on their way, CHAINS for each row, with their energy and the slope of its smooth part."""

    z: Any
    energy: Any
    slope: Any


@dataclass(frozen=True)
class _Path:
    """The densities between a normal one about the minimum and exp(-E / T), for the chains of a block of rows."""

    landscape: Any  # of the chains
    temperature: float
    centre: Any  # the minimum, for each chain
    factor: Any  # (n_samples, k, k): F of the covariance F F' of the normal density
    inverse: Any  # of F

    @classmethod
    def of(cls, landscape, temperature, minimum, hessian):
        chains = rows_of(minimum, np.repeat(np.arange(minimum.shape[0]), CHAINS))
        factor = _WIDER * _factor(landscape, temperature, minimum, hessian)
        placed = (to_device_of(part, minimum) for part in (factor, np.linalg.inv(factor)))
        return cls(landscape.take(chains), temperature, namespace(minimum).take(minimum, chains, axis=0), *placed)

    @property
    def reflects(self):
        return self.landscape.energy.regularizer.positive

    def start(self, rng):
        z = self.centre + self.noise(rng)
        return self.at(namespace(z).abs(z) if self.reflects else z)

    def noise(self, rng):
        """Draws with the covariance of each row; the same for all rows, so that none depends on the others."""
        draws = rng.standard_normal((CHAINS, math.prod(self.centre.shape[1:])))
        tiled = to_device_of(np.tile(draws, (self.factor.shape[0], 1)), self.centre)
        return self._times(self.factor, tiled)

    def at(self, z):
        return _Chains(z, self.landscape(z), self.landscape.grad(z))

    def log_ratio(self, chains):
        """log of exp(-E / T) over the normal density without its constant, of each chain."""
        return -chains.energy / self.temperature - self._log_normal(chains.z, self.centre, 1.0)

    def log_density(self, chains, share):
        return self._log_normal(chains.z, self.centre, 1.0) + share * self.log_ratio(chains)

    def step(self, chains, share, length, rng):
        """One step of the Metropolis-adjusted Langevin algorithm; -> (chains, which of them moved)."""
        xp = namespace(chains.z)
        chance = np.log(1.0 - rng.uniform(size=CHAINS))
        ahead = self._drift(chains, share, length)
        proposal = ahead + per_row(xp.sqrt(2.0 * length), ahead) * self.noise(rng)
        new = self.at(xp.abs(proposal) if self.reflects else proposal)
        gain = self.log_density(new, share) - self.log_density(chains, share)
        gain = gain + self._log_normal(chains.z, self._drift(new, share, length), 2.0 * length)
        gain = gain - self._log_normal(new.z, ahead, 2.0 * length)
        moves = xp.asarray(np.tile(chance, self.factor.shape[0]), dtype=xp.float64, device=device(gain)) < gain
        taken = (xp.where(column(moves, own), ours, own) for ours, own in zip(new, chains, strict=True))
        return _Chains(*taken), moves

    def _drift(self, chains, share, length):
        """Return where a step of this length leads on average; the slope of R is left to Metropolis' test."""
        transposed = namespace(self.factor).matrix_transpose(self.factor)
        slope = self._times(self.factor, self._times(transposed, chains.slope))
        pull = per_row(1.0 - share, chains.z) * (chains.z - self.centre)
        return chains.z - per_row(length, chains.z) * (pull + per_row(share / self.temperature, slope) * slope)

    def _log_normal(self, z, mean, variance):
        """Return the log of a normal density without its constant, folded at zero where codes are reflected."""
        xp, variance = namespace(z), variance if isinstance(variance, float) else column(variance, z)
        density = -0.5 * double(self._times(self.inverse, z - mean)) ** 2 / variance
        if self.reflects:  # F is diagonal
            image = -2.0 * double(z) * self._times(self.inverse, self._times(self.inverse, mean)) / variance
            density = density + xp.logaddexp(image, xp.zeros_like(image))  # image: at -z, less that at z
        return sum_per_sample(density)

    def _times(self, matrices, z):
        """The matrix of each row by the codes of its chains."""
        xp, n = namespace(z), self.factor.shape[0]
        codes = xp.reshape(z, (n, CHAINS, -1))
        return xp.reshape(xp.matmul(codes, xp.matrix_transpose(matrices)), self.centre.shape)


def _factor(landscape, temperature, minimum, hessian):
    """F of the covariance about the minimum: as wide as the energy allows, and correlated as its quadratic part is.

    Reflection allows no correlation, and of a decoder that is not linear none is known.
    """
    widths = _widths(landscape, temperature, minimum).reshape(minimum.shape[0], -1)
    if hessian is None or landscape.energy.regularizer.positive:
        return widths[:, :, None] * np.eye(widths.shape[1])
    alone = np.maximum(widths**-2.0 - np.diag(hessian) / temperature, 0.0)  # what R adds to the precision
    precision = hessian / temperature + alone[:, :, None] * np.eye(widths.shape[1])
    return np.swapaxes(np.linalg.inv(np.linalg.cholesky(precision)), 1, 2)


def annealed(landscape, temperature, minimum, hessian, seed):
    """Estimate the free energies of a block of rows: -> (values, standard errors).

    The hessian is that of the smooth part if that is a quadratic, None else.

    An error above a third of the temperature is itself too small: then few chains hold most of the weight.
    """
    n_entries = math.prod(minimum.shape[1:])
    size = max(1, _MOST_ENTRIES // (n_entries * max(n_entries, CHAINS)))
    found = []
    for start in range(0, minimum.shape[0], size):
        rows = rows_of(minimum, np.arange(start, min(start + size, minimum.shape[0])))
        block = landscape.take(rows), temperature, namespace(minimum).take(minimum, rows, axis=0)
        found.append(_annealed_block(*block, hessian, seed))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _annealed_block(landscape, temperature, minimum, hessian, seed):
    path, n = _Path.of(landscape, temperature, minimum, hessian), minimum.shape[0]
    length = np.full(n, math.prod(minimum.shape[1:]) ** (-1.0 / 3.0))
    _, length = _run(path, n, length, PILOT, np.random.RandomState(seed), gain=0.5)
    log_weights, _ = _run(path, n, length, STEPS, np.random.RandomState(seed + 1), gain=0.0)
    top = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - top)
    mean = weights.mean(axis=1)
    volume = np.linalg.slogdet(to_numpy(double(path.factor)))[1] + 0.5 * path.factor.shape[1] * math.log(2.0 * math.pi)
    errors = temperature * weights.std(axis=1, ddof=1) / math.sqrt(CHAINS) / mean
    return (-temperature * (volume + top[:, 0] + np.log(mean)), errors)


def _run(path, n, length, n_steps, rng, *, gain):
    """-> (log weights of the chains of each row, length of steps by the squared widths).

    The length grows by exp(gain) times what the share of steps that are taken is above its target; with a gain of 0 it
    stays, as it must for weights that are unbiased.
    """
    chains, log_weights, before = path.start(rng), np.zeros((n, CHAINS)), 0.0
    xp, where = namespace(chains.z), device(chains.z)
    for share in np.linspace(0.0, 1.0, n_steps + 1)[1:]:
        log_weights += (share - before) * _by_row(path.log_ratio(chains))
        shares, lengths = (
            xp.asarray(part, dtype=xp.float64, device=where)
            for part in (np.full(n * CHAINS, share), np.repeat(length, CHAINS))
        )
        chains, moved = path.step(chains, shares, lengths, rng)
        length, before = length * np.exp(gain * (_by_row(moved).mean(axis=1) - _ACCEPTED)), share
    return log_weights, length


def _widths(landscape, temperature, minimum):
    """Find how far from the minimum, along each axis, the energy rises by half a temperature, (n_samples, ...)."""
    shape, n_entries = minimum.shape, math.prod(minimum.shape[1:])
    many = landscape.take(rows_of(minimum, np.repeat(np.arange(shape[0]), n_entries)))
    z = to_numpy(double(minimum)).reshape(shape[0], 1, n_entries)
    least, axes = to_numpy(landscape(minimum))[:, None], np.eye(n_entries)

    def rises(size):
        """The lower of the energies on both sides."""
        sides = [z + sign * size[:, :, None] * axes for sign in (1.0, -1.0)]
        found = [to_numpy(many(to_device_of(side.reshape(-1, *shape[1:]), minimum))) for side in sides]
        return np.fmin(*found).reshape(shape[0], n_entries) - least > 0.5 * temperature

    lengths = np.sqrt(temperature * to_numpy(first_step(landscape, minimum)))
    low, high, size = np.zeros((shape[0], n_entries)), np.full((shape[0], n_entries), np.inf), lengths[:, None]
    size = np.repeat(size, n_entries, axis=1)
    for _ in range(_SEARCHES):
        rise = rises(size)
        low, high = np.where(rise, low, size), np.where(rise, size, high)
        size = np.where(low == 0.0, 0.25 * high, np.where(np.isinf(high), 4.0 * low, np.sqrt(low * high)))
    return size.reshape(shape)


def _by_row(values):
    return to_numpy(values).reshape(-1, CHAINS)
