r"""
Fuzzy balls on springs
======================

In a variational autoencoder a code is not a point but a ball: a normal law, from which the decoder gets a sample. Where
the balls of two digits overlap the decoder cannot tell them apart, so learning drives balls away from each other. What
keeps them together is the KL term, a spring from each ball to the origin. Figures 8 to 10 of LeCun's lecture of 2020 on
regularized latent-variable models draw this; here it is learned.

.. math:: L(x) = \mathbb{E}_{z \sim q(z \mid x)}\, C(x, \mathrm{Dec}(z))
    + \beta\, \mathrm{KL}\bigl(q(z \mid x),\, N(0, I)\bigr)

The digits are MNIST's where a copy of it is at hand (`skrlv.datasets.fetch_mnist` says where it is looked for), else
those of 8 x 8 pixels that come with scikit-learn.
"""

# %%
# Springs of four strengths, codes of two numbers. Each ellipse is the ball of one digit of a held-out set, one standard
# deviation wide, its colour the class. Without a spring balls shrink to points and spread over a far larger area (mind
# the axes). With one that is far too strong all lie on each other at the origin: the posterior has collapsed, and codes
# say nothing.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from skrlv import VariationalAutoencoder
from skrlv.datasets import load_handwritten_digits
from skrlv.plotting import plot_atoms, plot_balls

X, labels = load_handwritten_digits()
side = round(X.shape[1] ** 0.5)
order = np.random.RandomState(0).permutation(len(X))[:6000]
train, test = order[: 5 * len(order) // 6], order[5 * len(order) // 6 :]
settings = {
    "hidden_layer_sizes": (200,),
    "likelihood": "bernoulli",
    "learning_rate_init": 2e-3,
    "batch_size": 64,
    "max_iter": 50,
    "tol": 0,
}

warnings.filterwarnings("ignore", message="No entry of the code")
springs = {}
fig, axes = plt.subplots(1, 4, figsize=(14, 4), layout="constrained")
for ax, beta in zip(axes, (0.0, 0.05, 1.0, 1000.0), strict=True):
    springs[beta] = VariationalAutoencoder(2, beta=beta, random_state=0, **settings).fit(X[train])
    mean, variance = springs[beta].posterior(X[test[:400]])
    plot_balls(mean, variance, labels[test[:400]], ax=ax).set_title(f"beta = {beta:g}")
    sizes, lengths = np.sqrt(variance).mean(), np.linalg.norm(mean, axis=1).mean()
    kl = springs[beta].kl_per_unit_.sum()
    print(f"beta {beta:6g}: mean length {lengths:7.2f}, mean deviation {sizes:.3f}, KL {kl:.3f}")

# %%
# How balls fly apart. Their size is fixed here, so that only their places can keep them from overlapping: without a
# spring the mean length of a code grows pass by pass; the spring holds it.

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for beta in (0.0, 1.0):
    model = VariationalAutoencoder(2, beta=beta, learn_variance=False, random_state=0, **settings)
    lengths, rng = [], np.random.RandomState(0)
    for _ in range(15):
        for rows in np.array_split(rng.permutation(train), 20):
            model.partial_fit(X[rows])
        lengths.append(np.linalg.norm(model.transform(X[test]), axis=1).mean())
    ax.plot(range(1, 16), lengths, "o-", label=f"beta = {beta:g}")
ax.set(xlabel="pass", ylabel="mean length of a code", ylim=0)
ax.legend()

# %%
# Between the two lies a map of digits: what is near is alike. Neighbours of the means are of one class far more often
# than those in the plane of the two principal components. And the balls that overlap most belong to one class.

model = springs[1.0]
mean, variance = model.posterior(X[test])
nearest = KNeighborsClassifier(10)
ours = cross_val_score(nearest, mean, labels[test]).mean()
theirs = cross_val_score(nearest, PCA(2).fit(X[train]).transform(X[test]), labels[test]).mean()
print(f"ten nearest neighbours in two dimensions: {ours:.1%} of the classes right, by PCA {theirs:.1%}")


def overlap(mean, variance):
    """Bhattacharyya coefficient of each pair of balls: 1 where they are the same, 0 where they do not meet."""
    between = 0.5 * (variance[:, None] + variance[None])
    apart = 0.125 * np.sum((mean[:, None] - mean[None]) ** 2 / between, axis=2)
    sizes = 0.5 * np.sum(np.log(between) - 0.5 * np.log(variance[:, None] * variance[None]), axis=2)
    return np.exp(-apart - sizes)


meets = overlap(mean, variance)
np.fill_diagonal(meets, -1.0)
partner = meets.argmax(axis=1)
same = np.mean(labels[test][partner] == labels[test])
chance = np.sum((np.bincount(labels[test]) / len(test)) ** 2)
print(f"the ball that overlaps most is of the same class for {same:.1%} of the digits, by chance {chance:.1%}")

# %%
# The manifold: codes on a grid, decoded. The grid has equal steps in probability under N(0, I), so that all of it is
# where the prior has digits.

steps = norm.ppf(np.linspace(0.03, 0.97, 15))
grid = np.stack(np.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
fig, axes = plt.subplots(1, 2, figsize=(11, 5.6), layout="constrained")
plot_atoms(model.inverse_transform(grid), (side, side), n_columns=15, ax=axes[0]).set_title(
    "the plane of codes, decoded"
)

# Digits, and below each what its code says of it: with two numbers, and with as many as sixteen.
rich = VariationalAutoencoder(16, random_state=0, **settings).fit(X[train])
shown = X[test[:12]]
rows = np.concatenate([shown, *(m.inverse_transform(m.transform(shown)) for m in (model, rich))])
plot_atoms(rows, (side, side), n_columns=12, ax=axes[1]).set_title("digits; with 2 numbers; with 16")

# %%
# Rate and distortion. The rate is what codes say, the KL in nats; the distortion what they leave open, the mean cost.
# A strong spring gives a low rate and a high distortion. The bound on the log likelihood, at beta = 1 for all, is minus
# their sum: on held-out digits it is what to choose beta by, and `score` gives it to a grid search.

betas = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
rates, distortions, bounds = [], [], []
for beta in betas:
    trial = VariationalAutoencoder(16, beta=beta, random_state=0, **settings).fit(X[train])
    mean, variance = trial.posterior(X[test])
    rates.append(0.5 * np.sum(variance + mean**2 - 1.0 - np.log(variance), axis=1).mean())
    bounds.append(trial.score(X[test]))
    distortions.append(-bounds[-1] - rates[-1])
    active = trial.active_units_.sum()
    print(f"beta {beta:5g}: rate {rates[-1]:6.2f}, ELBO {bounds[-1]:8.2f}, {active:2} of 16 units active")

fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
axes[0].plot(rates, distortions, "o-")
for beta, rate, distortion in zip(betas, rates, distortions, strict=True):
    axes[0].annotate(f"{beta:g}", (rate, distortion), xytext=(5, 4), textcoords="offset points")
axes[0].set(xlabel="rate: KL, nats", ylabel="distortion: mean cost, nats", title="each point is one beta")
axes[1].semilogx(betas, bounds, "o-")
axes[1].set(xlabel="beta", ylabel="ELBO of held-out digits, nats")
plt.show()
