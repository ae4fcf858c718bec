r"""
Free energies on a spiral: what limits the code
===============================================

The free energy of a sample is its energy at the best code,

.. math:: F(x) = \min_z \bigl[ C(x, \mathrm{Dec}(z)) + \lambda R(z) \bigr]

A model has learned where the data are if F is low there and higher elsewhere. Four models of a spiral in the plane
differ in what they let a code say:

* k-means: a code is one of 16 points. F is a bowl around each of them.
* PCA: a code is a number, the decoder a line. F is low along the line, whether there are data or not.
* An autoencoder whose codes have as many numbers as the data, without a penalty: the decoder reaches every place near
  the data, and F is flat there.
* A variational autoencoder with one number per code: noise and the penalty limit what it says, the decoder is a curve,
  and F follows the spiral.

A linear decoder with a convex penalty, as in sparse coding, cannot do this, since its F is convex.

The table shows how F goes with the distance to the spiral (rank correlation, on a grid within the circle that holds the
data), and with the distance to the origin (correlation), which it should not follow.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from skrlv import VariationalAutoencoder
from skrlv.plotting import LandscapeDisplay


def spiral(radius):
    angle = 1.5 * np.pi * radius
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


rng = np.random.default_rng(0)
X = spiral(2 * np.sqrt(rng.uniform(0.05, 1, 2000))) + 0.02 * rng.normal(size=(2000, 2))
side = np.linspace(-2.1, 2.1, 43)
places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)

# %%
# The four models, each as a function from samples to free energies.

kmeans = KMeans(16, random_state=0).fit(X)
pca = PCA(1).fit(X)
settings = {"scale": 0.1, "learning_rate_init": 3e-3, "batch_size": 128, "tol": 0, "random_state": 0}
free = VariationalAutoencoder(
    2, hidden_layer_sizes=(64,), activation="tanh", beta=0, learn_variance=False, max_iter=100, **settings
).fit(0.1 * X)
limited = VariationalAutoencoder(1, hidden_layer_sizes=(128, 128), max_iter=300, **settings).fit(X)


def error(x, reconstruction):
    return 0.5 * np.sum((x - reconstruction) ** 2, axis=1)


def autoencoder(x):
    codes = free.infer(0.1 * x)
    return error(x, 10 * free.inverse_transform(codes))


maps = {
    "k-means": lambda x: error(x, kmeans.cluster_centers_[kmeans.predict(x)]),
    "PCA": lambda x: error(x, pca.inverse_transform(pca.transform(x))),
    "autoencoder, unlimited": autoencoder,
    "variational autoencoder": limited.free_energy,
}

# %%
distance = np.min(np.linalg.norm(places[:, None] - spiral(np.linspace(0.45, 2, 2000))[None], axis=2), axis=1)
norm = np.linalg.norm(places, axis=1)
inside = norm <= 2
figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
print(f"{'':26s}{'distance':>10s}{'norm':>8s}")
for ax, (name, energy) in zip(axes.flat, maps.items(), strict=True):
    values = energy(places)
    ranks, slope = spearmanr(values[inside], distance[inside])[0], np.corrcoef(values[inside], norm[inside])[0, 1]
    print(f"{name:26s}{ranks:10.2f}{slope:8.2f}")
    LandscapeDisplay(side, side, values.reshape(43, 43), points=X[:400]).plot(ax=ax)
    ax.set(title=name, aspect="equal")
plt.show()
