r"""
Learned encoders: as near with fewer steps
==========================================

ISTA finds a sparse code by steps of one kind: multiply, add, shrink. FISTA takes the same steps with momentum. LISTA
stops after a few, and learns what it multiplies by and shrinks with (Gregor and LeCun, 2010). How near are codes after
so many products with a matrix?
"""

# %%
# Digits of 8 by 8 pixels, and exact codes on 100 atoms. Errors are those of codes of digits that nothing has learned
# from.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skrlv import LISTAEncoder, SparseCoder
from skrlv.datasets import make_sparse_signals
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import fista, ista
from skrlv.regularizers import L1

X, labels = load_digits().data / 16, load_digits().target
train, test = X[:-400], X[-400:]
coder = SparseCoder(100, lmbda=0.3, random_state=0).fit(train)
atoms, exact = coder.components_, coder.transform(test)


def error(codes, wanted):
    """Squared error, as a share of the codes."""
    return np.sum((codes - wanted) ** 2) / np.sum(wanted**2)


# %%
# A step of ISTA or FISTA is one product with a matrix of 100 by 100, and so is a use of S in LISTA; all need one more
# with the data. Each depth of LISTA is an encoder of its own.

landscape = Energy(Dictionary(atoms), L1(), 0.3).given(test)
steps, uses = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48], [0, 1, 3]
curves = {}
for method in (ista, fista):
    curves[method.__name__.upper()] = steps, [error(method(landscape, max_iter=n, tol=0.0).z, exact) for n in steps]
for architecture, name in (("step", "learned steps"), ("lista", "LISTA")):
    encoders = [
        LISTAEncoder(lmbda=0.3, dictionary=atoms, architecture=architecture, n_layers=n, random_state=0).fit(train)
        for n in uses
    ]
    curves[name] = [n + 1 for n in uses], [error(encoder.transform(test), exact) for encoder in encoders]
for name, (numbers, errors) in curves.items():
    print(f"{name:14}" + "  ".join(f"{n}: {e:.3f}" for n, e in zip(numbers, errors, strict=True)))

# %%
# Another problem: signals that *are* sums of few known atoms, and these codes are wanted, not those of least energy.
# For incoherent atoms ALISTA knows the matrix in closed form and learns two numbers per layer; HyperLISTA learns three
# in all. HyperLISTA gains as many decibels by each layer, ALISTA fewer. No step of ISTA or FISTA is that long, and
# where they end is not the true code: the L1 norm makes it too small.

signals, true_codes, incoherent = make_sparse_signals(600, n_components=100, n_features=60, n_nonzero=4, random_state=0)
layers = [1, 2, 4, 6]
planted = {}
for architecture, name in (("alista", "ALISTA"), ("hyperlista", "HyperLISTA")):
    planted[name] = []
    for n in layers:
        encoder = LISTAEncoder(
            lmbda=0.1, dictionary=incoherent, architecture=architecture, n_layers=n - 1, random_state=0
        ).fit(signals[:400], codes=true_codes[:400])
        planted[name].append(error(encoder.transform(signals[400:]), true_codes[400:]))
landscape = Energy(Dictionary(incoherent), L1(), 0.02).given(signals[400:])
for method in (ista, fista):
    planted[method.__name__.upper()] = [
        error(method(landscape, max_iter=n, tol=0.0).z, true_codes[400:]) for n in layers
    ]
for name, errors in planted.items():
    print(f"{name:14}" + "  ".join(f"{n}: {10 * np.log10(e):.1f} dB" for n, e in zip(layers, errors, strict=True)))

# %%
# Left, the exact codes of digits; right, the true codes of the signals.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for name, (numbers, errors) in curves.items():
    left.loglog(numbers, errors, "o-" if name in ("LISTA", "learned steps") else ".--", label=name)
left.set(xlabel="steps", ylabel="squared error, share of the exact codes", title="digits")
left.legend(loc="lower center")
for name, errors in planted.items():
    right.semilogy(layers, errors, "o-" if "LISTA" in name else ".--", label=name)
right.set(xlabel="steps", ylabel="squared error, share of the true codes", title="planted codes")
right.legend()
plt.show()

# %%
# What is such a code worth? A linear classifier learns from the codes of 50 and of all labelled digits, and is asked
# about the last 400. Predicted codes serve it nearly as well as exact ones; with few labels pixels serve it better.

features = {"pixels": lambda x: x, "exact codes": coder.transform, "LISTA": encoders[-1].transform}  # the deepest
for n in (50, len(train)):
    for name, transform in features.items():
        classifier = LogisticRegression(C=10.0, max_iter=2000).fit(transform(train[:n]), labels[:n])
        print(f"{n:4} labels, {name:12} {classifier.score(transform(test), labels[-400:]):.1%}")

# %%
# When not to use it: for few rows, for rows unlike those it has learned from, and where the exact coder is quick
# enough, which gives a certificate as well.
