"""Decoders Dec, which map a code to data."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skrlv._arrays import aligned, as_kernel_takes, double, is_numpy, namespace, squares_per_sample
from skrlv._convolution import AXES, boxed, convolve, correlate, grid, positions, spectra, tap_products
from skrlv._layers import Layers, Scaling

MOST_DENSE = 0.01  # measured: up to this share of non-zeros it is fastest to add up single kernels


class Decoder(ABC):
    """Any differentiable map from codes to data."""

    @property
    def is_affine(self) -> bool:
        """Whether it is a linear map, plus an offset."""
        return False

    @abstractmethod
    def __call__(self, z):
        """Decode: codes (n_samples, ..., n_components) -> data (n_samples, ...)."""

    @abstractmethod
    def forward(self, z):
        """Decode: z -> (y, tape for `vjp`)."""

    @abstractmethod
    def vjp(self, tape, dy):
        """Backward pass: gradient in y -> (gradient in z, {parameter name: gradient})."""

    @property
    @abstractmethod
    def parameters(self):
        """The learned arrays, by name."""

    @property
    @abstractmethod
    def code_shape(self):
        """The shape of one code."""

    def check(self, y):  # noqa: B027, most decoders take any shape
        """Refuse data of a shape that codes cannot be decoded to."""

    def take(self, rows):
        """The decoder of some of the samples, given by their indices; `self` unless it depends on the sample."""
        return self


class LinearDecoder(Decoder):
    """A linear map, however its matrix is stored."""

    @property
    def is_affine(self):
        return True

    @abstractmethod
    def adjoint(self, r):
        """The transposed map from data to codes: <Dec z, r> = <z, adjoint(r)>."""

    @property
    @abstractmethod
    def lipschitz(self):
        """The largest singular value, squared."""

    @property
    @abstractmethod
    def squared_norms(self):
        """The squared l2 norm of each atom, (n_components,)."""


class SumOfAtoms(LinearDecoder):
    """A linear decoder whose atoms can be learned; each atom can be written as one row."""

    atoms: Any  # (n_components, ...), in the shape that the decoder uses

    @property
    @abstractmethod
    def rows(self):
        """The atoms as rows, (n_components, n_entries)."""

    @abstractmethod
    def with_rows(self, rows):
        """The same decoder with other atoms."""

    @cached_property
    def squared_norms(self):
        return squares_per_sample(self.rows)


@dataclass(frozen=True, eq=False)
class Dictionary(SumOfAtoms):
    r"""A sum of atoms, :math:`\mathrm{Dec}(z) = \sum_j z_j d_j`.

    Parameters
    ----------
    atoms : array of shape (n_components, n_features)
        The rows d_j.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> decoder = Dictionary(np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]))
    >>> decoder(np.array([[2.0, 1.0]])).tolist()
    [[2.0, 0.6, 0.8]]
    >>> decoder.adjoint(np.array([[1.0, 1.0, 1.0]])).tolist()
    [[1.0, 1.4]]
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
        """The inner products of the atoms, (n_components, n_components)."""
        return aligned(self.atoms @ self.atoms.T)

    @cached_property
    def single(self):
        """The same atoms in float32."""
        xp = namespace(self.atoms)
        return Dictionary(xp.astype(self.atoms, xp.float32, copy=False))

    @cached_property
    def lipschitz(self):
        n_components, n_features = self.atoms.shape
        smaller = self.gram if n_components <= n_features else self.atoms.T @ self.atoms
        return float(namespace(smaller).linalg.eigvalsh(smaller)[-1])

    @property
    def gram_pays(self):
        """Whether a product with the Gram matrix is cheaper than decoding and the adjoint."""
        n_components, n_features = self.atoms.shape
        return n_components <= 2 * n_features


@dataclass(frozen=True, eq=False)
class ConvolutionalDictionary(SumOfAtoms):
    r"""A sum of full linear convolutions, :math:`\mathrm{Dec}(z)_c = \sum_i K_{i,c} * z_i`.

    Parameters
    ----------
    kernels : array of shape (n_components, \*kernel_size, n_channels)
        The kernels K, with one or more spatial axes.
    spatial_shape : tuple of int
        Size of the signals along these axes. A map of codes has spatial - kernel + 1 positions, at which a kernel
        fits.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import ConvolutionalDictionary
    >>> decoder = ConvolutionalDictionary(np.array([[[1.0], [2.0]]]), (5,))  # one kernel of length two
    >>> z = np.zeros((1, 4, 1))
    >>> z[0, 1] = 3.0
    >>> decoder(z)[0, :, 0].tolist()
    [0.0, 3.0, 6.0, 0.0, 0.0]
    """

    kernels: Any
    spatial_shape: tuple

    def __post_init__(self):
        kernel = tuple(self.kernels.shape[1:-1])
        if len(kernel) != len(self.spatial_shape) or any(
            k > s for k, s in zip(kernel, self.spatial_shape, strict=True)
        ):
            raise ValueError(f"Kernels of size {kernel} do not fit into signals of size {tuple(self.spatial_shape)}.")

    def check(self, y):
        if y.ndim != self.kernels.ndim:
            raise ValueError(
                f"Signals of shape {tuple(y.shape)} have {y.ndim} axes, but need {self.kernels.ndim}: samples, "
                "positions and channels. If there is only one channel, append its axis: y[..., None]."
            )

    def __call__(self, z):
        return _sparse_sum(z, self.kernels) if _is_sparse(z) else convolve(z, self.kernels)

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
    def atoms(self):
        return self.kernels

    @property
    def rows(self):
        return namespace(self.kernels).reshape(self.kernels, (self.kernels.shape[0], -1))

    def with_rows(self, rows):
        return replace(self, kernels=namespace(rows).reshape(rows, self.kernels.shape))

    @cached_property
    def lipschitz(self):
        """An upper bound: the largest squared singular value of the kernels' spectra on a grid without wrap-around."""
        xp = namespace(self.kernels)
        found = spectra(double(self.kernels), grid(self.spatial_shape))
        smaller = xp.matrix_transpose(found) if found.shape[-2] > found.shape[-1] else found
        return float(xp.max(xp.linalg.eigvalsh(smaller @ xp.conj(xp.matrix_transpose(smaller)))))


