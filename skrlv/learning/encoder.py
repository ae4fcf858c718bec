"""Learning an encoder for given atoms: many weights by Adam, few numbers by quasi-Newton."""

import math
from abc import abstractmethod
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import minimize

from skrlv._arrays import is_numpy, squares_per_sample, to_device_of, to_numpy, zeros
from skrlv._threads import each_block
from skrlv.learning.adam import Descent
from skrlv.learning.held_out import HeldOutLearner
from skrlv.learning.minibatches import minibatches

MOST_ROWS_FOR_NUMBERS = 1000
STEPS_PER_LAYER, STEPS_TOGETHER, TRIALS = 12, 20, 80
GAIN, GAIN_OF_CODES = 1e-3, 0.05  # share of energies, of errors of codes, that a pass must gain for another to follow
HIGHER_THRESHOLDS = (1.0, 3.0, 10.0, 100.0)  # from which a simplex may begin
TIGHTER = 0.8  # the threshold of a new layer, as a share of the last one's


def prediction_loss(energy, y, z, target):
    """Loss per sample and its slope in z: half the squared error to the target codes, or without them the energy."""
    if target is None:
        return energy(y, z), energy.slope(y, z)
    return 0.5 * squares_per_sample(z - target), z - target


def rms_norm(decoder):
    """Of the atoms: the unit of the data is that of codes times this."""
    return float(to_numpy(decoder.squared_norms).mean()) ** 0.5


