r"""
Strokes or whole digits: what lmbda decides
===========================================

Non-negative sparse coding represents each digit as a sum of a few non-negative atoms, by minimising

.. math:: \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1, \qquad z \ge 0, \; D \ge 0

over codes z and unit-norm atoms, the rows of D. Ink is additive, so neither a digit nor an atom is one stroke minus
another. The penalty decides what an atom is: if atoms are cheap, a digit is the sum of many small strokes; if they are
expensive, one atom must do, and atoms become whole digits.
"""

# %%
# The data are the digits that come with scikit-learn, 8 by 8 pixels; `skrlv.datasets.fetch_mnist` reads those of MNIST.
# One digit in eight is held out. For each lmbda we print how many atoms a held-out digit uses, which share of its
# variance they explain, and how local atoms are: the share of the pixels that contains 70 % of the energy of an atom.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrlv import SparseCoder
from skrlv.plotting import DictionaryDisplay, ReconstructionDisplay

X = load_digits().data / 16
train, test = X[: len(X) * 7 // 8], X[len(X) * 7 // 8 :]

lmbdas = (0.02, 0.1, 0.5)
coders = [
    SparseCoder(64, lmbda=lmbda, positive=True, positive_dictionary=True, random_state=0).fit(train) for lmbda in lmbdas
]
for coder in coders:
    Z = coder.transform(test)
    explained = 1 - np.sum((test - coder.inverse_transform(Z)) ** 2) / np.sum((test - train.mean(axis=0)) ** 2)
    shares = np.cumsum(-np.sort(-(coder.components_**2), axis=1), axis=1)
    print(
        f"lmbda {coder.lmbda:4}: {np.mean(np.sum(Z > 0, axis=1)):4.1f} atoms per digit, {explained:.1%} of the "
        f"variance explained, the median atom covers {np.median(np.mean(shares < 0.7, axis=1)):.0%} of the pixels"
    )

# %%
# The atoms, sorted by how often they are used: strokes, parts of digits, and whole digits.

figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
for ax, coder in zip(axes, coders, strict=True):
    DictionaryDisplay.from_estimator(coder, image_shape=(8, 8), ax=ax)
    ax.set_title(f"lmbda = {coder.lmbda}")

# %%
# One held-out digit as the sum of its strokes.

ReconstructionDisplay.from_estimator(coders[0], test[0], image_shape=(8, 8))
plt.show()
