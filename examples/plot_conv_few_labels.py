"""
Pooled code maps in front of a classifier
=========================================

Where exactly a stroke lies should not matter much for which digit it belongs to. Kernels are learned without labels.
The magnitudes of their maps, averaged over small windows, go to a linear classifier that sees few labels. The images
are the 8 x 8 digits of scikit-learn.
"""

# %%
# The features are a Pipeline: `pooling=2` averages over 2 x 2 positions, and the square root keeps one strong stroke
# from outweighing several weak ones.

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
# Beside them, the pixels, and the codes at every single position. All are scaled to the same mean length, and a
# logistic regression learns from 2 to 50 digits of each kind, drawn eight times.

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
# The codes alone are too exact about where a stroke lies: a digit drawn one pixel further left has other features.
# Pooled they lead over the pixels.

_, ax = plt.subplots(layout="constrained")
for name, accuracy in accuracies.items():
    ax.plot(numbers, accuracy, "o-", label=name)
ax.set(xscale="log", xticks=numbers, xticklabels=numbers, xlabel="labels of each digit", ylabel="accuracy")
ax.minorticks_off()
ax.legend()
