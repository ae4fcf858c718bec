"""Floor 2: Dec, from a code to what it says the data are."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from skrlv._arrays import double, namespace, squares_per_sample
from skrlv._convolution import convolve, correlate, grid, positions, spectra, tap_products


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
    def rows(self):
        """The atoms, each as a row: (n_components, n_entries)."""

    @abstractmethod
    def with_rows(self, rows):
        """The same decoder with other atoms."""

    @cached_property
    def squared_norms(self):
        """Squared l2 norm of each atom, (n_components,)."""
        return squares_per_sample(self.rows)


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

    @property
    def rows(self):
        return self.atoms

    def with_rows(self, rows):
        return Dictionary(rows)

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


@dataclass(frozen=True, eq=False)
class ConvolutionalDictionary(LinearDecoder):
    r"""Sum of convolutions, :math:`\mathrm{Dec}(z)_c = \sum_i K_{i,c} * z_i`, full and without wrap-around.

    Parameters
    ----------
    kernels : array of shape (n_components, \*kernel_size, n_channels)
        The kernels K, over one or more axes.
    spatial_shape : tuple of int
        Size of the signals along these axes. Codes live where a kernel fits, on spatial - kernel + 1 positions.
    """

    kernels: Any
    spatial_shape: tuple

    def __post_init__(self):
        kernel = tuple(self.kernels.shape[1:-1])
        if len(kernel) != len(self.spatial_shape) or any(
            k > s for k, s in zip(kernel, self.spatial_shape, strict=True)
        ):
            raise ValueError(f"Kernels of {kernel} do not fit into signals of {tuple(self.spatial_shape)}.")

    def __call__(self, z):
        return convolve(z, self.kernels)

    def adjoint(self, r):
        return correlate(r, self.kernels)

    def forward(self, z):
        return self(z), z

    def vjp(self, tape, dy):
        return self.adjoint(dy), {"kernels": tap_products(tape, dy, self.kernels.shape[1:-1])}

    @property
    def parameters(self):
        return {"kernels": self.kernels}

    @property
    def code_shape(self):
        return (*positions(self.spatial_shape, self.kernels), self.kernels.shape[0])

    @property
    def rows(self):
        return namespace(self.kernels).reshape(self.kernels, (self.kernels.shape[0], -1))

    def with_rows(self, rows):
        return replace(self, kernels=namespace(rows).reshape(rows, self.kernels.shape))

    @cached_property
    def lipschitz(self):
        """The largest squared singular value of the kernels' spectra: on a grid without wrap-around, a bound."""
        xp = namespace(self.kernels)
        found = spectra(double(self.kernels), grid(self.spatial_shape))
        smaller = xp.matrix_transpose(found) if found.shape[-2] > found.shape[-1] else found
        return float(xp.max(xp.linalg.eigvalsh(smaller @ xp.conj(xp.matrix_transpose(smaller)))))
