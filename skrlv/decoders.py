"""Floor 2: Dec, from a code to what it says the data are."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skrlv._arrays import namespace, squares_per_sample


class Decoder(ABC):
    """Any differentiable map from codes to data."""

    @abstractmethod
    def __call__(self, z):
        """Decode: codes (n_samples, ..., n_components) -> data (n_samples, ...)."""

    @abstractmethod
    def forward(self, z):
        """Decode and keep what the way back needs: z -> (y, tape)."""

    @abstractmethod
    def vjp(self, tape, dy):
        """Way back: gradient at y -> (gradient at z, {parameter name: gradient})."""

    @property
    @abstractmethod
    def parameters(self):
        """The learned arrays by name."""


class LinearDecoder(Decoder):
    """A decoder that is a matrix, however it is stored."""

    @abstractmethod
    def adjoint(self, r):
        """The transposed map, data -> codes: <Dec z, r> = <z, adjoint(r)>."""

    @property
    @abstractmethod
    def code_shape(self):
        """Shape of one code."""

    @property
    @abstractmethod
    def lipschitz(self):
        """The largest singular value, squared."""

    @property
    @abstractmethod
    def squared_norms(self):
        """Squared l2 norm of each atom, (n_components,)."""


@dataclass(frozen=True, eq=False)
class Dictionary(LinearDecoder):
    r"""Sum of atoms, :math:`\mathrm{Dec}(z) = \sum_j z_j d_j`, one atom per row.

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The rows d_j.
    """

    atoms: Any

    def __call__(self, z):
        return z @ self.atoms

    def adjoint(self, r):
        return r @ self.atoms.T

    def forward(self, z):
        return self(z), z

    def vjp(self, tape, dy):
        return self.adjoint(dy), {"atoms": tape.T @ dy}

    @property
    def parameters(self):
        return {"atoms": self.atoms}

    @property
    def code_shape(self):
        return self.atoms.shape[:1]

    @cached_property
    def squared_norms(self):
        return squares_per_sample(self.atoms)

    @cached_property
    def gram(self):
        """Inner products of the atoms, (n_components, n_components)."""
        return self.atoms @ self.atoms.T

    @cached_property
    def single(self):
        """The same atoms in float32."""
        xp = namespace(self.atoms)
        return Dictionary(xp.astype(self.atoms, xp.float32, copy=False))

    @cached_property
    def is_single(self):
        """Whether float32 holds the atoms exactly."""
        return bool(namespace(self.atoms).all(self.single.atoms == self.atoms))

    @cached_property
    def lipschitz(self):
        n_components, n_features = self.atoms.shape
        smaller = self.gram if n_components <= n_features else self.atoms.T @ self.atoms
        return float(namespace(smaller).linalg.eigvalsh(smaller)[-1])

    @property
    def gram_pays(self):
        """Whether multiplying by the Gram matrix is cheaper than decoding and coming back."""
        n_components, n_features = self.atoms.shape
        return n_components <= 2 * n_features
