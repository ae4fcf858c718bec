"""
Pooled convolutional features with few labels
=============================================

The exact position of a stroke should have little influence on the class of a digit. In this example kernels are learned
without labels. The magnitudes of their maps, averaged over small windows, are the features of a linear classifier that
is trained with few labels. The images are the 8 x 8 digits of scikit-learn.
"""

# %%
# The features are computed by a Pipeline: `pooling=2` averages over 2 x 2 positions, and the square root prevents one
# strong stroke from outweighing several weak ones.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrlv import ConvSparseCoder
from skrlv.plotting import plot_atoms

digits = load_digits()
X, y = digits.images / 16, digits.target
train, test = np.arange(1000), np.arange(1000, len(X))

coder = ConvSparseCoder(32, (5, 5), lmbda=0.8, positive=True, pooling=2, max_iter=20, random_state=0)
pooled = make_pipeline(coder, FunctionTransformer(np.sqrt)).fit(X[train])
plot_atoms(coder.components_).set_title("kernels")

# %%
# For comparison, the other features are the pixels, and the codes at every single position. All are scaled to the same
# mean norm. A logistic regression is trained on 2 to 50 digits per class, drawn eight times.

features = {"pixels": X.reshape(len(X), -1), "codes, pooled": pooled.transform(X)}
features["codes"] = coder.set_params(pooling=None).transform(X)
numbers, accuracies = (2, 5, 10, 20, 50), {}
for name, F in features.items():
    F = 5 * F / np.sqrt(np.mean(np.sum(F**2, axis=1)))
    found = np.empty((8, len(numbers)))
    for draw in range(8):
        shuffled = np.random.RandomState(draw).permutation(train)
        for at, n in enumerate(numbers):
            few = np.concatenate([shuffled[y[shuffled] == digit][:n] for digit in range(10)])
            found[draw, at] = LogisticRegression(C=3, max_iter=2000).fit(F[few], y[few]).score(F[test], y[test])
    accuracies[name] = found.mean(axis=0)
    print(f"{name:14}", *(f"{100 * accuracy:.1f}" for accuracy in accuracies[name]))

# %%
# Codes without pooling depend on the exact position of a stroke: a digit that is shifted by one pixel has different
# features. Pooled codes are better than pixels.

_, ax = plt.subplots(layout="constrained")
for name, accuracy in accuracies.items():
    ax.plot(numbers, accuracy, "o-", label=name)
ax.set(xscale="log", xticks=numbers, xticklabels=numbers, xlabel="labels per class", ylabel="accuracy")
ax.minorticks_off()
ax.legend()
