"""Kernels: numba alone. Arrays and scalars in, arrays out; each runs serially over a block of rows.

Importing a module of this folder imports numba, so other folders import it where a kernel is first used.
"""
