r"""
Dictionary learning: gradient steps and sufficient statistics
=============================================================

LeCun's lecture of 2020 learns a dictionary in three steps: infer the codes of a batch, take a gradient step on the
atoms, and normalise them. This needs a learning rate. `SparseCoder` needs none: it accumulates the sufficient
statistics of codes and data over many batches, and minimises the energy of these statistics. In this example both
algorithms learn strokes of digits from the same initial atoms. The second part shows the effect of leaving out the
normalisation.
"""

# %%
# The data are digits of 8 by 8 pixels. Both algorithms learn 64 atoms, starting from the first 64 digits, and are
# compared by the mean energy of held-out digits.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrlv import SparseCoder, sparse_encode
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.learning import gradient_step, minibatches, unit_rows
from skrlv.regularizers import L1

X = load_digits().data / 16
train, test = X[:-600], X[-600:]
start, lmbda, n_passes = unit_rows(train[:64])[0], 0.3, 30


def held_out(atoms):
    """Mean energy of the test digits."""
    return Energy(Dictionary(atoms), L1(), lmbda)(test, sparse_encode(test, atoms, lmbda)).mean()


# %%
# The algorithm of the lecture, with batches of 128 digits. The generator yields the atoms after each pass.


def gradient_steps(learning_rate, batch_size=128):
    energy, rng = Energy(Dictionary(start), L1(), lmbda), np.random.RandomState(0)
    for _ in range(n_passes):
        for rows in minibatches(len(train), batch_size, rng):
            z = sparse_encode(train[rows], energy.decoder.atoms, lmbda)  # infer
            energy = gradient_step(energy, train[rows], z, learning_rate=learning_rate)  # step, normalise
        yield energy.decoder.atoms


# %%
# Sufficient statistics, from the same batches. With all digits in one batch there is one update per pass, and the
# statistics of earlier passes are discarded.


def statistics_of_batches(batch_size=128):
    coder, rng = SparseCoder(lmbda=lmbda, dictionary_init=start), np.random.RandomState(0)
    for _ in range(n_passes):
        for rows in minibatches(len(train), batch_size, rng):
            coder.partial_fit(train[rows])
        yield coder.components_


def statistics_of_all():
    atoms = start
    for _ in range(n_passes):
        coder = SparseCoder(lmbda=lmbda, dictionary_init=atoms, batch_size=len(train), max_iter=1)
        atoms = coder.fit(train).components_
        yield atoms


learners = {
    "gradient, rate 0.1": gradient_steps(0.1),
    "gradient, rate 1": gradient_steps(1.0),
    "gradient, rate 10": gradient_steps(10.0),
    "statistics, full batch": statistics_of_all(),
    "statistics, batches": statistics_of_batches(),
}
energies = {name: [held_out(start), *map(held_out, learner)] for name, learner in learners.items()}
print("mean held-out energy after passes       1       3      10      30")
for name, energy in energies.items():
    print(f"{name:33}" + "".join(f"{energy[passes]:8.3f}" for passes in (1, 3, 10, 30)))

# %%
# A small learning rate is slow and a large one oscillates. Which rates are too small or too large depends on the size
# of the codes, and so on the data and on lmbda. The statistics need no tuning.
#
# Normalisation is necessary because only codes are penalised. If the norm of the atoms doubles, codes half as large
# give the same reconstruction. Without normalisation each step therefore increases the norms of the atoms, the codes
# shrink, and the penalty that should make them sparse loses its effect.

atoms, rng = start, np.random.RandomState(0)
norms, codes, densities = [], [], []
for _ in range(n_passes):
    z = sparse_encode(train, atoms, lmbda)
    norms.append(np.linalg.norm(atoms, axis=1).mean())
    codes.append(np.abs(z).sum(axis=1).mean())
    densities.append(np.mean(z != 0))
    for rows in minibatches(len(train), 128, rng):
        z = sparse_encode(train[rows], atoms, lmbda)
        atoms = atoms + z.T @ (train[rows] - z @ atoms) / len(rows)
print("\nwithout normalisation, at pass:         1      10      30")
for name, values in (("norm of atoms", norms), ("L1 norm of codes", codes), ("density of codes", densities)):
    print(f"{name:33}" + "".join(f"{values[passes]:8.2f}" for passes in (0, 9, 29)))

# %%
# Left: held-out energy of all algorithms. Right: gradient steps without normalisation.

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=(3, 2))
for (name, energy), style in zip(energies.items(), ("C0:", "C0-", "C0--", "C1--", "C1-"), strict=True):
    left.plot(energy, style, label=name)
left.set(xlabel="passes over the data", ylabel="mean held-out energy")
left.legend()
right.plot(norms, "C3-", label="mean norm of atoms")
right.plot(np.array(codes) / codes[0], "C2-", label="L1 norm of codes, relative to the first")
right.set(title="without normalisation", xlabel="passes over the data", ylim=(0, None))
right.legend()
plt.show()
