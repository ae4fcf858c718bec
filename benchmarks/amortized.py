"""Predicted codes: microseconds per row against how far their energy is from the least, beside searches stopped early.

    python benchmarks/amortized.py [--digits FILE.npz] [--rows 4000] [--repeats 5] [--picture FILE]

256 atoms of digits, float32, at the lmbdas whose exact codes have about 5, 10 and 20 % non-zeros. LISTA learns to
predict the exact codes of other rows, and once to make the energy itself small, as learned steps do. Exact codes stop
at several gaps, FISTA after several steps. All encode the same rows in turns, on all cores; medians. "excess" is the
mean energy over the mean of the least, less one, and an asterisk marks what nothing else beats in both columns. Below:
the pass of LISTA over its bare products of matrices, refinement against coding from zero, and, where labels are at
hand, a linear classifier on predicted and on exact codes.
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
    """Median seconds of each call; one turn before the clock starts."""
    spent = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name] += [time.perf_counter() - start] if turn else []
    return {name: statistics.median(times) for name, times in spent.items()}


def encoders(train, D, lmbda):
    """Learned encoders by name, and the seconds that learning took."""
    settings = {"lmbda": lmbda, "dictionary": D, "random_state": 0}
    found = {}
    plans = [("lista", n, "codes") for n in USES] + [("step", n, "energy") for n in USES[1:]]
    for architecture, n_layers, objective in [*plans, ("lista", 3, "energy")]:
        encoder = skrlv.LISTAEncoder(architecture=architecture, n_layers=n_layers, objective=objective, **settings)
        start = time.perf_counter()
        encoder.fit(train)
        name = f"{architecture}, {n_layers} uses" + (
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
    """The products of LISTA alone, in the blocks that it works in."""
    weights, lateral = encoder.encoder_.weights[0].T, encoder.encoder_.lateral[0].T

    def work(rows):
        z = X[rows] @ weights
        for _ in range(encoder.n_layers):
            z = z @ lateral

    return lambda: each_block(work, len(X))


def front(points):
    """Names of those that none betters in time and excess."""
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
        f"\nlmbda {lmbda:.3f}, density {(exact != 0).mean():.1%}\n{'':26}us per row    excess   code error   learned in"
    )
    for name, call in calls.items():
        error = np.mean(np.sum((call() - exact) ** 2, axis=1)) / np.mean(np.sum(exact**2, axis=1))
        trained = f"{learned[name][1]:8.1f} s" if name in learned else ""
        star = "*" if name in best else " "
        print(f"{name:26}{1e6 * points[name][0] / len(X):9.2f}  {points[name][1]:9.1e} {star} {error:10.4f}  {trained}")

    three = learned["lista, 3 uses"][0]
    ours = {
        "pass": lambda: three.transform(X),
        "products": bare_products(X, three),
        "refine": lambda: three.refine(X, code_tol=GAP),
        "zero": lambda: skrlv.sparse_encode(X, D, lmbda, code_tol=GAP),
    }
    spent = in_turn(ours, args.repeats)
    pairs = ("pass", "products"), ("zero", "pass"), ("refine", "zero")
    over, longer, refining = (spent[a] / spent[b] for a, b in pairs)
    print(f"three uses: {over:.2f} times the bare products; exact at gap {GAP:.0e} takes {longer:.1f} times as long,")
    print(f"and refining the predictions to it {refining:.2f} times as long as that")
    if ax is not None:
        draw(ax, {name: (1e6 * seconds / len(X), max(excess, 1e-8)) for name, (seconds, excess) in points.items()})
    return three, coder


def draw(ax, points):
    """Excess against time; what is below 1e-8 is drawn there."""
    kinds = (
        ("o-", "lista", "uses"),
        ("D", "lista", "by energy"),
        ("^-", "step", ""),
        ("s-", "exact", ""),
        (".-", "FISTA", ""),
    )
    for style, kind, end in kinds:
        chosen = [point for name, point in points.items() if name.startswith(kind) and name.endswith(end)]
        ax.loglog(*zip(*chosen, strict=True), style, label=f"{kind} {end}".removesuffix(" uses").strip())


def accuracy(model, train, X, y_train, y):
    classifier = LogisticRegression(C=10.0, max_iter=500).fit(model.transform(train), y_train)
    return classifier.score(model.transform(X), y)


def main():
    args = options()
    skrlv.warmup()
    warnings.simplefilter("ignore")  # searches that stop early on purpose
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
        axes[0].set(ylabel="mean energy over the least, less one")
        axes[0].legend()
        figure.savefig(args.picture, dpi=80)


if __name__ == "__main__":
    main()
