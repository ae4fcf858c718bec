r"""The energy, and the energy as a function of the code alone once the data are given.

.. math:: E(y, z) = C(y, \mathrm{Dec}(z)) + \lambda R(z) + w\, D(z, \mathrm{Enc}(y))
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from skrlv._arrays import aligned, device, namespace, squares_per_sample, zeros
from skrlv.costs import Cost, SquaredError
from skrlv.decoders import Dictionary, LinearDecoder
from skrlv.encoders import Encoder, ZeroEncoder
from skrlv.regularizers import L1, Regularizer

MOST_ATOMS_OF_A_CHEAP_GRAM = 2048
ATOMS_PER_ROW = 128  # measured: about here a Gram matrix takes as long as a search among few atoms for each row

_SQUARED_ERROR = SquaredError()


class Quadratic(NamedTuple):
    """The smooth part as h - q.z + 1/2 z.G z; a solver that is given these three terms needs no data."""

    gram: Any  # (n_components, n_components): G
    correlations: Any  # (n_samples, n_components): q
    half_norms: Any  # (n_samples,): h, float64


@dataclass(frozen=True, eq=False)
class Energy:
    r"""The energy :math:`C(y, \mathrm{Dec}(z)) + \lambda R(z) + w\, D(z, \mathrm{Enc}(y))`.

    Parameters
    ----------
    decoder : Decoder
        Dec.
    regularizer : Regularizer
        R.
    lmbda : float
        Weight of R, in the unit of the data for L1 and unit-norm atoms.
    encoder : Encoder or None, default=None
        Enc; None leaves the encoder term out.
    encoder_weight : float, default=0.0
        Weight of D, the squared error between code and prediction; at 0 the prediction is not used.
    cost : Cost, default=SquaredError()
        C.
    few_rows : bool, default=False
        Whether so few rows will be given that the Gram matrix of all atoms would cost more than it saves, see
        `for_rows`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import fista
    >>> from skrlv.regularizers import L1
    >>> energy, y = Energy(Dictionary(np.eye(2)), L1(), lmbda=0.5), np.array([[3.0, 0.2]])
    >>> z = fista(energy.given(y)).z
    >>> z.round(3).tolist(), energy(y, z).round(3).tolist()
    ([[2.5, 0.0]], [1.395])
    """

    decoder: Any
    regularizer: Regularizer
    lmbda: float
    encoder: Encoder | None = None
    encoder_weight: float = 0.0
    cost: Cost = _SQUARED_ERROR
    few_rows: bool = False

    def __post_init__(self):
        if self.encoder is None and self.encoder_weight:
            raise ValueError(f"encoder_weight={self.encoder_weight!r} needs an encoder.")
        # Python numbers keep the dtype of arrays, NumPy's scalars would promote float32.
        object.__setattr__(self, "lmbda", float(self.lmbda))
        object.__setattr__(self, "encoder_weight", float(self.encoder_weight))

    def __call__(self, y, z):
        """Energy per sample, (n_samples,), float64."""
        self.decoder.check(y)
        return DecoderLandscape(self, y, self._prediction(y))(z)

    def given(self, y):
        """The landscape z -> E(y, z) of a block of rows."""
        self.decoder.check(y)
        landscape = DecoderLandscape(self, y, self._prediction(y))
        return landscape.on_gram() if self.has_gram and self.decoder.gram_pays else landscape

    def for_rows(self, n_samples):
        """The same energy for data of n_samples rows in all; this decides whether the Gram matrix is formed."""
        shape = self.decoder.atoms.shape if isinstance(self.decoder, Dictionary) else (0,)
        few = shape[0] > MOST_ATOMS_OF_A_CHEAP_GRAM and shape[0] >= ATOMS_PER_ROW * n_samples
        return self if few == self.few_rows else replace(self, few_rows=few)

    @property
    def is_quadratic(self):
        """Whether the smooth part is a quadratic in z."""
        return isinstance(self.decoder, LinearDecoder) and type(self.cost) is SquaredError

    @property
    def has_gram(self):
        """Whether the Gram matrix is formed, as for a dense dictionary; not for a convolution, nor for few rows."""
        return self.is_quadratic and isinstance(self.decoder, Dictionary) and not self.few_rows

    @cached_property
    def gram(self):
        """Hessian of a quadratic smooth part: the decoder's Gram matrix + encoder_weight I."""
        gram = self.decoder.gram
        if self.encoder_weight:
            eye = namespace(gram).eye(gram.shape[0], dtype=gram.dtype, device=device(gram))
            gram = gram + self.encoder_weight * eye
        return aligned(gram)

    @cached_property
    def single(self):
        """The same energy with atoms in float32."""
        return replace(self, decoder=self.decoder.single)

    @cached_property
    def lipschitz(self):
        """A bound on the curvature of the smooth part; None if the decoder is not linear, since none is known."""
        if not isinstance(self.decoder, LinearDecoder):
            return None
        return self.decoder.lipschitz * self.cost.curvature + self.encoder_weight

    def take(self, rows):
        """The energy for some of the samples, given by their indices."""
        decoder = self.decoder.take(rows)
        return self if decoder is self.decoder else replace(self, decoder=decoder)

    def slope(self, y, z):
        """A subgradient of the energy in z, shaped like z; for regularizers of the L1 family."""
        return DecoderLandscape(self, y, self._prediction(y)).grad(z) + self.lmbda * self.regularizer.slope(z)

    def _prediction(self, y):
        return self.encoder(y) if self.encoder is not None and self.encoder_weight else None