class EncoderLearner(HeldOutLearner):
    """A `Learner` of an encoder that predicts target codes, or codes of low energy.

    Parameters
    ----------
    energy : Energy
        With the encoder to begin with.
    load : callable
        rows -> (y, target): some rows, on the device, and their target codes or None.
    n_samples, state, validation_fraction, rng
        As for `HeldOutLearner`.
    """

    def __init__(self, energy, load, n_samples, *, state, validation_fraction, rng):
        super().__init__(n_samples, state, validation_fraction=validation_fraction, rng=rng)
        self._load, self._given = load, energy
        self._unit = self._mean_loss(lambda y: zeros((y.shape[0], *energy.decoder.code_shape), like=y)) or 1.0
        self._first_loss = self._mean_loss(energy.encoder) / self._unit

    @property
    @abstractmethod
    def best(self):
        """The best encoder so far."""

    @property
    def energy(self):
        """The energy with the best encoder so far."""
        return replace(self._given, encoder=self.best)

    @property
    def complaint(self):
        losses = self.state.histories["validation_loss"]
        if losses.min() < self._unit:
            return None
        return (
            "The predictions are no better than codes of zero. Exact codes may be zero (lower lmbda), or the "
            "architecture may not suit these atoms: 'alista' and 'hyperlista' need incoherent ones."
        )

    def _mean_loss(self, encoder):
        def loss(part):
            y, target = self._load(self._held_out[part])
            return float(prediction_loss(self._given, y, encoder(y), target)[0].sum())

        return self._mean_over_held_out(loss)

    def _of_mean(self, slope):
        """The slope of the mean loss in its unit, which divided at once could leave float32."""
        root = 2.0 ** (math.frexp(self._unit)[1] // 2)
        return slope / root / (len(slope) * self._unit / root)

    def _spent(self, y, z):
        return float(self._given(y, z).sum())


class WeightLearner(EncoderLearner):
    """Many weights, by Adam on mini-batches, see `Descent`."""

    def __init__(self, energy, load, n_samples, *, rate, data_unit, tol, patience, batch_size, **split):
        super().__init__(energy, load, n_samples, **split)
        encoder = self._encoder = energy.encoder
        units = encoder.scales(data_unit, data_unit / rms_norm(energy.decoder))
        self._batch_size = batch_size
        self._descent = Descent(
            encoder.parameters, self._first_loss, rate=rate, units=units, tol=tol, patience=patience
        )

    @property
    def best(self):
        return self._encoder.with_parameters(self._descent.best)

    def run_pass(self, rng, report):
        descent, spent = self._descent, 0.0
        for batch in minibatches(len(self._learned_from), self._batch_size, rng):
            y, target = self._load(self._learned_from[batch])
            encoder = self._encoder.with_parameters(descent.parameters)
            z, tape = encoder.forward(y)
            losses, slope = prediction_loss(self._given, y, z, target)
            tasks = (partial(encoder.vjp, tape, self._of_mean(slope)), partial(self._spent, y, z))
            n_jobs = None if is_numpy(y) else 1  # the two need nothing of each other
            gradients, energy = each_block(lambda at, tasks=tasks: tasks[at.start](), 2, n_jobs, size=1)
            descent.step(float(losses.mean()) / self._unit, gradients, self._allowed)
            spent += energy
            report(energy, len(batch))
        loss = self._mean_loss(self._encoder.with_parameters(descent.parameters)) / self._unit
        descent.evaluate(loss)
        self._record(validation_loss=loss * self._unit)
        return spent / len(self._learned_from)

    def settled(self, history):
        return self._descent.settled

    @property
    def complaint(self):
        return self._descent.complaint or super().complaint

    def _allowed(self, parameters):
        return self._encoder.with_parameters(parameters).parameters


class NumberLearner(EncoderLearner):
    """A few numbers per layer: layer by layer, each begun at the last one's numbers, then all together.

    Quasi-Newton on up to 1,000 rows, which is soon done, and needs no rate. Numbers without a slope
    (those of HyperLISTA) are searched for by a simplex.
    """

    def __init__(self, energy, load, n_samples, *, data_unit, **split):
        super().__init__(energy, load, n_samples, **split)
        self._units = energy.encoder.scales(data_unit, data_unit / rms_norm(energy.decoder))
        self._best = self._latest = energy.encoder
        self._best_loss = self._last_loss = self._first_loss
        self._y, self._target = load(np.sort(self._learned_from[:MOST_ROWS_FOR_NUMBERS]))
        self._layers_done, self._done = 0, False

    @property
    def best(self):
        return self._best

    def run_pass(self, rng, report):
        """Learn one more layer, or all of them together; the mean energy is that of up to 1,000 rows before that."""
        spent = self._spent(self._y, self._latest(self._y))
        grows = self._latest.grows and self._layers_done <= self._latest.n_layers
        self._latest = self._grown() if grows else self._together()
        self._layers_done += grows
        loss = self._mean_loss(self._latest) / self._unit
        gain = GAIN if self._target is None else GAIN_OF_CODES
        self._done = not grows and loss > (1.0 - gain) * self._last_loss
        if loss < self._best_loss:
            self._best, self._best_loss = self._latest, loss
        self._last_loss = loss
        self._record(validation_loss=loss * self._unit)
        report(spent, len(self._y))
        return spent / len(self._y)

    def settled(self, history):
        return self._done

    def _grown(self):
        """The last layer so far learns; those that follow are as it."""
        depth, whole = self._layers_done, self._latest
        begun = (_first_layers(whole, depth)(self._y), depth) if depth else None
        short, last = _first_layers(whole, depth + 1), slice(depth, depth + 1)
        learned = self._quasi_newton(short, last, STEPS_PER_LAYER, begun)
        fresh = {}
        for name, value in learned.parameters.items():
            fresh[name] = to_numpy(whole.parameters[name]).copy()
            fresh[name][: depth + 1] = to_numpy(value)
            fresh[name][depth + 1 :] = fresh[name][depth] * (TIGHTER if name == "thresholds" else 1.0)
        return _with_numbers(whole, fresh)

    def _together(self):
        if self._latest.grows:
            return self._quasi_newton(self._latest, slice(None), STEPS_TOGETHER)
        return self._simplex(self._latest)

    def _quasi_newton(self, encoder, free, n_steps, begun=None):
        start = {name: to_numpy(value).astype(np.float64) for name, value in encoder.parameters.items()}
        units = {name: np.where(value > 0.0, value, self._units[name])[free] for name, value in start.items()}
        sizes = np.cumsum([unit.size for unit in units.values()])[:-1]

        def at(x):
            numbers = {name: value.copy() for name, value in start.items()}
            for (name, unit), part in zip(units.items(), np.split(x, sizes), strict=True):
                numbers[name][free] = part * unit
            return _with_numbers(encoder, numbers)

        def loss(x):
            here = at(x)
            z, tape = here.forward(self._y, begun)
            losses, slope = prediction_loss(self._given, self._y, z, self._target)
            value = float(losses.mean()) / self._unit
            gradients = here.vjp(tape, self._of_mean(slope))
            slopes = np.concatenate([to_numpy(gradients[name])[free] * unit for name, unit in units.items()])
            return self._graded(value), slopes.astype(np.float64) * self._grade(value)

        x = np.concatenate([start[name][free] / unit for name, unit in units.items()])
        found = minimize(
            loss, x, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * x.size,
            options={"maxiter": n_steps, "maxfun": 2 * n_steps},
        )  # fmt: skip
        return at(found.x)

    def _simplex(self, encoder):
        ((name, start),) = ((name, to_numpy(value)) for name, value in encoder.parameters.items())

        def at(x):
            return _with_numbers(encoder, {name: np.exp(x)})

        def loss(x):
            losses, _ = prediction_loss(self._given, self._y, at(x)(self._y), self._target)
            value = float(losses.mean()) / self._unit
            return self._graded(value) if math.isfinite(value) else math.inf

        starts = [start * np.array([factor, 1.0, 1.0]) for factor in HIGHER_THRESHOLDS]
        x = min((np.log(np.maximum(numbers, 1e-30)) for numbers in starts), key=loss)
        corners = np.vstack([x, x + 0.3 * np.eye(x.size)])
        found = minimize(loss, x, method="Nelder-Mead", options={"maxfev": TRIALS, "initial_simplex": corners})
        return at(found.x)

    def _graded(self, value):
        """Errors of codes fall by orders of magnitude, so their logarithm is what is minimised."""
        return value if self._target is None else np.log(max(value, np.finfo(np.float64).tiny))

    def _grade(self, value):
        return 1.0 if self._target is None else 1.0 / max(value, np.finfo(np.float64).tiny)


def _first_layers(encoder, n):
    return encoder.with_parameters({name: value[:n] for name, value in encoder.parameters.items()})


def _with_numbers(encoder, numbers):
    return encoder.with_parameters(
        {name: to_device_of(value, encoder.parameters[name]) for name, value in numbers.items()}
    )
