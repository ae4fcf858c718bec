r"""
Learning: gradient steps, or statistics?
========================================

The lecture learns a dictionary in three lines: infer the codes of a batch, move the atoms one step down the gradient,
normalise them. How long should the step be? `SparseCoder` need not know. It sums what codes and data have to say of the
atoms over many batches, and goes to the minimum of that. Here both learn strokes of digits from the same start, and
then the last of the three lines is left out.
"""

# %%
# Digits of 8 by 8 pixels, 64 atoms, and the mean energy of digits that were not learned from. Learning starts at
# the first 64 digits.

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
# The lecture's algorithm, with batches of 128 digits. Each pass yields the atoms that it ends with.


def gradient_steps(learning_rate, batch_size=128):
    energy, rng = Energy(Dictionary(start), L1(), lmbda), np.random.RandomState(0)
    for _ in range(n_passes):
        for rows in minibatches(len(train), batch_size, rng):
            z = sparse_encode(train[rows], energy.decoder.atoms, lmbda)  # infer
            energy = gradient_step(energy, train[rows], z, learning_rate=learning_rate)  # step, normalise
        yield energy.decoder.atoms


# %%
# Statistics, from the same batches. With all digits in one batch there is one step per pass, and nothing of earlier
# passes counts.


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
# A small step is slow and a large one jumps about, and which is which depends on the size of the codes, so on the data
# and on lmbda. The statistics have nothing to tune.
#
# Why normalise? Only codes have a price. Atoms twice as long need codes half as large for the same digit, so without
# the last line each step lengthens the atoms, the codes shrink, and the price that was to make them sparse fades away.

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
# Left, all learners; right, the failure.

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=(3, 2))
for (name, energy), style in zip(energies.items(), ("C0:", "C0-", "C0--", "C1--", "C1-"), strict=True):
    left.plot(energy, style, label=name)
left.set(xlabel="passes over the data", ylabel="mean held-out energy")
left.legend()
right.plot(norms, "C3-", label="mean norm of atoms")
right.plot(np.array(codes) / codes[0], "C2-", label="L1 norm of codes, share of the first")
right.set(title="without normalisation", xlabel="passes over the data", ylim=(0, None))
right.legend()
plt.show()
