"""Exact codes: skrlv compared with SPAMS, scikit-learn, dictlearn and FISTA, on the same arrays in one process.

    python benchmarks/encode.py [--rows 4000] [--repeats 5] [--threads N] [--digits FILE.npz]

The data are digits of 784 pixels (k = 256) and whitened photo patches of 12 x 12 (k = 512 and 1024), at several
densities of the codes. All methods minimise 1/2 |x - zD|^2 + lmbda |z|_1 in float64. The result is checked by the
largest relative gap of the codes (`skrlv.duality_gap`), which must be at most 1e-6, or 1e-4 for skrlv on float32. A
method with a tolerance gets the loosest tolerance that suffices, which is found before the clock starts; a method that
misses the gap is marked. Methods are run alternately. Times are medians in microseconds per row; ratios are medians of
the ratio to skrlv in each turn. Slow methods encode fewer rows; those among them that work on a batch iterate until the
last row has converged. The matrix product `X @ D.T` alone is a lower bound.

Threads are set by re-execution for BLAS, OpenMP and numba, by numThreads for SPAMS, and by n_jobs with threads for
scikit-learn (its processes cost more than they save on so few rows).
Without --digits the digits are those of scikit-learn, enlarged, shifted and rotated; FILE.npz contains X with 784
columns.
"""

import argparse
import os
import sys


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--slow-rows", type=int, default=300, help="rows for slow methods; times are per row")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--digits", metavar="FILE.npz")
    return parser.parse_args()


