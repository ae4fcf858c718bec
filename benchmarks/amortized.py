"""Predicted codes: time per row and excess energy, compared with solvers that are stopped early.

    python benchmarks/amortized.py [--digits FILE.npz] [--rows 4000] [--repeats 5] [--picture FILE]

The codes are those of digits on 256 atoms, in float32, at the values of lmbda at which exact codes have about 5, 10 and
20 % non-zeros. LISTA is trained to predict the exact codes of other rows, and once to minimise the energy itself, as
learned step sizes are. Exact codes stop at several gaps, FISTA after several numbers of steps. All methods encode the
same rows and are run alternately on all cores; times are medians. "excess" is the mean energy divided by the mean
minimum, minus one. An asterisk marks the Pareto front: no other method is better in both columns. Further lines compare
a pass of LISTA with its matrix products alone, refinement with coding from zero and, if labels are available, the
accuracy of a linear classifier on predicted and on exact codes.
"""

import argparse
import os
import statistics
import time
import warnings

from encode import at_density, digits, restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import numpy as np
from sklearn.linear_model import LogisticRegression

import skrlv
from skrlv._threads import each_block

TICKS = (3, 5, 10, 20, 50, 100, 200)
K, DENSITIES, GAP = 256, (0.05, 0.1, 0.2), 1e-4
USES, STEPS, GAPS = (0, 1, 3, 7), (1, 2, 3, 5, 8, 13, 21, 34, 55, 100), (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", metavar="FILE.npz")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--picture", metavar="FILE")
    return parser.parse_args()


def in_turn(calls, repeats):
    """Median seconds of each call, after one untimed turn."""
    spent = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name] += [time.perf_counter() - start] if turn else []
    return {name: statistics.median(times) for name, times in spent.items()}


def encoders(train, D, lmbda):
    """Learned encoders by name, and the seconds of their training."""
    settings = {"lmbda": lmbda, "dictionary": D, "random_state": 0}
    found = {}
    plans = [("lista", n, "codes") for n in USES] + [("step", n, "energy") for n in USES[1:]]
    for architecture, n_layers, objective in [*plans, ("lista", 3, "energy")]:
        encoder = skrlv.LISTAEncoder(architecture=architecture, n_layers=n_layers, objective=objective, **settings)
        start = time.perf_counter()
        encoder.fit(train)
        name = f"{architecture}, {n_layers} layers" + (
            ", by energy" if (architecture, objective) == ("lista", "energy") else ""
        )
        found[name] = encoder, time.perf_counter() - start
    return found


def searches(X, D, lmbda):
    calls = {f"exact, gap {gap:.0e}": lambda gap=gap: skrlv.sparse_encode(X, D, lmbda, code_tol=gap) for gap in GAPS}
    for steps in STEPS:
        coder = skrlv.FISTACoder(dictionary=D, lmbda=lmbda, code_max_iter=steps, code_tol=1e-12).fit(X[:10])
        calls[f"FISTA, {steps} steps"] = lambda coder=coder: coder.transform(X)
    return calls


def bare_products(X, encoder):
    """The matrix products of LISTA alone, in the same blocks of rows."""
    weights, lateral = encoder.encoder_.weights[0].T, encoder.encoder_.lateral[0].T

    def work(rows):
        z = X[rows] @ weights
        for _ in range(encoder.n_layers):
            z = z @ lateral

    return lambda: each_block(work, len(X))


def front(points):
    """Names of the methods on the Pareto front of time and excess energy."""
    return {
        name for name, (seconds, excess) in points.items()
        if not any(s < seconds and e < excess for s, e in points.values())
    }  # fmt: skip


