r"""Unrolled encoders whose matrices follow from the dictionary, so that a few numbers are all there is to learn."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skrlv._arrays import device, double, full, namespace, soft_threshold, to_device_of, to_numpy, zeros
from skrlv.encoders.encoder import Encoder

_LONGEST = 1.9  # step times the norm of D B^T; beyond 2 steps lead away


def analytic_weights(atoms):
    r"""The matrix that mixes atoms up the least, in closed form.

    .. math:: \min_B \sum_{i \ne j} (d_j \cdot b_i)^2 \quad \text{with} \quad d_i \cdot b_i = 1

    With :math:`M = (D^T D)^{-1}` it is :math:`b_i = M d_i / (d_i \cdot M d_i)`; the pseudo-inverse takes the place
    of M where the atoms do not span all features, as those of mean-free patches.

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The rows d_i, none zero.

    Returns
    -------
    array of shape (n_components, n_features)
        The rows b_i, in the library and dtype of atoms; computed in float64.

    References
    ----------
    Liu, Chen, Wang, Yin, ALISTA: Analytic Weights Are As Good As Learned Weights in LISTA, 2019, who iterate.
    """
    d = to_numpy(atoms).astype(np.float64)
    if not d.any(axis=1).all():
        raise ValueError("analytic_weights: an atom is zero.")
    solved = d @ np.linalg.pinv(d.T @ d, hermitian=True)
    return to_device_of(solved / np.sum(solved * d, axis=1, keepdims=True), atoms)


@dataclass(frozen=True, eq=False)
class ALISTA(Encoder):
    r"""Analytic LISTA: the matrix comes in closed form, a step and a threshold per layer are learned.

    .. math:: z_t = \mathrm{sh}^{p_t}_{\theta_t}(z_{t-1} - \gamma_t B (D^T z_{t-1} - y)), \quad z_{-1} = 0

    :math:`\mathrm{sh}^p` lets the largest entries, a share p of all, through as they are where they exceed the
    threshold: large entries are likely right, and shrinking them would be an error. Layer t lets through a share
    min(t ``growth``, ``most``).

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The rows of D.
    analytic : array of shape (n_components, n_features)
        The rows of B, see `analytic_weights`.
    steps : array of shape (n_layers + 1,)
        :math:`\gamma \ge 0`.
    thresholds : array of shape (n_layers + 1,)
        :math:`\theta \ge 0`.
    positive : bool, default=False
        Whether codes are non-negative.
    growth, most : float, default=0.012 and 0.12
        Shares of entries, as above.

    References
    ----------
    Liu, Chen, Wang, Yin, ALISTA: Analytic Weights Are As Good As Learned Weights in LISTA, 2019.
    """

    atoms: Any
    analytic: Any
    steps: Any
    thresholds: Any
    positive: bool = False
    growth: float = 0.012
    most: float = 0.12

    @classmethod
    def unrolled(cls, decoder, lmbda, n_layers, *, positive=False):
        """Steps of one, shorter where the atoms are coherent, and the threshold that the L1 norm asks for."""
        atoms, analytic = decoder.atoms, analytic_weights(decoder.atoms)
        step = min(1.0, _LONGEST / np.linalg.norm(to_numpy(atoms @ analytic.T), 2))
        threshold = step * lmbda / float(to_numpy(decoder.squared_norms).mean())
        numbers = {
            name: full((n_layers + 1,), value, like=atoms)
            for name, value in (("steps", step), ("thresholds", threshold))
        }
        return cls(atoms, analytic, **numbers, positive=positive)

    @property
    def n_layers(self):
        return self.steps.shape[0] - 1

    @cached_property
    def _mixing(self):
        """D B^T: how much of each atom the analytic weights see in each."""
        return self.atoms @ self.analytic.T

    def forward(self, y, begun=None):
        """``begun``: codes to go on from, and how many layers are behind them."""
        drive, tape = y @ self.analytic.T, []
        z, first = (zeros(drive.shape, like=drive), 0) if begun is None else begun
        k = drive.shape[-1]
        for t in range(first, self.n_layers + 1):
            slope = z @ self._mixing - drive if t else -drive
            passed = full((y.shape[0],), round(k * min(t * self.growth, self.most)), like=y)
            z, shrunk = shrunk_but_largest(z - self.steps[t] * slope, self.thresholds[t], passed, self.positive)
            tape.append((slope, z, shrunk))
        return z, (first, tape)

    def vjp(self, tape, dz):
        first, tape = tape
        xp = namespace(dz)
        steps, thresholds = xp.zeros_like(self.steps), xp.zeros_like(self.thresholds)
        for t in range(self.n_layers, first - 1, -1):
            slope, z, shrunk = tape[t - first]
            dv = xp.where(z != 0, dz, xp.zeros_like(dz))
            thresholds[t] = -xp.sum(dv * xp.sign(z) * shrunk)
            steps[t] = -xp.sum(dv * slope)
            if t > first:
                dz = dv - self.steps[t] * (dv @ self._mixing.T)
        return {"steps": steps, "thresholds": thresholds}

    @property
    def parameters(self):
        return {"steps": self.steps, "thresholds": self.thresholds}

    @property
    def non_negative(self):
        return ("steps", "thresholds")

    grows = True  # each layer can learn when those before it have

    @property
    def units(self):
        return {"thresholds": (0, 1)}


@dataclass(frozen=True, eq=False)
class HyperLISTA(Encoder):
    r"""ALISTA with momentum whose numbers follow from each sample, but for three factors.

    .. math::
        z_t &= \mathrm{sh}^{p_t}_{\theta_t}\bigl(z_{t-1} - B (D^T z_{t-1} - y) + \beta_t (z_{t-1} - z_{t-2})\bigr) \\
        \theta_t &= c_1 \mu \|r_t\|_1, \quad \beta_t = c_2 \mu \|z_{t-1}\|_0, \quad
        p_t = c_3 \log(\|r_0\|_1 / \|r_t\|_1)

    Here :math:`r_t = D^+ (D^T z_{t-1} - y)` is the error as far as the data tell it, :math:`\mu` the largest
    :math:`|d_j \cdot b_i|, i \ne j`, and p a number of entries between 0 and all.

    Parameters
    ----------
    atoms, analytic : arrays of shape (n_components, n_features)
        The rows of D and B, see `analytic_weights`.
    factors : array of shape (3,)
        :math:`c \ge 0`.
    n_layers : int
        One less than there are shrinkages, at least 0.
    positive : bool, default=False
        Whether codes are non-negative.

    References
    ----------
    Chen, Liu, Wang, Yin, Hyperparameter Tuning is All You Need for LISTA, 2021.
    """

    atoms: Any
    analytic: Any
    factors: Any
    n_layers: int
    positive: bool = False

    @classmethod
    def unrolled(cls, decoder, lmbda, n_layers, *, positive=False):
        """Factors to begin a search from; lmbda plays no part."""
        atoms = decoder.atoms
        factors = namespace(atoms).asarray([0.1, 0.01, 30.0], dtype=atoms.dtype, device=device(atoms))
        return cls(atoms, analytic_weights(atoms), factors, n_layers, positive)

    @cached_property
    def _matrices(self):
        """D B^T, the coherence of D and B, D's pseudo-inverse, and D times it."""
        xp = namespace(self.atoms)
        mixing = self.atoms @ self.analytic.T
        eye = xp.eye(mixing.shape[0], dtype=mixing.dtype, device=device(mixing))
        inverse = to_device_of(np.linalg.pinv(to_numpy(self.atoms).astype(np.float64)), self.atoms)
        return mixing, float(xp.max(xp.abs(mixing * (1.0 - eye)))), inverse, self.atoms @ inverse

    def forward(self, y):
        xp = namespace(y)
        mixing, mu, inverse, projection = self._matrices
        drive, seen = y @ self.analytic.T, y @ inverse
        k, whole = drive.shape[-1], xp.sum(xp.abs(seen), axis=-1)
        z = before = zeros(drive.shape, like=drive)
        tape = []
        for _ in range(self.n_layers + 1):
            error = z @ projection - seen
            left = xp.sum(xp.abs(error), axis=-1)
            used = xp.sum(xp.astype(z != 0, z.dtype), axis=-1)
            passed = self.factors[2] * _log_of_ratio(whole, left)
            momentum = z - before
            v = z - (z @ mixing - drive) + (self.factors[1] * mu * used)[:, None] * momentum
            before = z
            z, shrunk = shrunk_but_largest(
                v, (self.factors[0] * mu * left)[:, None], xp.clip(xp.round(passed), 0.0, float(k)), self.positive
            )
            tape.append((error, left, used, momentum, z, shrunk))
        return z, tape

    def vjp(self, tape, dz):
        """The count of entries let through moves in steps: c_3 has no slope."""
        xp = namespace(dz)
        mixing, mu, _, projection = self._matrices
        first = second = xp.zeros_like(self.factors[0])
        older = xp.zeros_like(dz)  # the gradient at the code before, by way of the momentum
        for error, left, used, momentum, z, shrunk in reversed(tape):
            dv = xp.where(z != 0, dz, xp.zeros_like(dz))
            heights = -xp.sum(dv * xp.sign(z) * shrunk, axis=-1)
            pushed = (self.factors[1] * mu * used)[:, None] * dv
            first = first + mu * xp.sum(heights * left)
            second = second + mu * xp.sum(used * xp.sum(dv * momentum, axis=-1))
            slope = (self.factors[0] * mu * heights)[:, None] * xp.sign(error)
            dz, older = dv - dv @ mixing.T + pushed + slope @ projection.T + older, -pushed
        return {"factors": xp.stack([first, second, xp.zeros_like(first)])}

    @property
    def parameters(self):
        return {"factors": self.factors}

    @property
    def non_negative(self):
        return ("factors",)

    grows = False  # the same numbers for all layers


def shrunk_but_largest(v, t, n_passed, positive):
    """v shrunk by t; of each row the n_passed largest stay as they are where they exceed t. And where t was taken off.

    Thresholds are a number or of shape (n_samples, 1), n_passed of shape (n_samples,); entries as large as the last one
    that passes pass too.
    """
    xp = namespace(v)
    shrunk = soft_threshold(v, t, positive)
    height = v if positive else xp.abs(v)
    k = v.shape[-1]
    ranked = xp.sort(height, axis=-1)
    wanted = xp.astype(xp.clip(n_passed, 1.0, float(k)), xp.int64)
    cut = xp.take_along_axis(ranked, (k - wanted)[:, None], axis=-1)
    through = (height >= cut) & (n_passed[:, None] >= 1.0) & (height > t)
    return xp.where(through, v, shrunk), xp.astype(~through, v.dtype)


def _log_of_ratio(whole, left):
    """log(whole / left), for rows of zeros and perfect codes too."""
    xp = namespace(whole)
    tiny = xp.finfo(whole.dtype).tiny
    return xp.astype(xp.log(double(xp.clip(whole, min=tiny))) - xp.log(double(xp.clip(left, min=tiny))), whole.dtype)
