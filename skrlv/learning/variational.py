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

from skrlv._arrays import double, is_numpy, namespace, sum_per_sample, to_numpy
from skrlv._threads import each_block, one_blas_thread, row_blocks
from skrlv.bound import divergence
from skrlv.learning.adam import Descent, adam_step, moments_of, with_moments, without_moments
from skrlv.learning.minibatches import minibatches

FEWEST_ROWS, MOST_ROWS = 64, 128  # of a batch that one thread takes
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
    n_samples = y.shape[0]
    spring = warmth * bound.beta / n_samples
    if free_bits:
        total = sum(_each(lambda rows: _column_sums(divergence(*bound.encoder(y[rows, :]))), y))
        spring = spring * namespace(y).astype(total / n_samples > free_bits, y.dtype)
    blocks = _each(lambda rows: _slopes_of_block(bound, y[rows, :], noise[rows, :], spring, n_samples), y)
    losses, divergences, gradients = zip(*blocks, strict=True)
    return Slopes(namespace(y).concat(losses), sum(divergences) / n_samples, _added(gradients))


@np.errstate(over="ignore", invalid="ignore")  # a loss that is lost is told by its value
def _slopes_of_block(bound, y, noise, spring, n_samples):
    """Some rows of a batch of ``n_samples``: losses, sums of divergences, and their share of the gradients."""
    xp = namespace(y)
    (mean, log_variance), tape = bound.encoder.forward(y)
    spread = xp.exp(0.5 * log_variance)
    decoded, decoder_tape = bound.decoder.forward(mean + spread * noise)
    costs, apart = bound.cost(y, decoded), divergence(mean, log_variance)
    dz, decoder = bound.decoder.vjp(decoder_tape, bound.cost.grad(y, decoded) / n_samples)
    slopes = dz + spring * mean, 0.5 * dz * noise * spread + 0.5 * spring * (spread**2 - 1.0)
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
        return each_block(work, n_rows, size=min(max(-(-n_rows // 2), FEWEST_ROWS), MOST_ROWS))
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


def variational_step(state, bound, y, noise, *, rate, warmth=1.0, free_bits=0.0):
    """One step of Adam on one batch of a stream: -> (state, bound, the `Slopes` before it).

    Where the loss is not finite no step is taken, and all that follow are a tenth as large; so they are where the
    step itself would leave what is finite.
    """
    slopes = variational_slopes(bound, y, noise, warmth=warmth, free_bits=free_bits)
    shrunk = state.get("slower", 1.0)
    moments, moved = adam_step(
        moments_of(state, y), bound.parameters, slopes.gradients, rate * shrunk, dict.fromkeys(bound.parameters, 1.0)
    )
    if not np.isfinite([float(_sum(slopes.losses)), *(float(_sum(value)) for value in moved.values())]).all():
        return without_moments(state) | {"slower": 0.1 * shrunk}, bound, slopes
    return with_moments(state, moments) | {"slower": shrunk}, bound.with_parameters(moved), slopes


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
        descent = self._descent
        batches = list(minibatches(len(self._learned_from), self._batch_size, rng))
        with one_blas_thread():  # once for all steps
            lost, diverged = self._steps(batches, rng)
        self._n_passes += 1
        loss = self._mean_loss(self._given.with_parameters(descent.parameters))
        if self._n_passes >= self._warmup:
            descent.judge((loss - self._origin) / self._unit)
        self._losses.append(loss)
        self._divergences.append(diverged / len(self._learned_from))
        return lost / len(self._learned_from)

    def _steps(self, batches, rng):
        """One step per batch: -> losses before it, and divergences, of all rows together."""
        descent, lost, diverged = self._descent, 0.0, 0.0
        for i, batch in enumerate(batches):
            noise = self._place(rng.standard_normal((len(batch), self._given.encoder.n_components)))
            bound = self._given.with_parameters(descent.parameters)
            slopes = variational_slopes(
                bound, self._load(self._learned_from[batch]), noise, warmth=self._warmth(i / len(batches)),
                free_bits=self._free_bits,
            )  # fmt: skip
            loss = float(_sum(slopes.losses)) / len(batch)
            # a batch may hold what is unlike the rows held out: whether the loss grows is for these to say
            descent.step(0.0 if math.isfinite(loss) else math.inf, slopes.gradients, self._allowed)
            lost += loss * len(batch)
            diverged += float(_sum(slopes.divergences)) * len(batch)
        return lost, diverged

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
        for part in _blocks(len(self._judged_by)):
            y, noise = self._load(self._judged_by[part]), self._place(self._noise[part])
            total += sum(_each(partial(_summed_loss, bound, y, noise), y))
        return total / len(self._judged_by)


@np.errstate(over="ignore", invalid="ignore")
def _summed_loss(bound, y, noise, rows):
    return float(_sum(bound.loss(y[rows, :], noise[rows, :])))


def looks(bound, blocks):
    """How the balls of blocks of rows lie: the mean KL of each entry, and how far their middles vary."""
    n_rows, divergences, sums, squares = 0, 0.0, 0.0, 0.0
    for y in blocks:
        mean, log_variance = bound.encoder(y)
        n_rows += y.shape[0]
        divergences = divergences + to_numpy(_column_sums(divergence(mean, log_variance)))
        sums, squares = sums + to_numpy(_column_sums(mean)), squares + to_numpy(_column_sums(double(mean) ** 2))
    variance = np.maximum(squares / n_rows - (sums / n_rows) ** 2, 0.0)
    return {"kl_per_unit": divergences / n_rows, "variance_of_means": variance}


def _blocks(n_rows):
    return row_blocks(n_rows, ROWS_AT_ONCE)