def compare(X, train, D, density, args, ax):
    lmbda = at_density(train, D, density)
    coder = skrlv.SparseCoder(dictionary=D, lmbda=lmbda).fit(X)
    exact, least = coder.transform(X), coder.energy(X).mean()
    learned = encoders(train, D, lmbda)
    calls = {name: lambda encoder=encoder: encoder.transform(X) for name, (encoder, _) in learned.items()}
    calls |= searches(X, D, lmbda)
    seconds = in_turn(calls, args.repeats)
    points = {name: (seconds[name], coder.energy(X, call()).mean() / least - 1.0) for name, call in calls.items()}
    best = front(points)
    print(
        f"\nlmbda {lmbda:.3f}, density {(exact != 0).mean():.1%}\n{'':26}us per row    excess   code error   trained in"
    )
    for name, call in calls.items():
        error = np.mean(np.sum((call() - exact) ** 2, axis=1)) / np.mean(np.sum(exact**2, axis=1))
        trained = f"{learned[name][1]:8.1f} s" if name in learned else ""
        star = "*" if name in best else " "
        print(f"{name:26}{1e6 * points[name][0] / len(X):9.2f}  {points[name][1]:9.1e} {star} {error:10.4f}  {trained}")

    three = learned["lista, 3 layers"][0]
    ours = {
        "pass": lambda: three.transform(X),
        "products": bare_products(X, three),
        "refine": lambda: three.refine(X, code_tol=GAP),
        "zero": lambda: skrlv.sparse_encode(X, D, lmbda, code_tol=GAP),
    }
    spent = in_turn(ours, args.repeats)
    pairs = ("pass", "products"), ("zero", "pass"), ("refine", "zero")
    over, longer, refining = (spent[a] / spent[b] for a, b in pairs)
    print(f"LISTA with three layers takes {over:.2f} times as long as its matrix products alone")
    print(f"exact codes to a gap of {GAP:.0e} take {longer:.1f} times as long as LISTA with three layers")
    print(f"refining its predictions to this gap takes {refining:.2f} times as long as coding from zero")
    if ax is not None:
        draw(ax, {name: (1e6 * seconds / len(X), max(excess, 1e-8)) for name, (seconds, excess) in points.items()})
    return three, coder


def draw(ax, points):
    """Plot the excess energy against time; values below 1e-8 are drawn at 1e-8."""
    kinds = (
        ("o-", "lista", "layers"),
        ("D", "lista", "by energy"),
        ("^-", "step", ""),
        ("s-", "exact", ""),
        (".-", "FISTA", ""),
    )
    for style, kind, end in kinds:
        chosen = [point for name, point in points.items() if name.startswith(kind) and name.endswith(end)]
        ax.loglog(*zip(*chosen, strict=True), style, label=f"{kind} {end}".removesuffix(" layers").strip())


def accuracy(model, train, X, y_train, y):
    classifier = LogisticRegression(C=10.0, max_iter=500).fit(model.transform(train), y_train)
    return classifier.score(model.transform(X), y)


def main():
    args = options()
    skrlv.warmup()
    warnings.simplefilter("ignore")  # solvers are stopped early on purpose
    data = digits(args.rows + args.train, np.random.RandomState(0), args.digits).astype(np.float32)
    labels = np.load(args.digits).get("y") if args.digits else None
    X, train = data[: args.rows], data[args.rows :]
    D = skrlv.SparseCoder(K, max_iter=10, random_state=0).fit(train).components_
    figure = axes = None
    if args.picture:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, len(DENSITIES), figsize=(13, 4), layout="constrained", sharey=True)
    for i, density in enumerate(DENSITIES):
        three, coder = compare(X, train, D, density, args, None if axes is None else axes[i])
        if labels is not None:
            drawn = labels[np.random.RandomState(0).permutation(len(labels))[: len(data)]]
            scores = [accuracy(m, train, X, drawn[args.rows :], drawn[: args.rows]) for m in (three, coder)]
            print(f"linear classifier: {scores[0]:.1%} on predicted codes, {scores[1]:.1%} on exact ones")
        if axes is not None:
            axes[i].set(title=f"density {density:.0%}", xlabel="microseconds per row")
            axes[i].set_xticks(TICKS, [str(tick) for tick in TICKS])
            axes[i].xaxis.set_minor_formatter("")
    if figure is not None:
        axes[0].set(ylabel="excess energy")
        axes[0].legend()
        figure.savefig(args.picture, dpi=80)


if __name__ == "__main__":
    main()