@dataclass(frozen=True, eq=False)
class MaskedDecoder(LinearDecoder):
    r"""Another linear decoder, restricted to observed entries, :math:`\mathrm{Dec}(z) = m \odot \mathrm{Dec}'(z)`.

    Parameters
    ----------
    decoder : LinearDecoder
        Dec'.
    mask : array of the shape of the data, or of one sample, (1, ...), for all of them
        1 for observed entries, 0 for missing ones; missing data must be set to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary, MaskedDecoder
    >>> decoder = MaskedDecoder(Dictionary(np.ones((1, 3))), np.array([[1.0, 0.0, 1.0]]))
    >>> decoder(np.array([[2.0]])).tolist()
    [[2.0, 0.0, 2.0]]
    """

    decoder: LinearDecoder
    mask: Any

    def __call__(self, z):
        return self.mask * self.decoder(z)

    def adjoint(self, r):
        return self.decoder.adjoint(self.mask * r)

    def forward(self, z):
        y, tape = self.decoder.forward(z)
        return self.mask * y, tape

    def vjp(self, tape, dy):
        return self.decoder.vjp(tape, self.mask * dy)

    @property
    def parameters(self):
        return self.decoder.parameters

    @property
    def code_shape(self):
        return self.decoder.code_shape

    @property
    def squared_norms(self):
        """The squared norms of whole atoms, without the mask."""
        return self.decoder.squared_norms

    @property
    def lipschitz(self):
        return self.decoder.lipschitz

    def take(self, rows):
        if self.mask.shape[0] == 1:
            return self
        return replace(self, mask=namespace(self.mask).take(self.mask, rows, axis=0))


@dataclass(frozen=True, eq=False)
class Network(Decoder):
    r"""A network of dense layers, :math:`\mathrm{Dec}(z) = o + u\, \mathrm{layers}(z)`.

    Parameters
    ----------
    layers : Layers or ModuleLayers
        From codes (n_samples, n_components) to (n_samples, n_features).
    scaling : Scaling or None, default=None
        The offset o and the unit u of the data; None means 0 and 1.
    """

    layers: Any
    scaling: Scaling | None = None

    def __call__(self, z):
        return self.forward(z)[0]

    def forward(self, z):
        h, tape = self.layers.forward(z)
        return h if self.scaling is None else self.scaling.back(h), tape

    def vjp(self, tape, dy):
        return self.layers.vjp(tape, dy if self.scaling is None else self.scaling.slope(dy))

    @property
    def parameters(self):
        return self.layers.parameters

    @property
    def is_affine(self):
        return isinstance(self.layers, Layers) and len(self.layers.weights) == 1

    @property
    def code_shape(self):
        return (self.layers.n_in,)

    def with_parameters(self, parameters):
        """The same network with other parameters, by name."""
        return replace(self, layers=self.layers.with_parameters(parameters))


def _is_sparse(z):
    """Whether adding up single kernels is the fastest way to decode."""
    return is_numpy(z) and z.ndim <= AXES + 2 and np.count_nonzero(z) <= MOST_DENSE * z.size


def _sparse_sum(z, kernels):
    """Add up one kernel per non-zero entry."""
    from skrlv.kernels.convolution import draw

    n_axes, dtype = z.ndim - 2, np.result_type(z, kernels)
    spatial = (p + k - 1 for p, k in zip(z.shape[1:-1], kernels.shape[1:-1], strict=True))
    out = np.zeros((len(z), *spatial, kernels.shape[-1]), dtype)
    stamps = boxed(as_kernel_takes(kernels.astype(dtype, copy=False)), n_axes)
    for code, signal in zip(boxed(as_kernel_takes(z), n_axes), boxed(out, n_axes), strict=True):
        draw(stamps, code, signal)
    return out
