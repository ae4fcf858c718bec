"""Regularized latent-variable models as scikit-learn estimators."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skrlv._warmup import warmup
    from skrlv.convolutional import ConvSparseAutoencoder, ConvSparseCoder
    from skrlv.lista import LISTAEncoder
    from skrlv.metrics import duality_gap, lmbda_grid, lmbda_max
    from skrlv.predictive import PredictiveSparseDecomposition
    from skrlv.sparse_coding import FISTACoder, SparseCoder
    from skrlv.sparse_coding_cv import SparseCoderCV
    from skrlv.sparse_encoding import lmbda_path, sparse_encode
    from skrlv.variational import VariationalAutoencoder

__version__ = "0.1.0"

_HOMES = {
    "ConvSparseAutoencoder": "convolutional",
    "ConvSparseCoder": "convolutional",
    "FISTACoder": "sparse_coding",
    "LISTAEncoder": "lista",
    "PredictiveSparseDecomposition": "predictive",
    "SparseCoder": "sparse_coding",
    "SparseCoderCV": "sparse_coding_cv",
    "VariationalAutoencoder": "variational",
    "duality_gap": "metrics",
    "lmbda_grid": "metrics",
    "lmbda_max": "metrics",
    "lmbda_path": "sparse_encoding",
    "sparse_encode": "sparse_encoding",
    "warmup": "_warmup",
}

__all__ = [
    "ConvSparseAutoencoder",
    "ConvSparseCoder",
    "FISTACoder",
    "LISTAEncoder",
    "PredictiveSparseDecomposition",
    "SparseCoder",
    "SparseCoderCV",
    "VariationalAutoencoder",
    "duality_gap",
    "lmbda_grid",
    "lmbda_max",
    "lmbda_path",
    "sparse_encode",
    "warmup",
]


def __getattr__(name):
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'skrlv' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"skrlv.{_HOMES[name]}"), name)
    return value


def __dir__():
    return sorted([*globals(), *__all__])
