r"""
Variational autoencoder: posteriors as fuzzy balls on springs
=============================================================

In a variational autoencoder a code is not a point but a fuzzy ball: a normal distribution (the posterior), from which
the decoder receives a sample. The decoder cannot distinguish two digits whose balls overlap, so learning drives the
balls apart. The KL term keeps them together, like a spring from each ball to the origin. Figures 8 to 10 of LeCun's
lecture of 2020 on regularized latent-variable models sketch this picture; this example learns it from data.

.. math:: L(x) = \mathbb{E}_{z \sim q(z \mid x)}\, C(x, \mathrm{Dec}(z))
    + \beta\, \mathrm{KL}\bigl(q(z \mid x),\, N(0, I)\bigr)

The digits are those of 8 x 8 pixels that come with scikit-learn; `skrlv.datasets.fetch_mnist` reads those of MNIST.
"""

# %%
# Codes have two entries, and beta, the weight of the KL term, has four values. Each ellipse is the posterior of one
# held-out digit, one standard deviation wide; its colour is the class. Without the KL term (beta = 0) posteriors shrink
# to points and spread over a far larger area (note the axes). If beta is far too large, all posteriors lie on top of
# each other at the origin: this is posterior collapse, and codes carry no information.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from skrlv import VariationalAutoencoder
from skrlv.plotting import plot_atoms, plot_balls

X, labels = load_digits(return_X_y=True)
X, side = X / 16, 8
order = np.random.RandomState(0).permutation(len(X))
train, test = order[: 5 * len(order) // 6], order[5 * len(order) // 6 :]
settings = {
    "hidden_layer_sizes": (200,),
    "likelihood": "bernoulli",
    "learning_rate_init": 2e-3,
    "batch_size": 64,
    "max_iter": 50,
    "tol": 0,
}

warnings.filterwarnings("ignore", message="No entry of the code|The codes have collapsed")
models = {}
fig, axes = plt.subplots(1, 4, figsize=(14, 4), layout="constrained")
for ax, beta in zip(axes, (0.0, 0.05, 1.0, 1000.0), strict=True):
    models[beta] = VariationalAutoencoder(2, beta=beta, random_state=0, **settings).fit(X[train])
    mean, variance = models[beta].posterior(X[test[:400]])
    plot_balls(mean, variance, labels[test[:400]], ax=ax).set_title(f"beta = {beta:g}")
    sizes, lengths = np.sqrt(variance).mean(), np.linalg.norm(mean, axis=1).mean()
    kl = models[beta].kl_per_unit_.sum()
    print(f"beta {beta:6g}: mean norm {lengths:7.2f}, mean deviation {sizes:.3f}, KL {kl:.3f}")

# %%
# This figure shows how the balls are driven apart. Their size is fixed here, so only their positions can reduce the
# overlap. Without the KL term the mean norm of a code grows with every pass; with the KL term it stays bounded.

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for beta in (0.0, 1.0):
    model = VariationalAutoencoder(2, beta=beta, learn_variance=False, random_state=0, **settings)
    lengths, rng = [], np.random.RandomState(0)
    for _ in range(15):
        for rows in np.array_split(rng.permutation(train), 20):
            model.partial_fit(X[rows])
        lengths.append(np.linalg.norm(model.transform(X[test]), axis=1).mean())
    ax.plot(range(1, 16), lengths, "o-", label=f"beta = {beta:g}")
ax.set(xlabel="pass", ylabel="mean norm of a code", ylim=0)
ax.legend()

# %%
# Between these extremes, similar digits have nearby codes. Nearest neighbours of the posterior means belong to the same
# class more often than nearest neighbours in the plane of the first two principal components. The posteriors that
# overlap most also tend to belong to the same class.

model = models[1.0]
mean, variance = model.posterior(X[test])
nearest = KNeighborsClassifier(10)
ours = cross_val_score(nearest, mean, labels[test]).mean()
theirs = cross_val_score(nearest, PCA(2).fit(X[train]).transform(X[test]), labels[test]).mean()
print(f"ten nearest neighbours in two dimensions: {ours:.1%} of the classes right, by PCA {theirs:.1%}")


def overlap(mean, variance):
    """Bhattacharyya coefficient of each pair of posteriors: 1 if they are equal, 0 if they do not overlap."""
    between = 0.5 * (variance[:, None] + variance[None])
    apart = 0.125 * np.sum((mean[:, None] - mean[None]) ** 2 / between, axis=2)
    sizes = 0.5 * np.sum(np.log(between) - 0.5 * np.log(variance[:, None] * variance[None]), axis=2)
    return np.exp(-apart - sizes)


meets = overlap(mean, variance)
np.fill_diagonal(meets, -1.0)
partner = meets.argmax(axis=1)
same = np.mean(labels[test][partner] == labels[test])
chance = np.sum((np.bincount(labels[test]) / len(test)) ** 2)
print(f"the posterior that overlaps most is of the same class for {same:.1%} of the digits, by chance {chance:.1%}")

# %%
# The manifold of digits: codes on a grid are decoded. The grid has equal steps in probability under the prior N(0, I),
# so all of its codes have a high prior density.

steps = norm.ppf(np.linspace(0.03, 0.97, 15))
grid = np.stack(np.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
fig, axes = plt.subplots(1, 2, figsize=(11, 5.6), layout="constrained")
plot_atoms(model.inverse_transform(grid), (side, side), n_columns=15, ax=axes[0]).set_title(
    "the plane of codes, decoded"
)

# Digits, and below each its reconstructions from codes with two and with sixteen entries.
rich = VariationalAutoencoder(16, random_state=0, **settings).fit(X[train])
shown = X[test[:12]]
rows = np.concatenate([shown, *(m.inverse_transform(m.transform(shown)) for m in (model, rich))])
plot_atoms(rows, (side, side), n_columns=12, ax=axes[1]).set_title("digits; decoded from 2 entries; from 16")

# %%
# Rate and distortion. The rate is the information in codes, the KL in nats; the distortion is the mean reconstruction
# cost. A large beta gives a low rate and a high distortion. The bound on the log likelihood (the ELBO, at beta = 1 for
# all models) is minus their sum. Use its value on held-out digits to choose beta; `score` returns it, so a grid search
# can.

betas = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
rates, distortions, bounds = [], [], []
for beta in betas:
    trial = VariationalAutoencoder(16, beta=beta, random_state=0, **settings).fit(X[train])
    mean, variance = trial.posterior(X[test])
    rates.append(0.5 * np.sum(variance + mean**2 - 1.0 - np.log(variance), axis=1).mean())
    bounds.append(trial.score(X[test]))
    distortions.append(-bounds[-1] - rates[-1])
    active = trial.active_units_.sum()
    print(
        f"beta {beta:5g}: rate {rates[-1]:6.2f}, ELBO {bounds[-1]:8.2f}, {active:2} of 16 means vary by more than 0.01"
    )

fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
axes[0].plot(rates, distortions, "o-")
for beta, rate, distortion in zip(betas, rates, distortions, strict=True):
    axes[0].annotate(f"{beta:g}", (rate, distortion), xytext=(5, 4), textcoords="offset points")
axes[0].set(xlabel="rate: KL, nats", ylabel="distortion: mean cost, nats", title="each point is one beta")
axes[1].semilogx(betas, bounds, "o-")
axes[1].set(xlabel="beta", ylabel="ELBO of held-out digits, nats")
plt.show()
