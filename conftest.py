"""Annexes whose package is not installed are not asked for their examples."""

from importlib.util import find_spec

ANNEXES = {"torch": "skrlv/torch_modules.py"}

collect_ignore = [file for package, file in ANNEXES.items() if find_spec(package) is None]
