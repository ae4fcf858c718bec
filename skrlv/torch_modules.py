"""A user's own torch modules as encoders, and as layers of networks. They need torch, from the extra [torch]."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from skrlv.encoders import Encoder


class _LearnedModule:
    """A module in evaluation mode, whose learned parameters are held in one vector."""

    module: Any
    weights: Any

    @property
    def parameters(self):
        return {"weights": self.weights}

    def to_module(self):
        """A copy of the module with the learned weights."""
        module = deepcopy(self.module).to(self.weights.device)
        torch.nn.utils.vector_to_parameters(self.weights.clone(), _learned(module).values())
        return module

    def _run(self, weights, x):
        return torch.func.functional_call(self.module, self._parts(weights), (x,))

    def _parts(self, weights):
        """All parameters and buffers of the module, by name; the learned ones are views of the vector."""
        learned = _learned(self.module)
        views = weights.split([value.numel() for value in learned.values()])
        held = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        parts = {name: value.detach().to(weights.device) for name, value in held.items()}
        return parts | {name: view.view_as(learned[name]) for name, view in zip(learned, views, strict=True)}


@dataclass(frozen=True, eq=False)
class ModuleLayers(_LearnedModule):
    """A module in place of dense layers, with gradients by autograd.

    The module runs in evaluation mode, and parameters that need no gradient stay fixed.

    Parameters
    ----------
    module : torch.nn.Module
        Maps rows (n_samples, n_in) to (n_samples, n_out), or to a tuple of groups of these columns. It is not changed.
    weights : tensor of shape (n_weights,)
        The learned parameters, concatenated in the order of ``module.parameters()``.
    n_in : int
        The number of inputs.
    """

    module: Any
    weights: Any
    n_in: int

    @classmethod
    def of(cls, module, n_in, n_out, like, name):
        """The module with its own weights, on the device and in the dtype of ``like``; errors call it ``name``.

        Raises
        ------
        TypeError
            If it is not a torch module.
        ValueError
            If it has no parameter to learn, or does not map rows of n_in numbers to rows of n_out finite numbers.
        """
        skeleton, weights = _skeleton(module, like, name)
        layers = cls(skeleton, weights, n_in)
        for n in (1, 2):
            _check(layers, like.new_zeros((n, n_in)), (n, n_out), name)
        return layers

    def forward(self, x):
        weights, x = self.weights.detach().requires_grad_(), x.detach().requires_grad_()
        with torch.enable_grad():
            out = self._run(weights, x)
        return out.detach(), (weights, x, out)

    def without_weights(self):
        """A function that takes weights, and returns the same layers with these weights."""
        return partial(ModuleLayers, self.module, n_in=self.n_in)

    def vjp(self, tape, slope):
        """Backward pass: gradient in the output -> (gradient in x, {parameter name: gradient})."""
        weights, x, out = tape
        at_weights, at_x = torch.autograd.grad(out, (weights, x), slope, retain_graph=True)
        return at_x, {"weights": at_weights}

    def gradients(self, tape, slope):
        """The gradients of `vjp` with respect to the parameters alone."""
        weights, _, out = tape
        return {"weights": torch.autograd.grad(out, weights, slope, retain_graph=True)[0]}

    def with_parameters(self, parameters):
        """The same module with other weights."""
        return replace(self, **parameters)

    def _run(self, weights, x):
        out = super()._run(weights, x)
        return torch.cat(tuple(out), dim=1) if isinstance(out, tuple | list) else out


@dataclass(frozen=True, eq=False)
class ModuleEncoder(_LearnedModule, Encoder):
    r"""A torch module as the encoder, with gradients by autograd.

    .. math:: \mathrm{Enc}(y) = \mathrm{module}(y), \quad\text{or}\quad \max(\mathrm{module}(y), 0)

    The module runs in evaluation mode: dropout is off, batch normalization uses its running statistics. Parameters
    that need no gradient stay fixed.

    Parameters
    ----------
    module : torch.nn.Module
        Maps rows (n_samples, n_features) to codes (n_samples, n_components). It is not changed.
    weights : tensor of shape (n_weights,)
        The learned parameters, concatenated in the order of ``module.parameters()``.
    positive : bool, default=False
        Whether codes are non-negative: negative outputs become zero here, but not in the module of `to_module`.
    """

    module: Any
    weights: Any
    positive: bool = False

    @classmethod
    def of(cls, module, decoder, *, positive=False):
        """The module with its own weights, on the device and in the dtype of the decoder's atoms.

        Raises
        ------
        TypeError
            If it is not a torch module.
        ValueError
            If it has no parameter to learn, or does not map rows of the data to codes of the decoder.
        """
        skeleton, weights = _skeleton(module, decoder.atoms, "encoder")
        encoder = cls(skeleton, weights, positive)
        for n in (1, 2):
            _check(encoder, torch.zeros_like(decoder.atoms[:1]).repeat(n, 1), (n, decoder.atoms.shape[0]), "encoder")
        return encoder

    def forward(self, y):
        weights = self.weights.detach().requires_grad_()
        with torch.enable_grad():
            z = self._run(weights, y)
            z = z.clamp(min=0.0) if self.positive else z
        return z.detach(), (weights, z)

    def vjp(self, tape, dz):
        weights, z = tape
        return {"weights": torch.autograd.grad(z, weights, dz, retain_graph=True)[0]}


def _skeleton(module, like, name):
    """Return a copy of the module to run, and its learned parameters as a vector, both in the dtype of ``like``."""
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{name}={module!r} must be an instance of torch.nn.Module, not its class.")
    if not _learned(module):
        raise ValueError(f"{name}= is a module without parameters that need a gradient: there is nothing to learn.")
    skeleton = deepcopy(module).to(device="cpu", dtype=like.dtype).eval()
    weights = torch.nn.utils.parameters_to_vector(_learned(skeleton).values()).detach()
    return skeleton, weights.to(like.device)


def _check(held, x, shape, name):
    """Refuse a module whose output for x is not finite, has another shape, or does not depend on its parameters."""
    what = "codes" if name == "encoder" else "data"
    try:
        out = held._run(held.weights.detach().requires_grad_(), x)
    except Exception as error:  # a module may raise anything
        raise ValueError(f"{name}= fails on {len(x)} rows of {x.shape[1]} features: {error}") from error
    if not isinstance(out, torch.Tensor) or out.dtype != x.dtype:
        got = f"{out.dtype}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise ValueError(f"{name}= gives {got} for rows of {x.dtype}, but must give one tensor of that dtype.")
    if tuple(out.shape) != shape:
        raise ValueError(f"{name}= gives {what} of shape {tuple(out.shape)} for {len(x)} rows, but must give {shape}.")
    if not out.requires_grad:
        raise ValueError(f"{name}= gives {what} without a gradient: it detaches them, or gradients are switched off.")
    if not torch.isfinite(out).all():
        raise ValueError(f"{name}= gives NaN or infinite {what} for rows of zeros.")


def _learned(module):
    """The parameters of the module that need a gradient, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}
