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

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from skrlv._arrays import double, is_numpy, namespace, sum_per_sample, to_device_of, to_numpy
from skrlv._threads import each_block, row_blocks
from skrlv.bound import divergence
from skrlv.learning.adam import Descent, adam_step
from skrlv.learning.held_out import ROWS_AT_ONCE, HeldOutLearner
from skrlv.learning.minibatches import minibatches

MIN_ROWS, MAX_ROWS = 64, 128  # of a batch that one thread takes


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
        Share of beta in the gradients; the losses have all of it.
    free_bits : float, default=0.0
        Nats per entry of the code that the KL term does not count: an entry whose mean KL over the batch is below has
        no gradient of it.

    Returns
    -------
    Slopes
        (losses, divergences, gradients).
    """
    n_samples = y.shape[0]
    kl_weight = warmth * bound.beta / n_samples
    if free_bits:
        total = sum(_each(lambda rows: _column_sums(divergence(*bound.encoder(y[rows, :]))), y))
        kl_weight = kl_weight * namespace(y).astype(total / n_samples > free_bits, y.dtype)
    blocks = _each(lambda rows: _slopes_of_block(bound, y[rows, :], noise[rows, :], kl_weight, n_samples), y)
    losses, divergences, gradients = zip(*blocks, strict=True)
    return Slopes(namespace(y).concat(losses), sum(divergences) / n_samples, _added(gradients))


@np.errstate(over="ignore", invalid="ignore")  # a loss that diverged shows in its value
def _slopes_of_block(bound, y, noise, kl_weight, n_samples):
    """Some rows of a batch of ``n_samples``: losses, sums of divergences, and their share of the gradients."""
    xp = namespace(y)
    (mean, log_variance), tape = bound.encoder.forward(y)
    spread = xp.exp(0.5 * log_variance)
    decoded, decoder_tape = bound.decoder.forward(mean + spread * noise)
    costs, apart = bound.cost(y, decoded), divergence(mean, log_variance)
    dz, decoder = bound.decoder.vjp(decoder_tape, bound.cost.grad(y, decoded) / n_samples)
    slopes = dz + kl_weight * mean, 0.5 * dz * noise * spread + 0.5 * kl_weight * (spread**2 - 1.0)
    parts = {
        "encoder": bound.encoder.vjp(tape, slopes),
        "decoder": decoder,
        "cost": {name: value / n_samples for name, value in bound.cost.gradients(y, costs).items()},
    }
    gradients = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
    return costs + bound.beta * sum_per_sample(apart), _column_sums(apart), gradients


def _each(work, y):
    """The blocks of a batch in threads, cut the same way whatever their number; a device takes it as a whole."""
    n_rows = y.shape[0]
    if is_numpy(y):
        return each_block(work, n_rows, size=min(max(-(-n_rows // 2), MIN_ROWS), MAX_ROWS))
    return [work(slice(0, n_rows))]


def _added(gradients):
    """The sum of the blocks' shares, by name, in threads too."""
    names = list(gradients[0])
    if len(gradients) == 1:
        return gradients[0]
    return dict(
        zip(names, each_block(lambda turn: _total(gradients, names[turn.start]), len(names), size=1), strict=True)
    )


def _total(gradients, name):
    first, *others = (part[name] for part in gradients)
    return sum(others, start=first)


def _column_sums(x):
    xp = namespace(x)
    return xp.sum(x, axis=0, dtype=xp.float64)


def _sum(x):
    return namespace(x).sum(x)


class VariationalStream:
    """A `Streamer`: one step of Adam per batch.

    If the loss is not finite no step is taken, and all that follow are a tenth as large; the same holds if the step
    itself would give parameters that are not finite.

    Parameters
    ----------
    bound : VariationalBound
        To begin with.
    state : LearningState
        Of earlier steps.
    rng : numpy.random.RandomState
        Draws noise.
    rate : float
        Learning rate.
    warmth, free_bits : float
        As in `variational_slopes`.
    """

    def __init__(self, bound, state, rng, *, rate, warmth=1.0, free_bits=0.0):
        self.energy, self.state, self._rng = bound, state, rng
        self._rate, self._warmth, self._free_bits, self._loss = rate, warmth, free_bits, 0.0

    def step(self, y):
        bound, adam = self.energy, self.state.adam.on_device_of(y)
        noise = to_device_of(self._rng.standard_normal((y.shape[0], bound.encoder.n_components)), y)
        slopes = variational_slopes(bound, y, noise, warmth=self._warmth, free_bits=self._free_bits)
        moments, moved = adam_step(
            adam.moments, bound.parameters, slopes.gradients, self._rate * adam.rate_factor,
            dict.fromkeys(bound.parameters, 1.0),
        )  # fmt: skip
        sums = [float(_sum(slopes.losses)), *(float(_sum(value)) for value in moved.values())]
        if np.isfinite(sums).all():
            self.energy, adam = bound.with_parameters(moved), adam._replace(moments=moments).on_host()
        else:
            adam = adam.slowed()
        state = self.state.recorded(divergence=to_numpy(slopes.divergences).sum())
        self.state = state._replace(
            n_steps=state.n_steps + 1, adam=adam, summary=summarize_posteriors(self.energy, [y])
        )
        self._loss = float(to_numpy(slopes.losses).mean())
        return self._loss

    @property
    def complaint(self):
        if math.isfinite(self._loss):
            return None
        return (
            "The loss of the batch is not finite, and no step was taken; the rate falls to "
            f"{self.state.adam.rate_factor * self._rate:.1g}. Lower learning_rate_init, or scale the data."
        )


