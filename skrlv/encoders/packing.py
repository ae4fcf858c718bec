"""Conversion of encoders to plain values, which a fitted model stores, and back."""

import importlib
from dataclasses import fields, is_dataclass
from typing import Any

import array_api_compat
import numpy as np

from skrlv._arrays import to_numpy
from skrlv.encoders.encoder import Encoder

_KEYS = {"kind", "fields"}


def packed(encoder):
    """An encoder as plain values, which can be stored without its class and its array library.

    Every encoder whose class is a dataclass can be packed, in whichever module the class is defined. Fields may hold
    arrays, numbers, strings, None, other dataclasses, and tuples, lists and dicts of these. Any other value, such as a
    torch module, is kept as it is.

    Parameters
    ----------
    encoder : Encoder
        A dataclass whose class can be imported.

    Returns
    -------
    dict
        "kind", the import path "module:qualname" of the class, and "fields", a dict of its fields. Arrays become NumPy
        arrays, copied; dataclasses become dicts like this one.

    Raises
    ------
    TypeError
        If it is not an encoder, or its class is not a dataclass or cannot be imported.

    Examples
    --------
    >>> from skrlv.encoders import ZeroEncoder, packed
    >>> packed(ZeroEncoder((3,)))
    {'kind': 'skrlv.encoders.encoder:ZeroEncoder', 'fields': {'code_shape': (3,)}}
    """
    if not isinstance(encoder, Encoder):
        raise TypeError(f"encoder={encoder!r} must be an instance of skrlv.encoders.Encoder.")
    return _packed(encoder)


def unpacked(packed, place=lambda array: array):
    """The encoder that was `packed`.

    Parameters
    ----------
    packed : dict
        From `packed`.
    place : callable, default=identity
        Moves a NumPy array to the library and device on which the encoder runs.

    Returns
    -------
    Encoder
        Equal to the one that was packed, with arrays from ``place``.

    Raises
    ------
    TypeError
        If "kind" does not name an encoder. Only dataclasses are created, whatever else a file may name.

    Examples
    --------
    >>> from skrlv.encoders import ZeroEncoder, packed, unpacked
    >>> unpacked(packed(ZeroEncoder((3,))))
    ZeroEncoder(code_shape=(3,))
    """
    if not issubclass(_imported(packed["kind"]), Encoder):
        raise TypeError(f"{packed['kind']!r} is no encoder.")
    return _unpacked(packed, place)


def _packed(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if array_api_compat.is_array_api_obj(value):
        return np.array(to_numpy(value))
    if type(value) in (tuple, list):
        return type(value)(map(_packed, value))
    if type(value) is dict:
        return {key: _packed(part) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _packed(getattr(value, field.name)) for field in fields(value) if field.init}
        return {"kind": _path(type(value)), "fields": parts}
    return value


def _unpacked(value: Any, place) -> Any:
    if isinstance(value, np.ndarray):
        return place(value)
    if type(value) in (tuple, list):
        return type(value)(_unpacked(part, place) for part in value)
    if type(value) is not dict:
        return value
    if value.keys() != _KEYS:
        return {key: _unpacked(part, place) for key, part in value.items()}
    return _imported(value["kind"])(**{name: _unpacked(part, place) for name, part in value["fields"].items()})


def _path(kind):
    """The import path of a dataclass that can be rebuilt from its fields."""
    path, definer = f"{kind.__module__}:{kind.__qualname__}", next(c for c in kind.__mro__ if "__init__" in vars(c))
    if "__dataclass_params__" not in vars(definer):
        raise TypeError(f"{kind.__qualname__} has an __init__ of its own, but must be a dataclass to be stored.")
    try:
        found = _imported(path)
    except (ImportError, AttributeError):
        found = None
    if found is not kind:
        raise TypeError(
            f"{kind.__qualname__} cannot be imported from {kind.__module__}, as it must be to load a fitted model: "
            "define it at the top level of a module."
        )
    return path


def _imported(path):
    """The dataclass of that path."""
    module, qualname = path.split(":")
    kind: Any = importlib.import_module(module)
    for name in qualname.split("."):
        kind = getattr(kind, name)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise TypeError(f"{path!r} is no dataclass.")
    return kind
