"""VariationalAutoencoder compared with the same network in eager PyTorch, on the same cores.

    python benchmarks/vae.py [--digits mnist.npz] [--passes 10] [--seeds 3] [--batch 256] [--picture vae.png]

Both train a network of 784-400-(20 + 20) and 20-400-784 units with relu and cross-entropy by Adam at a learning rate of
1e-3, on digits in float32. They use the same initial weights, the same batches in the same order and the same noise.
Seconds are medians over all passes, which alternate between the two; kernels are compiled before. The bound is the mean
ELBO of held-out digits (the last seventh; for all of MNIST these are the 10,000 test digits). `score_samples` estimates
it for both with draws that depend on the seed; for skrlv also the bounds with 5 and 50 importance samples are shown.
With all of MNIST, ten passes with batches of 128 repeat PyTorch's own example; the result of one run of it is
published.
"""

import argparse
import itertools
import os
import platform
import statistics
import sys
import time
import warnings

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    if name in os.environ:  # emulating another processor would slow NumPy down, to the advantage of PyTorch
        del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from skrlv import VariationalAutoencoder
from skrlv.datasets import fetch_mnist
from skrlv.learning import minibatches

HIDDEN, N_COMPONENTS = 400, 20
PUBLISHED = -105.6  # nats on the test digits, in the README of github.com/kampta/pytorch-distributions


class Peer(nn.Module):
    """The standard PyTorch module."""

    def __init__(self, n_features):
        super().__init__()
        self.hidden = nn.Linear(n_features, HIDDEN)
        self.mean, self.log_variance = nn.Linear(HIDDEN, N_COMPONENTS), nn.Linear(HIDDEN, N_COMPONENTS)
        self.spread, self.out = nn.Linear(N_COMPONENTS, HIDDEN), nn.Linear(HIDDEN, n_features)

    def forward(self, y, noise):
        h = functional.relu(self.hidden(y))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * noise
        return self.out(functional.relu(self.spread(z))), mean, log_variance

    def loss(self, y, noise):
        logits, mean, log_variance = self(y, noise)
        spread = functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
        return (spread - 0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp())) / len(y)

    def take(self, parameters):
        """Copy the initial weights of skrlv."""
        halves = [np.split(parameters[f"encoder.{kind}_1"], 2, axis=-1) for kind in ("weights", "biases")]
        ours = (
            (self.hidden, parameters["encoder.weights_0"], parameters["encoder.biases_0"]),
            (self.mean, halves[0][0], halves[1][0]),
            (self.log_variance, halves[0][1], halves[1][1]),
            (self.spread, parameters["decoder.weights_0"], parameters["decoder.biases_0"]),
            (self.out, parameters["decoder.weights_1"], parameters["decoder.biases_1"]),
        )
        with torch.no_grad():
            for layer, weight, bias in ours:
                layer.weight.copy_(torch.as_tensor(weight.T.copy()))
                layer.bias.copy_(torch.as_tensor(bias))

    def given(self):
        """The weights under the names that skrlv uses."""

        def parts(*layers):
            weights = np.concatenate([layer.weight.detach().numpy().T for layer in layers], axis=1)
            return weights.copy(), np.concatenate([layer.bias.detach().numpy() for layer in layers])

        named = {
            "encoder": (parts(self.hidden), parts(self.mean, self.log_variance)),
            "decoder": (parts(self.spread), parts(self.out)),
        }
        return {
            f"{part}.{kind}_{at}": value
            for part, layers in named.items()
            for at, pair in enumerate(layers)
            for kind, value in zip(("weights", "biases"), pair, strict=True)
        }


def model(seed, batch, n_passes):
    return VariationalAutoencoder(
        N_COMPONENTS, hidden_layer_sizes=(HIDDEN,), likelihood="bernoulli", max_iter=n_passes, tol=0, batch_size=batch,
        validation_fraction=0, random_state=seed,
    )  # fmt: skip


class OurPasses:
    """Training with skrlv, one pass at a time."""

    def __init__(self, X, seed, batch, n_passes):
        self.vae, self._rng, self._X = model(seed, batch, n_passes), np.random.RandomState(seed), X
        energy = self.vae._begin(self.vae._validated(X, reset=True), self._rng)
        self._learned = self.vae._learner(X, energy, self._rng)
        losses = itertools.count(0, -1)  # no validation, as in the peer: every pass counts as the best so far
        self._learned._mean_loss = lambda bound: next(losses)
        self._begun = energy.parameters

    def run(self):
        self._learned.run_pass(self._rng)

    def parameters(self):
        return self._learned._descent.parameters


