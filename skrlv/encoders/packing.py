"""Encoders as plain arrays and numbers, and back."""

import importlib
from dataclasses import fields

import numpy as np


def packed(encoder):
    kind = type(encoder)
    plain = {field.name: getattr(encoder, field.name) for field in fields(encoder)}
    return {"kind": f"{kind.__module__}:{kind.__qualname__}", **plain}


def unpacked(packed, place):
    module, name = packed["kind"].split(":")
    kind = getattr(importlib.import_module(module), name)
    parts = {name: place(x) if isinstance(x, np.ndarray) else x for name, x in packed.items() if name != "kind"}
    return kind(**parts)