def restart_with(threads):
    """Set the number of threads, and remove settings that emulate other processors, before NumPy is imported."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    wanted = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    wanted |= dict.fromkeys(names, str(threads))
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


if __name__ == "__main__":
    restart_with(options().threads)

import importlib.metadata
import platform
import statistics
import time
import warnings
from typing import NamedTuple

import joblib
import numpy as np
from scipy import ndimage, sparse
from sklearn import decomposition
from sklearn.datasets import load_digits, load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.linear_model import Lasso

import skrlv

N_TRAIN, SIDE = 4000, 12
GRID = (
    ("digits", 256, (0.04, 0.09, 0.20)),
    ("patches", 512, (0.016, 0.04, 0.08)),
    ("patches", 1024, (0.016, 0.04, 0.08)),
)


def digits(n_rows, rng, file=None):
    if file is not None:
        rows = np.asarray(np.load(file)["X"], dtype=np.float64)
        rows = rows[rng.permutation(len(rows))[:n_rows]].reshape(-1, 784)
        return rows / 255.0 if rows.max() > 1.0 else rows
    images = load_digits().images / 16.0
    rows = np.empty((n_rows, 28, 28))
    for i, pick in enumerate(rng.randint(len(images), size=n_rows)):
        large = ndimage.zoom(images[pick], 28 / 8, order=1)
        large = ndimage.rotate(large, rng.uniform(-12, 12), reshape=False, order=1)
        rows[i] = ndimage.shift(large, rng.uniform(-2, 2, size=2), order=1)
    return np.clip(2.5 * rows - 0.75, 0.0, 1.0).reshape(n_rows, -1)


def patches(n_rows, rng):
    """Grey photo patches, centred, whitened and of mean norm 1."""
    found = [
        extract_patches_2d(image.mean(axis=2) / 255.0, (SIDE, SIDE), max_patches=n_rows, random_state=rng)
        for image in load_sample_images().images
    ]
    rows = np.concatenate(found).reshape(-1, SIDE * SIDE)
    rows -= rows.mean(axis=1, keepdims=True)
    rows = rows[rng.permutation(len(rows))]
    rows = rows[rows.std(axis=1) > 0.02][:n_rows]
    spread, axes = np.linalg.eigh(np.cov(rows.T))
    rows = rows @ (axes / np.sqrt(spread + 1e-2 * spread.mean())) @ axes.T
    return rows / np.linalg.norm(rows, axis=1).mean()


def at_density(X, D, density):
    """The lmbda at which codes of 300 rows have about this density."""
    low, high = 1e-4, float(np.median(skrlv.lmbda_max(X, D)))
    for _ in range(12):
        lmbda = float(np.sqrt(low * high))
        found = (skrlv.sparse_encode(X[:300], D, lmbda, code_tol=1e-3) != 0).mean()
        low, high = (lmbda, high) if found > density else (low, lmbda)
    return lmbda


# Each method takes (X, D, lmbda, threads, tol) and returns the call to time; its own preparation is not timed.


def in_threads(threads, call):
    with joblib.parallel_config("threading", n_jobs=threads):
        return call()


def product(X, D, lmbda, threads, tol):
    return lambda: X @ D.T


def skrlv_exact(X, D, lmbda, threads, tol):
    return lambda: skrlv.sparse_encode(X, D, lmbda, n_jobs=threads)


def skrlv_one_thread(X, D, lmbda, threads, tol):
    return skrlv_exact(X, D, lmbda, 1, tol)


def skrlv_fista(X, D, lmbda, threads, tol):
    coder = skrlv.FISTACoder(dictionary=D, lmbda=lmbda, code_tol=tol, code_max_iter=100_000).fit(X[:8])

    return lambda: in_threads(threads, lambda: coder.transform(X))


def spams_lasso(X, D, lmbda, threads, tol):
    import spams

    columns, atoms = np.asfortranarray(X.T), np.asfortranarray(D.T)
    return lambda: spams.lasso(columns, atoms, lambda1=lmbda, mode=2, numThreads=threads)


def lasso_cd(X, D, lmbda, threads, tol):
    how = {"algorithm": "lasso_cd", "alpha": lmbda, "n_jobs": threads, "max_iter": 100_000}
    return lambda: in_threads(threads, lambda: decomposition.sparse_encode(X, D, **how))


def tuned_lasso(X, D, lmbda, threads, tol):
    """The solver inside lasso_cd, without its fixed tol of 1e-8, which is too tight or too loose for a gap of 1e-6."""

    def some(rows, gram):
        lasso = Lasso(lmbda / D.shape[1], fit_intercept=False, precompute=gram, max_iter=100_000, tol=tol)
        return lasso.fit(D.T, rows.T).coef_  # its square is divided by the number of features

    def encode():
        gram, parts = D @ D.T, np.array_split(X, threads)
        return np.vstack(joblib.Parallel()(joblib.delayed(some)(rows, gram) for rows in parts))

    return lambda: in_threads(threads, encode)


def lasso_lars(X, D, lmbda, threads, tol):
    how = {"algorithm": "lasso_lars", "alpha": lmbda, "n_jobs": threads, "max_iter": 10_000}
    return lambda: in_threads(threads, lambda: decomposition.sparse_encode(X, D, **how))


def dictlearn_fista(X, D, lmbda, threads, tol):
    """dictlearn has no 1/2 in its objective, an absolute tolerance and no restart: 2000 steps may be too few."""
    import dictlearn

    how = {"algorithm": "fista", "alpha": 2.0 * lmbda, "tol": tol * lmbda, "max_iter": 2000}
    return lambda: dictlearn.sparse_encode(X, D, **how)


def numpy_fista(X, D, lmbda, threads, tol):
    """FISTA on all rows until the last has converged; a row restarts when its momentum points uphill."""

    def encode():
        gram, targets = D @ D.T, X @ D.T
        step = 1.0 / np.linalg.norm(D, 2) ** 2
        z, ahead, t = np.zeros_like(targets), np.zeros_like(targets), np.ones((len(X), 1))
        for _ in range(10_000):
            moved = ahead + step * (targets - ahead @ gram)
            new = moved - np.clip(moved, -step * lmbda, step * lmbda)
            if np.abs(new - ahead).max() <= tol * step * lmbda:
                return new
            t[np.sum((ahead - new) * (new - z), axis=1) > 0.0] = 1.0
            faster = (1.0 + np.sqrt(1.0 + 4.0 * t**2)) / 2.0
            z, ahead, t = new, new + (t - 1.0) / faster * (new - z), faster
        return z

    return encode


class Method(NamedTuple):
    name: str
    make: object
    package: str
    slow: bool = False
    tol: float | None = None  # start of the search for the loosest tolerance
    dtype: type = np.float64
    target: float = 1e-6


METHODS = (
    Method("skrlv", skrlv_exact, "skrlv"),
    Method("SPAMS", spams_lasso, "spams-bin"),
    Method("lasso_cd", lasso_cd, "scikit-learn", slow=True),
    Method("Lasso, tol tuned", tuned_lasso, "scikit-learn", slow=True, tol=1e-6),
    Method("lasso_lars", lasso_lars, "scikit-learn", slow=True),
    Method("dictlearn FISTA", dictlearn_fista, "dictlearn", slow=True, tol=1e-5),
    Method("NumPy FISTA", numpy_fista, "numpy", slow=True, tol=1e-5),
    Method("skrlv FISTA", skrlv_fista, "skrlv", tol=1e-6),
    Method("skrlv float32", skrlv_exact, "skrlv", dtype=np.float32, target=1e-4),
    Method("skrlv, 1 thread", skrlv_one_thread, "skrlv"),
    Method("X @ D.T", product, "numpy", target=np.inf),
)


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def worst_gap(raw, X, D, lmbda):
    z = raw.T.toarray() if sparse.issparse(raw) else np.asarray(raw)  # SPAMS returns codes as columns
    return float(skrlv.duality_gap(X, z, D, lmbda).max())


def prepared(method, X, D, lmbda, threads):
    """(call, worst gap) with the loosest tolerance that suffices: on a few rows first, then on all."""
    tol = method.tol
    for rows in (X[:20], X):
        best = np.inf
        while True:
            call = method.make(rows, D, lmbda, threads, tol)
            gap = worst_gap(call(), rows, D, lmbda) if np.isfinite(method.target) else 0.0
            if tol is None or gap <= method.target or gap > 0.8 * best:  # a tighter tolerance no longer helps
                break
            best, tol = gap, 0.2 * tol
    return call, gap


def compare(X, D, lmbda, methods, args):
    """Print the table of one problem; return the ratios to skrlv."""
    calls, gaps, counts = {}, {}, {}
    for method in methods:
        rows, atoms = (a.astype(method.dtype) for a in (X[: args.slow_rows] if method.slow else X, D))
        calls[method], gaps[method] = prepared(method, rows, atoms, lmbda, args.threads)
        counts[method] = len(rows)
    times = {method: [] for method in methods}
    for _ in range(args.repeats):
        for method, call in calls.items():  # alternately, so that drift of the machine affects all methods
            time.sleep(0.1)  # threads of the last call may still spin
            start = time.perf_counter()
            call()
            times[method].append(1e6 * (time.perf_counter() - start) / counts[method])
    ratios = {}
    for method, spent in times.items():
        ratios[method] = statistics.median(b / a for a, b in zip(times[methods[0]], spent, strict=True))
        gap = "-" if np.isinf(method.target) else f"{gaps[method]:.0e}"
        print(
            f"  {method.name:16} {counts[method]:6}  {statistics.median(spent):10.1f}  {ratios[method]:8.2f}  {gap:>6}"
            + ("  misses the gap" if gaps[method] > method.target else ""),
            flush=True,
        )
    return ratios


def first_calls(rng):
    X, D = rng.standard_normal((8, 16)), rng.standard_normal((32, 16))
    for dtype in (np.float64, np.float32):
        for make in (skrlv_exact, skrlv_fista):
            start = time.perf_counter()
            make(X.astype(dtype), D.astype(dtype), 1.0, 1, 1e-3)()
            name = f"{make.__name__.replace('_', ' ')}, {np.dtype(dtype).name}"
            print(f"first call of {name}: {time.perf_counter() - start:.2f} s (compiles, or loads from the cache)")


def main():
    args, rng = options(), np.random.RandomState(0)
    warnings.simplefilter("ignore", ConvergenceWarning)
    methods = [method for method in METHODS if version(method.package)]
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, Python {platform.python_version()}")
    packages = dict.fromkeys(("numpy", "scipy", "numba", *(method.package for method in METHODS)))
    print(", ".join(f"{package} {version(package) or 'not installed, skipped'}" for package in packages))
    print(f"{args.repeats} turns; slow methods encode {args.slow_rows} rows, the others {args.rows}")
    first_calls(rng)
    total, results = args.rows + N_TRAIN, []
    data = {"digits": digits(total, rng, args.digits), "patches": patches(total, rng)}
    for name, k, densities in GRID:
        X, train = data[name][: args.rows], data[name][args.rows :]
        D = skrlv.SparseCoder(k, max_iter=4, random_state=0).fit(train).components_
        for density in densities:
            lmbda = at_density(X, D, density)
            found = (skrlv.sparse_encode(X, D, lmbda) != 0).mean()
            print(f"\n{name}, k = {k}, density {100 * found:.1f} %, lmbda {lmbda:.4g}")
            print("  method             rows  us per row   / skrlv     gap")
            results.append(compare(X, D, lmbda, methods, args))
    print("\ntime / time of skrlv  geometric mean      min      max   largest problem")
    for method in methods[1:]:
        ratios = np.array([ratio[method] for ratio in results])
        mean = np.exp(np.log(ratios).mean())
        print(f"  {method.name:16} {mean:18.2f} {ratios.min():8.2f} {ratios.max():8.2f} {ratios[-1]:17.2f}")


if __name__ == "__main__":
    main()
