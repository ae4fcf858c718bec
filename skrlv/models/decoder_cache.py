"""The Gram matrix of a fitted model's atoms, kept between calls: beside the model, so that no pickle holds it."""

from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from skrlv._arrays import is_numpy
from skrlv.decoders import Dictionary
from skrlv.energy import MOST_ATOMS_OF_A_CHEAP_GRAM

_cache: WeakKeyDictionary = WeakKeyDictionary()
_lock = Lock()


def cached_decoder(model, decoder):
    """The decoder of the model's last call if it has the same atoms, with all that it has computed; else this one."""
    if not (isinstance(decoder, Dictionary) and is_numpy(decoder.atoms)):
        return decoder
    if len(decoder.atoms) > MOST_ATOMS_OF_A_CHEAP_GRAM:
        return decoder
    with _lock:
        kept = _cache.get(model)
        if kept is None or kept.atoms.dtype != decoder.atoms.dtype or not np.array_equal(kept.atoms, decoder.atoms):
            kept = _cache[model] = Dictionary(decoder.atoms.copy())
    return kept
