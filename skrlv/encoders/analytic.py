r"""Unrolled encoders whose matrices are computed from the dictionary; only a few numbers are learned."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skrlv._arrays import device, double, full, namespace, soft_threshold, to_device_of, to_numpy, zeros
from skrlv.encoders.encoder import Encoder

_MAX_STEP = 1.9  # times the spectral norm of D B^T; the iteration diverges beyond 2


def analytic_weights(atoms):
    r"""The matrix whose rows are least coherent with the other atoms, in closed form.

    .. math:: \min_B \sum_{i \ne j} (d_j \cdot b_i)^2 \quad \text{with} \quad d_i \cdot b_i = 1

    With :math:`M = (D^T D)^{-1}` the solution is :math:`b_i = M d_i / (d_i \cdot M d_i)`. If the atoms do not span all
    features, as for patches without their mean, M is the pseudo-inverse.

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The atoms d_i as rows; no atom may be zero.

    Returns
    -------
    array of shape (n_components, n_features)
        The rows b_i, in the library and dtype of atoms; computed in float64.

    Raises
    ------
    ValueError
        If an atom is zero.

    References
    ----------
    Liu, Chen, Wang, Yin, ALISTA: Analytic Weights Are As Good As Learned Weights in LISTA, 2019. They solve
    the problem iteratively.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import analytic_weights
    >>> analytic_weights(np.array([[1.0, 0.0], [0.6, 0.8]])).round(2).tolist()  # a basis: its inverse, transposed
    [[1.0, -0.75], [-0.0, 1.25]]
    """
    d = to_numpy(atoms).astype(np.float64)
    zero = np.flatnonzero(~d.any(axis=1))
    if zero.size:
        raise ValueError(f"atoms has a zero atom in row {zero[0]}, but analytic weights need atoms that are not zero.")
    exponent = int(np.frexp(np.abs(d).max())[1])
    d = np.ldexp(d, -exponent)  # products of entries neither overflow nor vanish
    solved = d @ np.linalg.pinv(d.T @ d, hermitian=True)
    return to_device_of(np.ldexp(solved / np.sum(solved * d, axis=1, keepdims=True), -exponent), atoms)


@dataclass(frozen=True, eq=False)
class ALISTA(Encoder):
    r"""Analytic LISTA: the matrices are given in closed form; a step and a threshold per layer are learned.

    .. math:: z_t = \mathrm{sh}^{p_t}_{\theta_t}(z_{t-1} - \gamma_t B (D^T z_{t-1} - y)), \quad z_{-1} = 0

    :math:`\mathrm{sh}^p` is soft thresholding with support selection: of the entries above the threshold, the largest
    ones, at most a share p of all entries, are not shrunk, since large entries are likely to belong to the support.
    In layer t this share is min(t ``growth``, ``most``).

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
    growth : float, default=0.012
        Growth of the share p per layer.
    most : float, default=0.12
        Maximum of the share p.

    References
    ----------
    Liu, Chen, Wang, Yin, ALISTA: Analytic Weights Are As Good As Learned Weights in LISTA, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import ALISTA, analytic_weights
    >>> D = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> encoder = ALISTA(D, analytic_weights(D), np.ones(6), np.full(6, 0.1))
    >>> encoder(np.array([[2.0, 0.0]])).round(2).tolist()
    [[1.9, 0.0]]
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
        """Layers with steps of one, or smaller if atoms are coherent, and the thresholds of the L1 norm for these."""
        atoms, analytic = decoder.atoms, analytic_weights(decoder.atoms)
        step = min(1.0, _MAX_STEP / np.linalg.norm(to_numpy(atoms @ analytic.T), 2))
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
        """D B^T: inner products of the atoms with the analytic weights."""
        return self.atoms @ self.analytic.T

    def forward(self, y, start=None):
        """Run the layers; ``start`` is None, or the codes of the first layers and the number of these layers."""
        drive, tape = y @ self.analytic.T, []
        z, first = (zeros(drive.shape, like=drive), 0) if start is None else start
        k = drive.shape[-1]
        for t in range(first, self.n_layers + 1):
            slope = z @ self._mixing - drive if t else -drive
            passed = full((y.shape[0],), round(k * min(t * self.growth, self.most, 1.0)), like=y)
            z, shrunk = shrunk_but_largest(z - self.steps[t] * slope, self.thresholds[t], passed, self.positive)
            tape.append((slope, z, shrunk))
        return z, (first, tape)

    def by_layer(self, y):
        """The codes after each layer, from the first to the last, n_layers + 1 arrays."""
        return [z for _, z, _ in self.forward(y)[1][1]]

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
    def code_axes(self):
        return {"atoms": (0,), "analytic": (0,)}

    @property
    def parameters(self):
        return {"steps": self.steps, "thresholds": self.thresholds}

    @property
    def non_negative(self):
        return ("steps", "thresholds")

    grows = True  # layers can be learned one after the other

    @property
    def units(self):
        return {"thresholds": (0, 1)}


