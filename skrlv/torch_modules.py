"""Annex: a user's own torch module in the place of an encoder."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from skrlv.encoders import Encoder


@dataclass(frozen=True, eq=False)
class ModuleEncoder(Encoder):
    r"""A torch module as the encoder, its gradients by autograd.

    .. math:: \mathrm{Enc}(y) = \mathrm{module}(y), \quad\text{or}\quad \max(\mathrm{module}(y), 0)

    The module runs as in evaluation: dropout passes everything, batch normalization uses its running means. Parameters
    that need no gradient stay as they are.

    Parameters
    ----------
    module : torch.nn.Module
        Rows (n_samples, n_features) -> codes (n_samples, n_components). It is not changed.
    weights : tensor of shape (n_weights,)
        Its parameters that are learned, one after the other, in the order of ``module.parameters()``.
    positive : bool, default=False
        Whether codes are non-negative: what the module gives below zero is cut (`to_module` does not cut).
    """

    module: Any
    weights: Any
    positive: bool = False

    @classmethod
    def of(cls, module, decoder, *, positive=False):
        """The module as it is, on the device and in the dtype of the decoder's atoms.

        Raises
        ------
        TypeError
            If it is no torch module.
        ValueError
            If no parameter of it can be learned, or it does not take rows of the data to codes of the decoder.
        """
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"encoder={module!r} must be a torch.nn.Module, one that is made, not its class.")
        if not _learned(module):
            raise ValueError("encoder= is a module without parameters that need a gradient: there is nothing to learn.")
        skeleton = deepcopy(module).to(device="cpu", dtype=decoder.atoms.dtype).eval()
        weights = torch.nn.utils.parameters_to_vector(_learned(skeleton).values()).detach()
        encoder = cls(skeleton, weights.to(decoder.atoms.device), positive)
        for n in (1, 2):
            encoder._check(torch.zeros_like(decoder.atoms[:1]).repeat(n, 1), (n, decoder.atoms.shape[0]))
        return encoder

    def _check(self, y, shape):
        """Refuse a module that does not take y to finite codes of that shape, which depend on its parameters."""
        try:
            z = torch.func.functional_call(self.module, self._parts(self.weights.detach().requires_grad_()), (y,))
        except Exception as error:  # a module may raise anything
            raise ValueError(f"encoder= fails on {len(y)} rows of {y.shape[1]} features: {error}") from error
        if not isinstance(z, torch.Tensor) or z.dtype != y.dtype:
            got = f"{z.dtype}" if isinstance(z, torch.Tensor) else type(z).__name__
            raise ValueError(f"encoder= gives {got} for rows of {y.dtype}, but must give one tensor of that dtype.")
        if tuple(z.shape) != shape:
            raise ValueError(
                f"encoder= gives codes of shape {tuple(z.shape)} for {len(y)} rows, but must give {shape}."
            )
        if not z.requires_grad:
            raise ValueError(
                "encoder= gives codes without a gradient: it detaches them, or gradients are switched off."
            )
        if not torch.isfinite(z).all():
            raise ValueError("encoder= gives NaN or infinite codes for rows of zeros.")

    def forward(self, y):
        weights = self.weights.detach().requires_grad_()
        with torch.enable_grad():
            z = torch.func.functional_call(self.module, self._parts(weights), (y,))
            z = z.clamp(min=0.0) if self.positive else z
        return z.detach(), (weights, z)

    def vjp(self, tape, dz):
        weights, z = tape
        return {"weights": torch.autograd.grad(z, weights, dz, retain_graph=True)[0]}

    @property
    def parameters(self):
        return {"weights": self.weights}

    def to_module(self):
        """A copy of the module with the weights in it."""
        module = deepcopy(self.module).to(self.weights.device)
        torch.nn.utils.vector_to_parameters(self.weights.clone(), _learned(module).values())
        return module

    def _parts(self, weights):
        """Everything the module holds, by name: what is learned as views of the vector, the rest as it is."""
        learned = _learned(self.module)
        views = weights.split([value.numel() for value in learned.values()])
        held = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        parts = {name: value.detach().to(weights.device) for name, value in held.items()}
        return parts | {name: view.view_as(learned[name]) for name, view in zip(learned, views, strict=True)}


def _learned(module):
    """Its parameters that need a gradient, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}