class PeerPasses:
    """The standard PyTorch loop, on the same batches and noise as skrlv."""

    def __init__(self, X, ours, batch):
        self._y, self._batch, self._rng = torch.as_tensor(X), batch, np.random.RandomState()
        self._rng.set_state(ours._rng.get_state())
        self._order = torch.as_tensor(ours._learned._learned_from)
        self._peer = Peer(X.shape[1])
        self._peer.take(ours._begun)
        self._adam = torch.optim.Adam(self._peer.parameters(), lr=1e-3)

    def run(self):
        for batch in minibatches(len(self._y), self._batch, self._rng):
            y = self._y[self._order[torch.as_tensor(batch)]]
            noise = torch.as_tensor(self._rng.standard_normal((len(batch), N_COMPONENTS)), dtype=y.dtype)
            self._adam.zero_grad()
            self._peer.loss(y, noise).backward()
            self._adam.step()

    def parameters(self):
        return self._peer.given()


def bound_of(vae, parameters, X, n=1):
    """Mean ELBO of X under the model with these weights, or the bound with n importance samples."""
    vae._parameters = {name: np.asarray(value) for name, value in parameters.items()}
    return vae.score_samples(X, n_importance_samples=n).mean()


def compared(train, test, seed, batch, n_passes):
    """Alternating passes: seconds and bounds of each pass for skrlv and PyTorch, and the tighter bounds of skrlv."""
    ours = OurPasses(train, seed, batch, n_passes)
    peer = PeerPasses(train, ours, batch)
    seconds, bounds = ([], []), ([], [])
    for turn in range(n_passes):
        for which, passes in ((0, ours), (1, peer)) if turn % 2 else ((1, peer), (0, ours)):
            start = time.perf_counter()
            passes.run()
            seconds[which].append(time.perf_counter() - start)
        for which, passes in enumerate((ours, peer)):
            bounds[which].append(bound_of(ours.vae, passes.parameters(), test))
    return seconds, bounds, [bound_of(ours.vae, ours.parameters(), test, n) for n in (5, 50)]


def picture(tracks, file):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for seconds, bounds in tracks:
        for which, (name, style) in enumerate((("skrlv", "-"), ("eager PyTorch", "--"))):
            axes[0].plot(range(1, len(bounds[which]) + 1), bounds[which], style, color=f"C{which}", label=name)
            axes[1].plot(np.cumsum(seconds[which]), bounds[which], style, color=f"C{which}", label=name)
    for ax, label in zip(axes, ("passes", "seconds"), strict=True):
        ax.set(xlabel=label, ylabel="ELBO of held-out digits, nats")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend(handles[:2], labels[:2])
    fig.savefig(file, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", metavar="FILE.npz")
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--picture", metavar="FILE")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    X = np.load(arguments.digits)["X"] if arguments.digits else fetch_mnist()[0]
    X = (X / np.float32(255) if X.dtype == np.uint8 else X).astype(np.float32).reshape(len(X), -1)
    n_test = len(X) // 7
    train, test = X[:-n_test], X[-n_test:]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(f"NumPy {np.__version__}, torch {torch.__version__}; {len(train)} digits, {n_test} held out")
    model(0, arguments.batch, 1).fit(train[:1000])  # compiles the kernels
    tracks = []
    for seed in range(arguments.seeds):
        seconds, bounds, tighter = compared(train, test, seed, arguments.batch, arguments.passes)
        tracks.append((seconds, bounds))
        ours, peers = (statistics.median(part) for part in seconds)
        print(
            f"seed {seed}: a pass {ours:.3f} s, PyTorch {peers:.3f} s, {peers / ours:.2f} x; ELBO after "
            f"{arguments.passes} passes {bounds[0][-1]:.2f}, PyTorch {bounds[1][-1]:.2f}; skrlv L_5 {tighter[0]:.2f}, "
            f"L_50 {tighter[1]:.2f}"
        )
    medians = [statistics.median(s for seconds, _ in tracks for s in seconds[which]) for which in (0, 1)]
    print(f"all: a pass {medians[0]:.3f} s, PyTorch {medians[1]:.3f} s, {medians[1] / medians[0]:.2f} x")
    if (len(train), arguments.batch, arguments.passes) == (60000, 128, 10):
        print(f"published for one run of PyTorch's example: {PUBLISHED}")
    if arguments.picture:
        picture(tracks, arguments.picture)


if __name__ == "__main__":
    main()
