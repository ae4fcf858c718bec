"""Dictionary learning: skrlv compared with SPAMS, scikit-learn and dictlearn, on the same digits in one process.

    python benchmarks/learn.py [--passes 10] [--repeats 3] [--slow-passes 3] [--digits FILE.npz] [--picture FILE]

All libraries start from the same atoms, learn from the same rows and are evaluated by the same objective on held-out
rows: the mean of 1/2 |x - zD|^2 + lmbda |z|_1 at exact codes. Every point of a curve is a complete fit with a given
number of passes. Methods are run alternately, and seconds are medians. Between two points a curve is interpolated
linearly. SPAMS and scikit-learn use batches of 512 and 256, which are common settings. All cores are used.

Without --digits the digits are those of scikit-learn, enlarged, shifted and rotated; FILE.npz contains X with 784
columns.
"""

import argparse
import os
import statistics
import time
import warnings

from encode import digits, restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import joblib
import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

import skrlv

N_COMPONENTS, LMBDA, N_HELD_OUT, N_NONZERO = 256, 0.5, 1000, 21
THREADS = len(os.sched_getaffinity(0))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--slow-passes", type=int, default=3, help="passes of scikit-learn and dictlearn")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--digits", metavar="FILE.npz")
    parser.add_argument("--picture", metavar="FILE")
    return parser.parse_args()


# Each method takes (X, atoms, passes) and returns the call to time, which returns atoms.


def skrlv_fit(X, atoms, passes):
    coder = skrlv.SparseCoder(lmbda=LMBDA, dictionary_init=atoms, max_iter=passes, tol=0.0, random_state=0)
    return lambda: coder.fit(X).components_


def spams_fit(X, atoms, passes):
    import spams

    columns, start = np.asfortranarray(X.T), np.asfortranarray(atoms.T)
    how = {"batchsize": 512, "lambda1": LMBDA, "mode": 2, "numThreads": THREADS, "verbose": False}
    steps = passes * -(-len(X) // 512)
    return lambda: np.ascontiguousarray(spams.trainDL(columns, D=start, iter=steps, **how).T)


def scikit_learn_fit(X, atoms, passes, algorithm="lars"):
    learner = MiniBatchDictionaryLearning(
        len(atoms), alpha=LMBDA, dict_init=atoms, max_iter=passes, batch_size=256, tol=0.0, max_no_improvement=None,
        fit_algorithm=algorithm, n_jobs=THREADS, random_state=0,
    )  # fmt: skip

    def fit():
        with joblib.parallel_config("threading"):
            return learner.fit(X).components_

    return fit


def scikit_learn_cd_fit(X, atoms, passes):
    return scikit_learn_fit(X, atoms, passes, "cd")


def dictlearn_fit(X, atoms, passes):
    """dictlearn's online learner has no lmbda: it uses OMP with the final number of non-zeros of the other methods."""
    import dictlearn

    learner = dictlearn.MiniBatchDictionaryLearning(
        len(atoms), n_nonzero_coefs=N_NONZERO, dict_init=atoms, max_iter=passes, batch_size=256, random_state=0
    )
    return lambda: np.asarray(learner.fit(X).components_)


QUICK = {"skrlv": skrlv_fit, "SPAMS": spams_fit}
SLOW = {"scikit-learn": scikit_learn_fit, "scikit-learn, cd": scikit_learn_cd_fit, "dictlearn": dictlearn_fit}


def objective(X, atoms):
    # some libraries return atoms of a smaller norm
    atoms = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-12)
    codes = skrlv.sparse_encode(X, atoms, LMBDA)
    return float(np.mean(0.5 * np.sum((X - codes @ atoms) ** 2, axis=1) + LMBDA * np.abs(codes).sum(axis=1)))


def points(passes):
    return [p for p in (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100) if p <= passes]


def curves(train, test, atoms, args):
    """{method: [(passes, seconds, objective)]}."""
    plan = {name: (method, points(args.passes), args.repeats) for name, method in QUICK.items()}
    plan |= {name: (method, points(args.slow_passes), 1) for name, method in SLOW.items()}
    seconds, reached = {}, {}
    for turn in range(args.repeats):
        for name, (method, passes, repeats) in plan.items():
            for p in passes if turn < repeats else ():
                call = method(train, atoms, p)
                time.sleep(0.3)  # threads of the last call may still spin
                start = time.perf_counter()
                learned = call()
                seconds.setdefault((name, p), []).append(time.perf_counter() - start)
                reached[name, p] = objective(test, learned)
    return {
        name: [(p, statistics.median(seconds[name, p]), reached[name, p]) for p in passes]
        for name, (_, passes, _) in plan.items()
    }


def time_to(curve, target, start):
    """Seconds until a curve that starts at (0, start) reaches the target; infinite if it never does."""
    before = (0.0, start)
    for _, seconds, value in curve:
        if value <= target:
            share = (before[1] - target) / (before[1] - value)
            return before[0] + share * (seconds - before[0])
        before = (seconds, value)
    return float("inf")


def report(found, start):
    print(f"{'':18}{'passes':>8}{'seconds':>10}{'objective':>12}")
    for name, curve in found.items():
        for passes, seconds, value in curve:
            print(f"{name:18}{passes:8}{seconds:10.2f}{value:12.4f}")
    for name, curve in found.items():
        if name != "skrlv":
            passes, seconds, value = curve[-1]
            ours = time_to(found["skrlv"], value, start)
            print(f"{name} after {passes} passes: skrlv reaches the same objective {seconds / ours:.1f} times sooner")
    if len(found["skrlv"]) == len(found["SPAMS"]):
        print(f"after the same number of passes: skrlv {found['skrlv'][-1][2]:.4f}, SPAMS {found['SPAMS'][-1][2]:.4f}")


def draw(found, file):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for name, curve in found.items():
        _, seconds, values = zip(*curve, strict=True)
        axes.plot(seconds, values, "o-", label=name)
    axes.set(xscale="log", xlabel="seconds", ylabel="objective on held-out digits")
    axes.legend()
    figure.savefig(file, dpi=150)


def main():
    args, rng = options(), np.random.RandomState(0)
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = digits(args.rows, rng, args.digits)
    train, test = X[:-N_HELD_OUT], X[-N_HELD_OUT:]
    atoms = train[:N_COMPONENTS] / np.linalg.norm(train[:N_COMPONENTS], axis=1, keepdims=True)
    skrlv.warmup()
    skrlv_fit(train[:600], atoms, 1)()  # compiles the remaining kernels
    start = objective(test, atoms)
    print(f"{len(train)} digits, k = {N_COMPONENTS}, lmbda = {LMBDA}, {THREADS} threads; initial objective {start:.4f}")
    found = curves(train, test, atoms, args)
    report(found, start)
    if args.picture:
        draw(found, args.picture)


if __name__ == "__main__":
    main()
