r"""ISTA truncated after a few steps, with learned matrices, thresholds or step sizes."""

from dataclasses import dataclass
from typing import Any

from skrlv._arrays import device, full, namespace, soft_threshold, soft_threshold_vjp, zeros
from skrlv.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class LISTA(Encoder):
    r"""Learned ISTA.

    .. math:: z_0 = \mathrm{sh}_{\theta}(W y), \qquad z_t = \mathrm{sh}_{\theta}(W y + S z_{t-1}), \quad t = 1..T

    All layers may share their matrices and thresholds, as in the paper, or each may have its own.

    Parameters
    ----------
    weights : array of shape (1 or n_layers + 1, n_components, n_features)
        W.
    lateral : array of shape (1 or n_layers, n_components, n_components)
        S.
    thresholds : array of shape (1 or n_layers + 1, n_components)
        :math:`\theta \ge 0`.
    n_layers : int
        T, the number of uses of S, at least 0.
    positive : bool, default=False
        Whether codes are non-negative.

    References
    ----------
    Gregor, LeCun, Learning Fast Approximations of Sparse Coding, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.encoders import LISTA
    >>> encoder = LISTA.unrolled(Dictionary(np.eye(3)), lmbda=0.5, n_layers=2)
    >>> encoder(np.array([[3.0, -1.0, 0.2]])).tolist()
    [[2.5, -0.5, 0.0]]
    """

    weights: Any
    lateral: Any
    thresholds: Any
    n_layers: int
    positive: bool = False

    @classmethod
    def unrolled(cls, decoder, lmbda, n_layers, *, positive=False, tied=True):
        r"""Layers for n_layers + 1 ISTA steps from zero: :math:`W = D / L, S = I - D D^T / L, \theta = \lambda / L`."""
        xp, gram, L = namespace(decoder.atoms), decoder.gram, decoder.lipschitz
        lateral = xp.eye(gram.shape[0], dtype=gram.dtype, device=device(gram)) - gram / L
        thresholds = full(gram.shape[:1], lmbda / L, like=gram)
        sets = 1 if tied else n_layers + 1
        return cls(
            _copies(decoder.atoms / L, sets),
            _copies(lateral, 1 if tied else max(n_layers, 1)),
            _copies(thresholds, sets),
            n_layers,
            positive,
        )

    def forward(self, y):
        drive = y @ self.weights[0, ...].T
        z = soft_threshold(drive, _of_layer(self.thresholds, 0), self.positive)
        tape = [z]
        for t in range(1, self.n_layers + 1):
            if self.weights.shape[0] > 1:
                drive = y @ self.weights[t, ...].T
            v = z @ _of_layer(self.lateral, t - 1).T
            v += drive  # in place: apart from its matrix products, a layer is limited by memory access
            z = soft_threshold(v, _of_layer(self.thresholds, t), self.positive)
            tape.append(z)
        return z, (y, tape)

    def by_layer(self, y):
        """The codes after each layer, from the first to the last, n_layers + 1 arrays."""
        return self.forward(y)[1][1]

    def vjp(self, tape, dz):
        y, codes = tape
        xp = namespace(y)
        gradients = {name: xp.zeros_like(value) for name, value in self.parameters.items()}
        driven = [xp.zeros_like(dz)] * self.weights.shape[0]
        for t in range(self.n_layers, -1, -1):
            dv, thresholds = soft_threshold_vjp(codes[t], dz)
            gradients["thresholds"][_index(self.thresholds, t), :] += thresholds
            used = _index(self.weights, t)
            driven[used] = driven[used] + dv
            if t > 0:
                gradients["lateral"][_index(self.lateral, t - 1), :, :] += dv.T @ codes[t - 1]
                dz = dv @ _of_layer(self.lateral, t - 1)
        for used, slope in enumerate(driven):
            gradients["weights"][used, :, :] = slope.T @ y
        return gradients

    @property
    def code_axes(self):
        return {"weights": (1,), "lateral": (1, 2), "thresholds": (1,)}

    @property
    def parameters(self):
        return {"weights": self.weights, "lateral": self.lateral, "thresholds": self.thresholds}

    @property
    def non_negative(self):
        return ("thresholds",)

    @property
    def units(self):
        return {"weights": (-1, 1), "thresholds": (0, 1)}


@dataclass(frozen=True, eq=False)
class StepLISTA(Encoder):
    r"""ISTA with learned step sizes.

    .. math:: z_t = \mathrm{sh}_{\gamma_t \lambda}(z_{t-1} - \gamma_t D (D^T z_{t-1} - y)), \quad z_{-1} = 0

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The rows of D.
    lmbda : float
        :math:`\lambda \ge 0`.
    steps : array of shape (n_layers + 1,)
        :math:`\gamma \ge 0`.
    positive : bool, default=False
        Whether codes are non-negative.

    References
    ----------
    Ablin, Moreau, Massias, Gramfort, Learning Step Sizes for Unfolded Sparse Coding, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import StepLISTA
    >>> encoder = StepLISTA(np.eye(3), 0.5, np.array([1.0, 1.0]))
    >>> encoder(np.array([[3.0, -1.0, 0.2]])).tolist()
    [[2.5, -0.5, 0.0]]
    """

    atoms: Any
    lmbda: float
    steps: Any
    positive: bool = False

    @classmethod
    def unrolled(cls, decoder, lmbda, n_layers, *, positive=False):
        """Layers for n_layers + 1 ISTA steps from zero."""
        steps = full((n_layers + 1,), 1.0 / decoder.lipschitz, like=decoder.atoms)
        return cls(decoder.atoms, lmbda, steps, positive)

    @property
    def n_layers(self):
        return self.steps.shape[0] - 1

    def forward(self, y, start=None):
        """Run the layers; ``start`` is None, or the codes of the first layers and the number of these layers."""
        gram, drive = self.atoms @ self.atoms.T, y @ self.atoms.T
        z, first = (zeros(drive.shape, like=drive), 0) if start is None else start
        tape = []
        for t in range(first, self.n_layers + 1):
            slope = z @ gram - drive if t else -drive
            z = soft_threshold(z - self.steps[t] * slope, self.lmbda * self.steps[t], self.positive)
            tape.append((slope, z))
        return z, (gram, first, tape)

    def by_layer(self, y):
        """The codes after each layer, from the first to the last, n_layers + 1 arrays."""
        return [z for _, z in self.forward(y)[1][2]]

    def vjp(self, tape, dz):
        gram, first, tape = tape
        xp = namespace(gram)
        steps = xp.zeros_like(self.steps)
        for t in range(self.n_layers, first - 1, -1):
            slope, z = tape[t - first]
            dv, thresholds = soft_threshold_vjp(z, dz)
            steps[t] = self.lmbda * xp.sum(thresholds) - xp.sum(dv * slope)
            if t > first:
                dz = dv - self.steps[t] * (dv @ gram)
        return {"steps": steps}

    @property
    def code_axes(self):
        return {"atoms": (0,)}

    @property
    def parameters(self):
        return {"steps": self.steps}

    @property
    def non_negative(self):
        return ("steps",)

    grows = True  # layers can be learned one after the other


def _copies(value, n):
    return namespace(value).stack([value] * n)


def _index(sets, t):
    """The index of the set of layer t: its own, or 0 if all layers share one."""
    return t if sets.shape[0] > 1 else 0


def _of_layer(sets, t):
    return sets[_index(sets, t), ...]