@dataclass(frozen=True, eq=False)
class HyperLISTA(Encoder):
    r"""ALISTA with momentum; steps and thresholds are computed for each sample, and three factors are learned.

    .. math::
        z_t &= \mathrm{sh}^{p_t}_{\theta_t}\bigl(z_{t-1} - B (D^T z_{t-1} - y) + \beta_t (z_{t-1} - z_{t-2})\bigr) \\
        \theta_t &= c_1 \mu \|r_t\|_1, \quad \beta_t = c_2 \mu \|z_{t-1}\|_0, \quad
        p_t = c_3 \log(\|r_0\|_1 / \|r_t\|_1)

    Here :math:`r_t = D^+ (D^T z_{t-1} - y)` is the part of the code's error that the data determine, :math:`\mu` is the
    largest :math:`|d_j \cdot b_i|, i \ne j`, and p is a number of entries, from 0 to all. The factors have no unit.

    Parameters
    ----------
    atoms, analytic : arrays of shape (n_components, n_features)
        The rows of D and B, see `analytic_weights`.
    factors : array of shape (3,)
        :math:`c \ge 0`.
    n_layers : int
        Number of thresholdings minus one, at least 0.
    positive : bool, default=False
        Whether codes are non-negative.

    References
    ----------
    Chen, Liu, Wang, Yin, Hyperparameter Tuning is All You Need for LISTA, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import HyperLISTA, analytic_weights
    >>> D = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> encoder = HyperLISTA(D, analytic_weights(D), np.array([0.5, 0.1, 1.0]), 8)
    >>> encoder(np.array([[2.0, 0.0]])).round(2).tolist()
    [[2.0, 0.0]]
    """

    atoms: Any
    analytic: Any
    factors: Any
    n_layers: int
    positive: bool = False

    @classmethod
    def unrolled(cls, decoder, lmbda, n_layers, *, positive=False):
        """Layers with the initial factors of a search; lmbda is not used."""
        atoms = decoder.atoms
        factors = namespace(atoms).asarray([0.1, 0.01, 30.0], dtype=atoms.dtype, device=device(atoms))
        return cls(atoms, analytic_weights(atoms), factors, n_layers, positive)

    @cached_property
    def _matrices(self):
        """D B^T, the coherence of D and B, the pseudo-inverse of D, and D times it."""
        xp = namespace(self.atoms)
        mixing = self.atoms @ self.analytic.T
        eye = xp.eye(mixing.shape[0], dtype=mixing.dtype, device=device(mixing))
        inverse = to_device_of(np.linalg.pinv(to_numpy(self.atoms).astype(np.float64)), self.atoms)
        return mixing, float(xp.max(xp.abs(mixing * (1.0 - eye)))), inverse, self.atoms @ inverse

    @property
    def _share(self):
        """A power of two by which entries are multiplied before they are summed, so that no sum overflows."""
        return 2.0 ** -(self.atoms.shape[0] - 1).bit_length()

    def forward(self, y):
        xp = namespace(y)
        mixing, mu, inverse, projection = self._matrices
        drive, seen, share = y @ self.analytic.T, y @ inverse, self._share
        k, first_length = drive.shape[-1], xp.sum(xp.abs(seen) * share, axis=-1)
        z = before = zeros(drive.shape, like=drive)
        tape = []
        for _ in range(self.n_layers + 1):
            error = z @ projection - seen
            length = xp.sum(xp.abs(error) * share, axis=-1)  # the L1 norm times share
            used = xp.sum(xp.astype(z != 0, z.dtype), axis=-1)
            n_passed = xp.round(self.factors[2] * _log_of_ratio(first_length, length))
            momentum = z - before
            v = z - (z @ mixing - drive) + (self.factors[1] * mu * used)[:, None] * momentum
            before = z
            threshold = (self.factors[0] * mu / share * length)[:, None]
            z, shrunk = shrunk_but_largest(v, threshold, xp.clip(n_passed, 0.0, float(k)), self.positive)
            tape.append((error, length, used, momentum, z, shrunk))
        return z, tape

    def by_layer(self, y):
        """The codes after each layer, from the first to the last, n_layers + 1 arrays."""
        return [z for *_, z, _ in self.forward(y)[1]]

    def vjp(self, tape, dz):
        """The number of entries that are not shrunk is piecewise constant, so that c_3 has gradient zero."""
        xp = namespace(dz)
        mixing, mu, _, projection = self._matrices
        first = second = xp.zeros_like(self.factors[0])
        older = xp.zeros_like(dz)  # the gradient at the code of the layer before, through the momentum
        for error, length, used, momentum, z, shrunk in reversed(tape):
            dv = xp.where(z != 0, dz, xp.zeros_like(dz))
            at_threshold = -xp.sum(dv * xp.sign(z) * shrunk, axis=-1)
            at_before = (self.factors[1] * mu * used)[:, None] * dv
            first = first + mu / self._share * xp.sum(at_threshold * length)
            second = second + mu * xp.sum(used * xp.sum(dv * momentum, axis=-1))
            slope = (self.factors[0] * mu * at_threshold)[:, None] * xp.sign(error)
            dz, older = dv - dv @ mixing.T + at_before + slope @ projection.T + older, -at_before
        return {"factors": xp.stack([first, second, xp.zeros_like(first)])}

    @property
    def code_axes(self):
        return {"atoms": (0,), "analytic": (0,)}

    @property
    def parameters(self):
        return {"factors": self.factors}

    @property
    def non_negative(self):
        return ("factors",)

    grows = False  # all layers share their numbers