class VariationalLearner(HeldOutLearner):
    """Adam on mini-batches, see `Descent`, evaluated by the loss at one fixed draw for each row held out.

    Parameters
    ----------
    bound : VariationalBound
        To begin with.
    state : LearningState
        Of earlier passes.
    load : callable
        rows -> y: some rows, on the device.
    n_samples : int
        Number of rows.
    origin : float
        What the unit of the data adds to the loss: losses are compared by what exceeds it.
    batch_size, rate, tol, patience
        As for `Descent`.
    warmup : float
        Passes over which beta rises from 0; nothing is evaluated before their end.
    free_bits : float
        As in `variational_slopes`.
    validation_fraction, rng
        As for `HeldOutLearner`; rng draws noise for the rows held out as well.
    """

    def __init__(
        self, bound, state, load, n_samples, *, origin, batch_size, rate, tol, patience, warmup, free_bits,
        validation_fraction, rng,
    ):  # fmt: skip
        super().__init__(n_samples, state, validation_fraction=validation_fraction, rng=rng)
        self._load, self._given, self._n_samples = load, bound, n_samples
        self._batch_size, self._warmup, self._free_bits = batch_size, warmup, free_bits
        self._noise = rng.standard_normal((len(self._held_out), bound.encoder.n_components))
        n_features = load(self._held_out[:1]).shape[1]
        first = self._mean_loss(bound) - origin
        self._origin, self._unit = origin, max(abs(first), float(n_features))
        self._descent = Descent(
            bound.parameters, first / self._unit, rate=rate, units=dict.fromkeys(bound.parameters, 1.0), tol=tol,
            patience=patience, least=1.0 / self._unit,
        )  # fmt: skip
        self._stops = tol > 0.0

    @property
    def state(self):
        """With a summary of the posteriors of all rows, made when it is asked for."""
        if self._kept.n_steps and not self._kept.summary:
            blocks = (
                self._load(np.arange(self._n_samples)[part]) for part in row_blocks(self._n_samples, ROWS_AT_ONCE)
            )
            self._kept = self._kept._replace(summary=summarize_posteriors(self.energy, blocks))
        return self._kept

    @property
    def energy(self):
        """The bound with the best parameters so far; with the last ones while nothing is evaluated yet."""
        warm = self.n_steps >= self._warmup
        return self._given.with_parameters(self._descent.best if warm else self._descent.parameters)

    def run_pass(self, rng, report):
        descent = self._descent
        batches = list(minibatches(len(self._learned_from), self._batch_size, rng))
        spent, diverged = self._steps(batches, rng, report)
        loss = self._mean_loss(self._given.with_parameters(descent.parameters))
        self._record(validation_loss=loss, divergence=diverged / len(self._learned_from))
        if self.n_steps >= self._warmup:
            descent.evaluate((loss - self._origin) / self._unit)
        return spent / len(self._learned_from)

    def _steps(self, batches, rng, report):
        """One step per batch: -> summed losses before it, and summed divergences."""
        descent, spent, diverged = self._descent, 0.0, 0.0
        for i, batch in enumerate(batches):
            y = self._load(self._learned_from[batch])
            noise = to_device_of(rng.standard_normal((len(batch), self._given.encoder.n_components)), y)
            bound = self._given.with_parameters(descent.parameters)
            slopes = variational_slopes(
                bound, y, noise, warmth=self._warmth(i / len(batches)), free_bits=self._free_bits
            )  # fmt: skip
            loss = float(_sum(slopes.losses)) / len(batch)
            # a batch may hold outliers: whether the loss diverges is evaluated on the rows held out alone
            descent.step(0.0 if math.isfinite(loss) else math.inf, slopes.gradients, self._allowed)
            spent += loss * len(batch)
            diverged += float(_sum(slopes.divergences)) * len(batch)
            report(loss * len(batch), len(batch))
        return spent, diverged

    def settled(self, history):
        return self._stops and self._descent.settled

    @property
    def complaint(self):
        if self._descent.complaint:
            return self._descent.complaint
        if self.n_steps < self._warmup:
            return f"Training stopped after {self.n_steps} passes, before the KL warm-up was over. Raise max_iter."
        if self._stops and not self._descent.settled:
            return (
                f"The loss on held-out rows, at last {self._kept.histories['validation_loss'][-1]:.6g}, still fell "
                f"after {self.n_steps} passes. Raise max_iter, or set tol=0 if so many passes are meant."
            )
        return None

    def _allowed(self, parameters):
        return self._given.with_parameters(parameters).parameters

    def _warmth(self, share_of_pass):
        """Share of beta, which rises steadily during warm-up."""
        return min(1.0, (self.n_steps + share_of_pass) / self._warmup) if self._warmup else 1.0

    def _mean_loss(self, bound):
        def loss(part):
            y = self._load(self._held_out[part])
            noise = to_device_of(self._noise[part], y)
            return sum(_each(partial(_summed_loss, bound, y, noise), y))

        return self._mean_over_held_out(loss)


@np.errstate(over="ignore", invalid="ignore")
def _summed_loss(bound, y, noise, rows):
    return float(_sum(bound.loss(y[rows, :], noise[rows, :])))


@np.errstate(over="ignore", invalid="ignore")  # of a model that has diverged
def summarize_posteriors(bound, blocks):
    """The mean KL of each entry of the code, and the variance of its means, over blocks of rows."""
    n_rows, divergences, sums, squares = 0, 0.0, 0.0, 0.0
    for y in blocks:
        mean, log_variance = bound.encoder(y)
        n_rows += y.shape[0]
        divergences = divergences + to_numpy(_column_sums(divergence(mean, log_variance)))
        sums, squares = sums + to_numpy(_column_sums(mean)), squares + to_numpy(_column_sums(double(mean) ** 2))
    variance = np.maximum(squares / n_rows - (sums / n_rows) ** 2, 0.0)
    return {"kl_per_unit": divergences / n_rows, "variance_of_means": variance}