def lasso_energy(dictionary, lmbda, *, positive=False, l2=0.0, weights=None):
    """The energy of sparse coding with these atoms, in float64."""
    return Energy(
        Dictionary(dictionary.astype("float64", copy=False)),
        L1(positive=bool(positive), weights=weights),
        float(lmbda),
        encoder=ZeroEncoder((len(dictionary),)) if l2 else None,
        encoder_weight=float(l2),
    )


class Landscape(ABC):
    """E(y, .) for a block of rows: the only input of an inference method besides the initial codes."""

    energy: Energy

    def __call__(self, z):
        """Energy per sample, (n_samples,), float64."""
        return self.smooth(z) + _penalty(self.energy.lmbda, self.energy.regularizer(z))

    def prox(self, v, step):
        """argmin over z of 1/2 norm(z - v)^2 + step lmbda R(z)."""
        return self.energy.regularizer.prox(v, step * self.energy.lmbda)

    @property
    def lipschitz(self):
        """A bound on the curvature of the smooth part; None if none is known."""
        return self.energy.lipschitz

    @abstractmethod
    def smooth(self, z):
        """C + encoder_weight D per sample, (n_samples,), float64."""

    @abstractmethod
    def grad(self, z):
        """Gradient of the smooth part, shaped like z."""

    @abstractmethod
    def start(self):
        """The code that a search starts from: the prediction, or zero without one."""

    @abstractmethod
    def quadratic(self):
        """The smooth part as a `Quadratic`."""

    @property
    @abstractmethod
    def half_norms(self):
        """The smooth part at a code of zero, if it is quadratic: (n_samples,), float64."""

    @abstractmethod
    def on_gram(self):
        """The landscape with gradients through the Gram matrix, which is computed only once."""

    @abstractmethod
    def at(self, lmbda):
        """The landscape at another lmbda; shares all that does not depend on lmbda."""

    @abstractmethod
    def take(self, rows):
        """The landscape for some of the rows, given by their indices."""


def _penalty(lmbda, value):
    """lmbda R per sample; infinite for a code that R forbids, also at lmbda = 0, where the product would be NaN."""
    if lmbda:
        return lmbda * value
    xp = namespace(value)
    return xp.where(xp.isinf(value), value, xp.zeros_like(value))


@dataclass(frozen=True, eq=False)
class DecoderLandscape(Landscape):
    """A landscape evaluated through the decoder: forward for energies, backward for gradients."""

    energy: Energy
    y: Any
    prediction: Any

    def smooth(self, z):
        energy = self.energy
        fit = energy.cost(self.y, energy.decoder(z))
        if self.prediction is None:
            return fit
        return fit + energy.encoder_weight * _SQUARED_ERROR(self.prediction, z)

    def grad(self, z):
        slope = self._slope_of_cost(z)
        return slope if self.prediction is None else slope + self.energy.encoder_weight * (z - self.prediction)

    def _slope_of_cost(self, z):
        decoder, cost = self.energy.decoder, self.energy.cost
        if isinstance(decoder, LinearDecoder):  # the gradient in z alone takes half the time of vjp
            return decoder.adjoint(cost.grad(self.y, decoder(z)))
        decoded, tape = decoder.forward(z)
        return decoder.vjp(tape, cost.grad(self.y, decoded))[0]

    def start(self):
        if self.prediction is not None:
            return self.prediction
        return zeros((self.y.shape[0], *self.energy.decoder.code_shape), like=self.y)

    def quadratic(self):
        energy = self.energy
        if not energy.has_gram:
            raise TypeError("Only a Dictionary under squared error has a Gram matrix.")
        correlations = energy.decoder.adjoint(self.y)
        if self.prediction is not None:
            correlations = correlations + energy.encoder_weight * self.prediction
        return Quadratic(energy.gram, correlations, self.half_norms)

    @property
    def half_norms(self):
        own = 0.5 * squares_per_sample(self.y)
        if self.prediction is None:
            return own
        return own + 0.5 * self.energy.encoder_weight * squares_per_sample(self.prediction)

    def on_gram(self):
        return GramLandscape(self.energy, self.quadratic(), self)

    def at(self, lmbda):
        return replace(self, energy=replace(self.energy, lmbda=lmbda))

    def take(self, rows):
        xp = namespace(self.y)
        prediction = None if self.prediction is None else xp.take(self.prediction, rows, axis=0)
        return DecoderLandscape(self.energy.take(rows), xp.take(self.y, rows, axis=0), prediction)


@dataclass(frozen=True, eq=False)
class GramLandscape(Landscape):
    """A landscape with gradients through the Gram matrix, if that is cheaper.

    Energies are still computed from the decoded code, since h - q.z + 1/2 z.G z is a small difference of large terms.
    """

    energy: Energy
    form: Quadratic
    decoded: DecoderLandscape

    def smooth(self, z):
        return self.decoded.smooth(z)

    def grad(self, z):
        return z @ self.form.gram - self.form.correlations

    def start(self):
        return self.decoded.start()

    def quadratic(self):
        return self.form

    @property
    def half_norms(self):
        return self.form.half_norms

    def on_gram(self):
        return self

    def at(self, lmbda):
        decoded = self.decoded.at(lmbda)
        return GramLandscape(decoded.energy, self.form, decoded)

    def take(self, rows):
        gram, *by_row = self.form
        correlations, half_norms = (namespace(part).take(part, rows, axis=0) for part in by_row)
        return GramLandscape(self.energy, Quadratic(gram, correlations, half_norms), self.decoded.take(rows))
