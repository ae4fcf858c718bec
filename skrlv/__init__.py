"""Regularized latent-variable models as scikit-learn estimators."""

import lazy_loader

__version__ = "0.2.0"

# The public names stand in __init__.pyi; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
