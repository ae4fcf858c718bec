r"""
Non-negative sparse coding of handwritten digits
================================================

Sparse coding represents each digit as a sum of a few atoms, by minimising

.. math:: \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1

over all codes z and unit-norm atoms, the rows of D. On MNIST most of the learned atoms are strokes: bars, bows and
hooks, each at a fixed position. On the smaller digits of scikit-learn most of them are whole digits; for strokes of
these see :ref:`sphx_glr_auto_examples_quickstart.py`, in which atoms are non-negative too.
"""

# %%
# The data are MNIST (28 by 28 pixels) if a copy is available, otherwise the digits of scikit-learn (8 by 8 pixels). One
# digit in eight is held out.

import matplotlib.pyplot as plt
import numpy as np

from skrlv import SparseCoder, sparse_encode
from skrlv.datasets import load_handwritten_digits
from skrlv.plotting import plot_atoms

X, labels = load_handwritten_digits()
side = int(np.sqrt(X.shape[1]))
mnist = side == 28
n_atoms, lmbda = (256, 0.35) if mnist else (100, 0.3)
X, labels = X[:8000], labels[:8000]
n_train = len(X) * 7 // 8
train, test = X[:n_train], X[n_train:]

# %%
# Ink is additive, so codes are non-negative: a digit cannot be one stroke minus another. Atoms may have both signs, for
# example dark flanks.

coder = SparseCoder(n_atoms, lmbda=lmbda, positive=True, tol=3e-4, random_state=0).fit(train)
atoms = coder.components_
print(f"{n_atoms} atoms of {side} x {side} pixels, lmbda={lmbda}, {coder.n_iter_} passes over {len(train)} digits")

# %%
# We measure how sparse codes are and how much of the digits they explain, in two ways. The explained share of the
# squared pixels compares the error with that of a blank image. The explained variance compares it with that of the mean
# digit, which is a stronger baseline. L1 shrinks the codes; refitted by least squares (``debias``), the same atoms
# explain a little more.

for name, digits in (("learned from", train), ("others", test)):
    print(name)
    for debias in (False, True):
        Z = sparse_encode(digits, atoms, lmbda, positive=True, debias=debias)
        error = np.sum((digits - Z @ atoms) ** 2)
        print(
            f"  {'refitted' if debias else 'L1 codes':9} {np.mean(Z != 0):.1%} of the codes are non-zero; explained: "
            f"{1 - error / np.sum(digits**2):.3f} of the squares, "
            f"{1 - error / np.sum((digits - train.mean(axis=0)) ** 2):.3f} of the variance about the mean"
        )

# %%
# To measure how local the atoms are, we count the pixels of each that contain 70 % of its energy.

shares = np.cumsum(-np.sort(-(atoms**2), axis=1), axis=1)
needed = np.mean(shares < 0.7, axis=1)
print(f"{np.mean(needed <= 0.35):.0%} of the atoms hold 70 % of their energy in 35 % of the pixels")
print(f"the median atom holds it in {np.median(needed):.1%} of them")

# %%
# The figure shows all atoms, sorted by how often they are used.

order = np.argsort(-coder.atom_usage_)
figure, ax = plt.subplots(figsize=(8, 8), layout="constrained")
plot_atoms(atoms[order], (side, side), ax=ax)
ax.set_title(f"{n_atoms} atoms")

# %%
# The second figure shows one digit as the sum of its atoms, the largest coefficients first. The upper row shows each
# atom with its coefficient, the lower row the partial sums.

n_shown = 8
digit = test[np.flatnonzero(labels[n_train:] == 2)[0]]
code = coder.transform(digit[None])[0]
largest = np.argsort(-code)[:n_shown]
so_far = np.cumsum(code[largest, None] * atoms[largest], axis=0)
top = [digit, *atoms[largest]]
bottom = [code @ atoms, *so_far]
titles = ["the digit", *(f"{coefficient:.2f} x" for coefficient in code[largest])]
captions = [f"all {np.count_nonzero(code)} atoms", *("" if n == 1 else f"sum of {n}" for n in range(1, n_shown + 1))]

figure, axes = plt.subplots(2, 1 + n_shown, figsize=(12, 3.2), layout="constrained")
for row, pictures, texts in zip(axes, (top, bottom), (titles, captions), strict=True):
    for ax, picture, text in zip(row, pictures, texts, strict=True):
        brightest = np.abs(picture).max()
        ax.imshow(picture.reshape(side, side), cmap="gray", vmin=-brightest, vmax=brightest)
        ax.set_title(text, fontsize="medium")
        ax.axis("off")
plt.show()
