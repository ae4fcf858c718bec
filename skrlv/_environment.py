"""A description of the installation for bug reports: versions, threads, devices, and the cache of kernels."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import threadpoolctl

PACKAGES = (
    "skrlv", "numpy", "scipy", "scikit-learn", "numba", "array-api-compat", "torch", "dask", "onnx", "matplotlib",
)  # fmt: skip


def describe():
    """Yield lines that describe this installation."""
    yield f"Python {sys.version.split()[0]} on {platform.platform()}"
    for name in PACKAGES:
        yield f"{name:18s} {_version(name)}"
    yield f"{'cores':18s} {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
    yield f"{'BLAS':18s} {_blas()}"
    yield f"{'devices':18s} {', '.join(_devices())}"
    yield f"{'kernel cache':18s} {_cache()}"


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _blas():
    found = {
        f"{pool['internal_api']} {pool['version']} with {pool['num_threads']} threads"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    }
    return "; ".join(sorted(found)) or "unknown"


def _devices():
    """Values of ``device=``."""
    if _version("torch") == "not installed":
        return ["cpu"]
    from skrlv._arrays import torch_devices

    return ["cpu", *torch_devices()]


def _cache():
    """The folder of compiled kernels, and their number."""
    from skrlv.kernels import _jit, homotopy

    folder, wanted = _jit.cache_folder(homotopy.homotopy), os.environ.get("NUMBA_CACHE_DIR")
    if folder is None:
        return "none: no folder can be written, so every process compiles; set NUMBA_CACHE_DIR"
    n_files = len(list(folder.rglob("*.nbc"))) if folder.exists() else 0
    state = f"{n_files} compiled kernels" if n_files else "empty: the first fit compiles for some seconds, see warmup()"
    unused = wanted and not folder.resolve().is_relative_to(Path(wanted).resolve())
    return f"{folder} ({state})" + (f"; NUMBA_CACHE_DIR={wanted} cannot be written" if unused else "")
