r"""How a variational autoencoder learns: down the gradient of its loss, through the draw of the codes.

.. math:: z = \mu + \sigma \odot e, \qquad
    \frac{\partial L}{\partial \mu} = \frac{\partial C}{\partial z} + \beta \mu, \qquad
    \frac{\partial L}{\partial \log \sigma^2} = \frac12 \frac{\partial C}{\partial z} \odot e \odot \sigma
    + \frac{\beta}{2} (\sigma^2 - 1)

References
----------
Kingma, Welling, Auto-Encoding Variational Bayes, 2014. Sonderby et al., Ladder Variational Autoencoders, 2016. Kingma
et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from skrlv._arrays import double, is_numpy, namespace, sum_per_sample, to_numpy
from skrlv._threads import each_block, row_blocks
from skrlv.bound import divergence
from skrlv.learning.descent import Descent, adam_step, moments_of, with_moments, without_moments
from skrlv.learning.minibatches import minibatches

ROWS_PER_BLOCK = 128  # of a batch: each is one thread's
ROWS_AT_ONCE = 1024


class Slopes(NamedTuple):
    """What `variational_slopes` gives."""

    losses: Any  # (n_samples,), float64: L of each row
    divergences: Any  # (n_components,), float64: KL of each entry of the code, the mean over rows
    gradients: dict  # of the mean loss, by the names of `VariationalBound.parameters`


def variational_slopes(bound, y, noise, *, warmth=1.0, free_bits=0.0):
    r"""The loss of a batch and its gradients, at one draw of the codes.

    Parameters
    ----------
    bound : VariationalBound
        The loss.
    y : array of shape (n_samples, n_features)
        The batch.
    noise : array of shape (n_samples, n_components)
        e, from N(0, I).
    warmth : float, default=1.0
        Share of beta that the gradients feel; the losses have all of it.
    free_bits : float, default=0.0
        Nats per entry of the code that no spring pulls at: where the mean KL of an entry over the batch is below, its
        KL has no gradient.

    Returns
    -------
    Slopes
        (losses, divergences, gradients).
    """
    n_samples, pull = y.shape[0], warmth * bound.beta / y.shape[0]

    def predict(rows):
        return bound.encoder.forward(y[rows, :])

    def learn(rows):
        (mean, log_variance), tape = forward[rows.start // ROWS_PER_BLOCK]
        return _slopes_of_block(bound, y[rows, :], noise[rows, :], mean, log_variance, tape, spring, n_samples)

    forward = _each(predict, y)
    total = sum(_column_sums(divergence(*pair)) for pair, _ in forward)
    spring = pull * _as(total / n_samples > free_bits, y) if free_bits else pull
    losses, gradients = zip(*_each(learn, y), strict=True)
    together = {name: reduce(_plus, (part[name] for part in gradients)) for name in gradients[0]}
    return Slopes(namespace(y).concat(losses), total / n_samples, together)


def _slopes_of_block(bound, y, noise, mean, log_variance, tape, spring, n_samples):
    """Losses of some rows of a batch of ``n_samples``, and their share of its gradients."""
    xp = namespace(y)
    spread = xp.exp(0.5 * log_variance)
    decoded, decoder_tape = bound.decoder.forward(mean + spread * noise)
    costs = bound.cost(y, decoded)
    dz, decoder = bound.decoder.vjp(decoder_tape, bound.cost.grad(y, decoded) / n_samples)
    slopes = dz + spring * mean, 0.5 * dz * noise * spread + 0.5 * spring * (spread**2 - 1.0)
    parts = {
        "encoder": bound.encoder.vjp(tape, slopes),
        "decoder": decoder,
        "cost": {name: value / n_samples for name, value in bound.cost.gradients(y, costs).items()},
    }
    losses = costs + bound.beta * sum_per_sample(divergence(mean, log_variance))
    return losses, {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}


def _each(work, y):
    """The blocks of a batch in threads; a device takes it as a whole."""
    if is_numpy(y):
        return each_block(work, y.shape[0], size=ROWS_PER_BLOCK)
    return [work(slice(0, y.shape[0]))]


def _column_sums(x):
    xp = namespace(x)
    return xp.sum(x, axis=0, dtype=xp.float64)


def _sum(x):
    return namespace(x).sum(x)


def _as(x, like):
    return namespace(like).astype(x, like.dtype)


def _plus(a, b):
    return a + b


def variational_step(state, bound, y, noise, *, rate, warmth=1.0, free_bits=0.0):
    """One step of Adam on one batch of a stream: -> (state, bound, the mean loss before it).

    Where the loss is not finite no step is taken, and all that follow are a tenth as large; so they are where the
    step itself would leave what is finite.
    """
    slopes = variational_slopes(bound, y, noise, warmth=warmth, free_bits=free_bits)
    loss, shrunk = float(_sum(slopes.losses)) / y.shape[0], state.get("slower", 1.0)
    moments, moved = adam_step(
        moments_of(state, y), bound.parameters, slopes.gradients, rate * shrunk, dict.fromkeys(bound.parameters, 1.0)
    )
    if not np.isfinite([loss, *(float(_sum(value)) for value in moved.values())]).all():
        return without_moments(state) | {"slower": 0.1 * shrunk}, bound, loss
    return with_moments(state, moments) | {"slower": shrunk}, bound.with_parameters(moved), loss


class VariationalLearner:
    """Adam on mini-batches, see `Descent`, judged by the loss at one fixed draw for each row that is held out.

    Parameters
    ----------
    bound : VariationalBound
        To begin with.
    load : callable
        rows -> y: some rows, on the device.
    place : callable
        A NumPy array -> the same on the device, in the dtype of the data.
    n_samples : int
        Rows in all.
    origin : float
        What the loss gains by the unit of the data alone: losses are told apart by what is above it.
    batch_size, rate, tol, patience
        Of `Descent`.
    warmup : float
        Passes over which beta rises from 0; before their end nothing is judged.
    free_bits : float
        As in `variational_slopes`.
    validation_fraction : float
        Share of the rows held out; all judge where it is none of them.
    rng : numpy.random.RandomState
        Draws these, the batches and the noise.
    """

    def __init__(
        self, bound, load, place, n_samples, *, origin, batch_size, rate, tol, patience, warmup, free_bits,
        validation_fraction, rng,
    ):  # fmt: skip
        self._load, self._place, self._given, self._n_samples = load, place, bound, n_samples
        self._batch_size, self._warmup, self._free_bits = batch_size, warmup, free_bits
        order = rng.permutation(n_samples)
        n_held_out = min(round(validation_fraction * n_samples), n_samples - 1)
        self._learned_from, self._judged_by = order[n_held_out:], order[:n_held_out] if n_held_out else order
        self._noise = rng.standard_normal((len(self._judged_by), bound.encoder.n_components))
        n_features = load(order[:1]).shape[1]
        first = self._mean_loss(bound) - origin
        self._origin, self._unit = origin, max(abs(first), float(n_features))
        self._descent = Descent(
            bound.parameters, first / self._unit, rate=rate, units=dict.fromkeys(bound.parameters, 1.0), tol=tol,
            patience=patience, least=1.0 / self._unit,
        )  # fmt: skip
        self._losses, self._divergences, self._n_passes = [], [], 0
        self._stops = tol > 0.0

    @property
    def energy(self):
        """The bound with the best parameters so far; with the last ones while nothing is judged yet."""
        warm = self._n_passes >= self._warmup
        return self._given.with_parameters(self._descent.best if warm else self._descent.parameters)

    @property
    def state(self):
        """What was seen so far, and what the best balls look like; nothing before the first pass has ended."""
        if not self._losses:
            return {}
        kept = {"validation_loss": np.asarray(self._losses), "divergence": np.asarray(self._divergences)}
        return kept | looks(
            self.energy, (self._load(np.arange(self._n_samples)[part]) for part in _blocks(self._n_samples))
        )

    def run_pass(self, rng):
        """One pass over the rows: -> mean loss, each batch before its step."""
        descent, lost, diverged = self._descent, 0.0, 0.0
        batches = list(minibatches(len(self._learned_from), self._batch_size, rng))
        for i, batch in enumerate(batches):
            noise = self._place(rng.standard_normal((len(batch), self._given.encoder.n_components)))
            bound = self._given.with_parameters(descent.parameters)
            slopes = variational_slopes(
                bound, self._load(self._learned_from[batch]), noise, warmth=self._warmth(i / len(batches)),
                free_bits=self._free_bits,
            )  # fmt: skip
            loss = float(_sum(slopes.losses)) / len(batch)
            descent.step((loss - self._origin) / self._unit, slopes.gradients, self._allowed)
            lost += loss * len(batch)
            diverged += float(_sum(slopes.divergences)) * len(batch)
        self._n_passes += 1
        loss = self._mean_loss(self._given.with_parameters(descent.parameters))
        if self._n_passes >= self._warmup:
            descent.judge((loss - self._origin) / self._unit)
        self._losses.append(loss)
        self._divergences.append(diverged / len(self._learned_from))
        return lost / len(self._learned_from)

    def settled(self, history, tol):
        """Whether there is nothing more to gain; never for tol = 0."""
        return self._stops and self._descent.settled

    @property
    def complaint(self):
        """What went wrong, if anything, and what to change."""
        descent = self._descent
        if descent.n_rollbacks:
            return (
                f"The loss grew without bounds {descent.n_rollbacks} times; each time learning went on from the best "
                f"weights at a tenth of the rate, at last {descent.rate:.1g}. Lower learning_rate_init."
            )
        if self._n_passes < self._warmup:
            return f"Learning ended after {self._n_passes} passes, before beta had its whole value. Raise max_iter."
        if self._stops and not descent.settled:
            return (
                f"The loss on held-out rows, at last {self._losses[-1]:.6g}, still fell after {self._n_passes} passes. "
                "Raise max_iter, or set tol=0 where so many passes are meant."
            )
        return None

    def _allowed(self, parameters):
        return self._given.with_parameters(parameters).parameters

    def _warmth(self, share_of_pass):
        """Share of beta, which rises steadily during warm-up."""
        return min(1.0, (self._n_passes + share_of_pass) / self._warmup) if self._warmup else 1.0

    def _mean_loss(self, bound):
        """On the rows held out."""
        total = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for part in _blocks(len(self._judged_by)):
                y, noise = self._load(self._judged_by[part]), self._place(self._noise[part])
                total += sum(float(x) for x in _each(lambda rows: _sum(bound.loss(y[rows, :], noise[rows, :])), y))  # noqa: B023
        return total / len(self._judged_by)


def looks(bound, blocks):
    """How the balls of blocks of rows lie: the mean KL of each entry, and how far their middles vary."""
    n_rows, divergences, sums, squares = 0, 0.0, 0.0, 0.0
    for y in blocks:
        for mean, log_variance in _each(lambda rows: bound.encoder(y[rows, :]), y):  # noqa: B023
            n_rows += mean.shape[0]
            divergences = divergences + to_numpy(_column_sums(divergence(mean, log_variance)))
            sums, squares = sums + to_numpy(_column_sums(mean)), squares + to_numpy(_column_sums(double(mean) ** 2))
    variance = np.maximum(squares / n_rows - (sums / n_rows) ** 2, 0.0)
    return {"kl_per_unit": divergences / n_rows, "variance_of_means": variance}


def _blocks(n_rows):
    return row_blocks(n_rows, ROWS_AT_ONCE)
