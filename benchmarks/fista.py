"""The numba kernel of FISTA compared with the array code on NumPy: same algorithm, same stopping rule, one process.

    python benchmarks/fista.py [--repeats 5]

For each dictionary (photo patches, k = 256 and 1024) and density of the codes, both implementations encode the same
rows alternately. The output shows the median times, their ratio and the largest difference of the codes. Both run on
one thread (including BLAS), and once more on all threads: the array code with a threaded BLAS, the kernel with blocks
of rows on threads, as FISTACoder runs it. The first call of the kernel, which compiles it or loads it from the cache,
is timed separately.
"""

import argparse
import os
import platform
import statistics
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    if name in os.environ:  # emulating another processor would slow NumPy down, to the advantage of the kernels
        del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])

import numba
import numpy as np
import scipy
import threadpoolctl
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from skrlv import lmbda_max
from skrlv._threads import each_block, n_threads
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import joined
from skrlv.inference import proximal_gradient as roads
from skrlv.learning import unit_rows
from skrlv.regularizers import L1

N_ROWS, SIDE, TOL, MAX_ITER = 512, 16, 1e-4, 2000
DENSITIES = (0.02, 0.05, 0.10)


def patches(n_rows, rng):
    """Centred grey photo patches."""
    found = [
        extract_patches_2d(image.mean(axis=2) / 255.0, (SIDE, SIDE), max_patches=n_rows, random_state=rng)
        for image in load_sample_images().images
    ]
    rows = np.concatenate(found).reshape(-1, SIDE * SIDE)
    rows = rows[rng.permutation(len(rows))]
    rows -= rows.mean(axis=1, keepdims=True)
    return rows[rows.std(axis=1) > 0.02][:n_rows]


def dictionary(k, rows, rng):
    """Unit atoms, data plus noise: as coherent as learned atoms, but of full rank."""
    atoms = unit_rows(rows[rng.permutation(len(rows))[: min(k, len(rows))]])[0]
    return unit_rows(atoms + 0.7 * unit_rows(rng.standard_normal(atoms.shape))[0])[0]


def at_density(atoms, y, density):
    """The energy whose codes have about this density, by bisection on lmbda."""
    low, high = 1e-4, float(np.median(lmbda_max(y, atoms)))
    for _ in range(12):
        lmbda = np.sqrt(low * high)
        energy = Energy(Dictionary(atoms), L1(), float(lmbda))
        found = (roads.fista_restart(energy.given(y[:128]), max_iter=500, tol=1e-3).z != 0).mean()
        low, high = (lmbda, high) if found > density else (low, lmbda)
    return energy


def by_kernel(energy, y, n_jobs):
    blocks = each_block(
        lambda rows: roads._fista_kernel(energy.given(y[rows]), None, max_iter=MAX_ITER, tol=TOL), len(y), n_jobs
    )
    return joined(blocks)


def by_arrays(energy, y, n_jobs):
    with threadpoolctl.threadpool_limits(n_jobs, user_api="blas"):
        look = roads._restarted
        return roads._iterate(energy.given(y), None, look, max_iter=MAX_ITER, tol=TOL, record=False)


def seconds(road, *arguments):
    start = time.perf_counter()
    solution = road(*arguments)
    return time.perf_counter() - start, solution


def compare(energy, y, n_jobs, repeats):
    times, codes = {by_kernel: [], by_arrays: []}, {}
    for _ in range(repeats):
        for road, spent in times.items():  # alternately, so that drift of the machine affects both
            took, codes[road] = seconds(road, energy, y, n_jobs)
            spent.append(took)
    kernel, arrays = (statistics.median(spent) for spent in times.values())
    ratios = sorted(b / a for a, b in zip(*times.values(), strict=True))
    apart = np.abs(codes[by_kernel].z - codes[by_arrays].z).max()
    return kernel, arrays, statistics.median(ratios), codes[by_kernel], apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rng = np.random.RandomState(0)
    print(f"{platform.processor() or platform.machine()}, {n_threads(None)} cores, Python {platform.python_version()}")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, numba {numba.__version__}, {N_ROWS} rows, tol {TOL}\n")
    rows = patches(8 * N_ROWS, rng)
    y = rows[:N_ROWS]
    print("dtype    k     density  steps  threads  kernel ms  arrays ms  arrays/kernel  max |difference|")
    for dtype in (np.float64, np.float32):
        for k in (256, 1024):
            atoms, data = dictionary(k, rows[N_ROWS:], rng).astype(dtype), y.astype(dtype)
            first, _ = seconds(by_kernel, Energy(Dictionary(atoms), L1(), 1.0), data[:8], 1)
            for density in DENSITIES:
                energy = at_density(atoms, data, density)
                for n_jobs in (1, n_threads(None)):
                    kernel, arrays, ratio, solution, apart = compare(energy, data, n_jobs, repeats)
                    print(
                        f"{np.dtype(dtype).name:8} {k:<5} {100 * (solution.z != 0).mean():5.1f} %  "
                        f"{solution.n_iter.mean():5.0f}  {n_jobs:7}  {1e3 * kernel:9.1f}  {1e3 * arrays:9.1f}  "
                        f"{ratio:13.1f}  {apart:.1e}",
                        flush=True,
                    )
            print(f"         first call of the kernel: {first:.2f} s")


if __name__ == "__main__":
    main()