def shrunk_but_largest(v, t, n_passed, positive):
    """Soft thresholding of v at t that leaves the n_passed largest entries of a row as they are, if they exceed t.

    Parameters
    ----------
    v : array of shape (n_samples, n_components)
        Entries.
    t : number or array of shape (n_samples, 1)
        Threshold.
    n_passed : array of shape (n_samples,)
        Whole numbers from 0 to n_components; NaN counts as 0. Entries of equal magnitude are treated alike.
    positive : bool
        Whether codes are non-negative.

    Returns
    -------
    z : array of shape (n_samples, n_components)
        The code.
    shrunk : array of shape (n_samples, n_components)
        1 at entries that were thresholded, 0 at entries that were left as they were.
    """
    xp = namespace(v)
    thresholded = soft_threshold(v, t, positive)
    height = v if positive else xp.abs(v)
    k = v.shape[-1]
    ranked = xp.sort(height, axis=-1)
    some = n_passed >= 1.0
    wanted = xp.where(some, n_passed, full(n_passed.shape, 1.0, like=n_passed))  # NaN cannot be an index
    cut = xp.take_along_axis(ranked, (k - xp.astype(wanted, xp.int64))[:, None], axis=-1)
    through = (height >= cut) & some[:, None] & (height > t)
    return xp.where(through, v, thresholded), xp.astype(~through, v.dtype)


def _log_of_ratio(a, b):
    """log(a / b) for a, b >= 0, finite also at 0."""
    xp = namespace(a)
    tiny = xp.finfo(xp.float64).tiny
    return xp.astype(xp.log(xp.clip(double(a), min=tiny)) - xp.log(xp.clip(double(b), min=tiny)), a.dtype)
