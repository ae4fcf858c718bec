"""Regularization path: ten values of lmbda compared with the smallest alone, and targets compared with OMP and SPAMS.

    python benchmarks/path.py [--rows 2000] [--repeats 7] [--digits FILE.npz]

Data and atoms are those of encode.py. The methods are run alternately in one process on all cores. Ratios are medians
of the ratios of each turn, times are medians in microseconds per row. OMP does not minimise the L1 objective, so mean
relative errors are printed next to the times; SPAMS follows the same path as skrlv.
"""

import argparse
import os
import statistics
import time

from encode import digits, patches, restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import numpy as np
from sklearn.linear_model import orthogonal_mp_gram

import skrlv

try:
    import spams
except ImportError:
    spams = None

N_TRAIN, N_NONZERO, MAX_ERROR = 4000, 10, 0.4


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--digits", metavar="FILE.npz")
    return parser.parse_args()


def in_turn(calls, n_rows, repeats):
    """Median microseconds per row of each call, and median ratio to the first call, after one untimed turn."""
    spent = []
    for _ in range(repeats + 1):
        turn = []
        for call in calls.values():
            time.sleep(0.1)  # threads of the last call may still spin
            start = time.perf_counter()
            call()
            turn.append(1e6 * (time.perf_counter() - start) / n_rows)
        spent.append(turn)
    times = np.array(spent[1:])
    return {
        name: (statistics.median(times[:, i]), statistics.median(times[:, i] / times[:, 0]))
        for i, name in enumerate(calls)
    }


def show(title, calls, n_rows, repeats, notes):
    print(f"\n{title}")
    for name, (spent, ratio) in in_turn(calls, n_rows, repeats).items():
        print(f"  {name:34} {spent:8.1f} us per row  {ratio:6.2f}  {notes.get(name, '')}")


def compare(X, D, args):
    def error(Z):
        return f"error {np.mean(np.linalg.norm(X - Z @ D, axis=1) / np.linalg.norm(X, axis=1)):.3f}"

    for dtype in (np.float64, np.float32):
        x, d = X.astype(dtype), D.astype(dtype)
        lmbdas = skrlv.lmbda_grid(x, d)
        for n in (len(lmbdas) - 3, len(lmbdas)):
            grid = np.geomspace(lmbdas[0], lmbdas[n - 1], 10)
            calls = {
                "the smallest lmbda alone": lambda x=x, d=d, grid=grid: skrlv.sparse_encode(x, d, grid[-1]),
                "lmbda_path of ten": lambda x=x, d=d, grid=grid: skrlv.lmbda_path(x, d, grid),
            }
            density = skrlv.lmbda_path(x, d, grid).densities[-1]
            show(f"{np.dtype(dtype)}, to a density of {density:.1%}", calls, len(X), args.repeats, {})

    columns, atoms = np.asfortranarray(X.T), np.asfortranarray(D.T)
    unit = np.asfortranarray((X / np.linalg.norm(X, axis=1, keepdims=True)).T)
    few = {
        "n_nonzero": lambda: skrlv.sparse_encode(X, D, n_nonzero=N_NONZERO),
        "n_nonzero, debiased": lambda: skrlv.sparse_encode(X, D, n_nonzero=N_NONZERO, debias=True),
        "scikit-learn orthogonal_mp_gram": lambda: orthogonal_mp_gram(D @ D.T, D @ X.T, n_nonzero_coefs=N_NONZERO).T,
    }
    near = {"max_error": lambda: skrlv.sparse_encode(X, D, max_error=MAX_ERROR)}
    if spams is not None:
        few |= {
            "SPAMS lasso(mode=2, L)": lambda: spams.lasso(columns, atoms, mode=2, lambda1=0.0, L=N_NONZERO).T,
            "SPAMS omp(L)": lambda: spams.omp(columns, atoms, L=N_NONZERO).T,
        }
        near["SPAMS lasso(mode=1)"] = lambda: spams.lasso(unit, atoms, mode=1, lambda1=MAX_ERROR**2)
    notes = {name: error(call()) for name, call in few.items()}
    show(f"{N_NONZERO} non-zeros", few, len(X), args.repeats, notes)
    density = (near["max_error"]() != 0).mean()
    show(f"relative error {MAX_ERROR}, density {density:.1%}", near, len(X), args.repeats, {})


def main():
    args, rng = options(), np.random.RandomState(0)
    total = args.rows + N_TRAIN
    for name, data, k in (("digits", digits(total, rng, args.digits), 256), ("patches", patches(total, rng), 512)):
        D = skrlv.SparseCoder(k, max_iter=4, random_state=0).fit(data[args.rows :]).components_
        D /= np.linalg.norm(D, axis=1, keepdims=True)
        print(f"\n{name}, k = {k}, {args.rows} rows")
        compare(data[: args.rows], D, args)


if __name__ == "__main__":
    main()
