r"""
LISTA and its variants compared with ISTA and FISTA
===================================================

Each step of ISTA consists of a matrix product, an addition and a soft threshold. FISTA takes the same steps with
momentum. LISTA unrolls a few steps and learns their matrices and thresholds (Gregor and LeCun, 2010). This example
compares the error of codes after a given number of matrix products.
"""

# %%
# The data are digits of 8 by 8 pixels. The error is the distance to exact codes on 100 atoms, for digits that were not
# used for training.

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
    """Squared error relative to the squared norm of the codes."""
    return np.sum((codes - wanted) ** 2) / np.sum(wanted**2)


# %%
# A step of ISTA or FISTA, and a layer of LISTA, each take one product with a 100 by 100 matrix; all methods need one
# more product with the data. For each number of layers a separate LISTA encoder is trained.

landscape = Energy(Dictionary(atoms), L1(), 0.3).given(test)
steps, depths = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48], [0, 1, 3]
curves = {}
for method in (ista, fista):
    curves[method.__name__.upper()] = steps, [error(method(landscape, max_iter=n, tol=0.0).z, exact) for n in steps]
for architecture, name in (("step", "learned step sizes"), ("lista", "LISTA")):
    encoders = [
        LISTAEncoder(lmbda=0.3, dictionary=atoms, architecture=architecture, n_layers=n, random_state=0).fit(train)
        for n in depths
    ]
    curves[name] = [n + 1 for n in depths], [error(encoder.transform(test), exact) for encoder in encoders]
for name, (numbers, errors) in curves.items():
    print(f"{name:20}" + "  ".join(f"{n}: {e:.3f}" for n, e in zip(numbers, errors, strict=True)))

# %%
# The second problem is sparse recovery: the signals *are* sums of a few known atoms, and the aim is to recover the
# codes that generated them, not the codes of minimum energy. For incoherent atoms, ALISTA computes its matrix in closed
# form and learns two numbers per layer; HyperLISTA learns three numbers in total. The error of HyperLISTA in dB
# decreases linearly with the number of layers, that of ALISTA more slowly. ISTA and FISTA are slower, and do not
# converge to the true codes, because the L1 norm shrinks the codes.

signals, true_codes, incoherent = make_sparse_signals(600, n_components=100, n_features=60, n_nonzero=4, random_state=0)
layers = [1, 2, 4, 6]
recovered = {}
for architecture, name in (("alista", "ALISTA"), ("hyperlista", "HyperLISTA")):
    recovered[name] = []
    for n in layers:
        encoder = LISTAEncoder(
            lmbda=0.1, dictionary=incoherent, architecture=architecture, n_layers=n - 1, random_state=0
        ).fit(signals[:400], codes=true_codes[:400])
        recovered[name].append(error(encoder.transform(signals[400:]), true_codes[400:]))
landscape = Energy(Dictionary(incoherent), L1(), 0.02).given(signals[400:])
for method in (ista, fista):
    recovered[method.__name__.upper()] = [
        error(method(landscape, max_iter=n, tol=0.0).z, true_codes[400:]) for n in layers
    ]
for name, errors in recovered.items():
    print(f"{name:20}" + "  ".join(f"{n}: {10 * np.log10(e):.1f} dB" for n, e in zip(layers, errors, strict=True)))

# %%
# Left: error to the exact codes of the digits. Right: error to the true codes of the signals.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for name, (numbers, errors) in curves.items():
    left.loglog(numbers, errors, "o-" if name in ("LISTA", "learned step sizes") else ".--", label=name)
left.set(xlabel="steps", ylabel="squared error relative to the exact codes", title="digits")
left.legend(loc="lower center")
for name, errors in recovered.items():
    right.semilogy(layers, errors, "o-" if "LISTA" in name else ".--", label=name)
right.set(xlabel="steps", ylabel="squared error relative to the true codes", title="sparse recovery")
right.legend()
plt.show()

# %%
# Finally, the codes are used as features. A linear classifier is trained on the codes of 50 and of all labelled digits,
# and tested on the last 400. Predicted codes are nearly as good as exact ones; with few labels, pixels are better.

features = {"pixels": lambda x: x, "exact codes": coder.transform, "LISTA": encoders[-1].transform}  # the deepest
for n in (50, len(train)):
    for name, transform in features.items():
        classifier = LogisticRegression(C=10.0, max_iter=2000).fit(transform(train[:n]), labels[:n])
        print(f"{n:4} labels, {name:12} {classifier.score(transform(test), labels[-400:]):.1%}")

# %%
# Do not use a learned encoder if there are few rows, if new rows differ from the training data, or if the exact coder
# is fast enough. The exact coder also gives a certificate.
