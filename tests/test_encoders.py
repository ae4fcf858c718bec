"""Every encoder's gradients against finite differences and autograd, and what each must do before it has learned."""

import dataclasses

import numpy as np
import pytest
from scipy import optimize
from scipy.linalg import null_space

from skrlv.decoders import Dictionary
from skrlv.encoders import ALISTA, LISTA, HyperLISTA, ShrinkageEncoder, StepLISTA, TanhEncoder, analytic_weights
from skrlv.encoders.analytic import shrunk_but_largest
from skrlv.energy import Energy
from skrlv.inference import ista
from skrlv.regularizers import L1

K, M, N = 12, 7, 9


def unit_atoms(rng, k=K, m=M):
    atoms = rng.standard_normal((k, m))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def moved(encoder, rng, by=0.1):
    """The encoder with parameters in general position."""
    return encoder.with_parameters(
        {name: value * (1.0 + by * rng.standard_normal(value.shape)) for name, value in encoder.parameters.items()}
    )


def encoders(positive):
    rng = np.random.default_rng(3)
    decoder = Dictionary(unit_atoms(rng))
    yield LISTA.unrolled(decoder, 0.2, 3, positive=positive)
    yield LISTA.unrolled(decoder, 0.2, 2, positive=positive, tied=False)
    yield LISTA.unrolled(decoder, 0.2, 0, positive=positive)
    yield StepLISTA.unrolled(decoder, 0.2, 3, positive=positive)
    yield dataclasses.replace(ALISTA.unrolled(decoder, 0.1, 3, positive=positive), growth=0.1, most=0.25)
    yield HyperLISTA.unrolled(decoder, 0.0, 3, positive=positive)
    yield ShrinkageEncoder(rng.standard_normal((K, M)), np.full(K, 0.3), np.ones(K), positive)
    if not positive:
        yield TanhEncoder(rng.standard_normal((K, M)), rng.standard_normal(K), np.ones(K))


ALL = [
    pytest.param(e, id=f"{type(e).__name__}-{i}")
    for positive in (False, True)
    for i, e in enumerate(encoders(positive))
]
UNROLLED = [e for e in ALL if hasattr(e.values[0], "n_layers")]


def loss_at(encoder, y, weights):
    return lambda parameters: float(np.sum(weights * encoder.with_parameters(parameters)(y)))


@pytest.mark.parametrize("encoder", ALL)
def test_gradients_are_finite_differences(encoder, rng):
    encoder = moved(encoder, rng)
    y, weights = rng.standard_normal((N, M)), rng.standard_normal((N, K))
    z, tape = encoder.forward(y)
    assert np.count_nonzero(z) > 0
    gradients, loss = encoder.vjp(tape, weights), loss_at(encoder, y, weights)
    assert gradients.keys() == encoder.parameters.keys()
    for name, value in encoder.parameters.items():
        assert gradients[name].shape == value.shape
        for index in rng.permutation(value.size)[:12]:
            step = np.zeros(value.size)
            step[index] = 1e-6
            ends = [loss(encoder.parameters | {name: value + sign * step.reshape(value.shape)}) for sign in (1, -1)]
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradients[name].flat[index], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("encoder", ALL)
def test_gradients_are_those_of_autograd(encoder, rng):
    torch = pytest.importorskip("torch")
    encoder = moved(encoder, rng)
    y, weights = rng.standard_normal((N, M)), rng.standard_normal((N, K))
    gradients = encoder.vjp(encoder.forward(y)[1], weights)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in encoder.parameters.items()}
    fields = {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}
    arrays = {name: torch.tensor(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    z = type(encoder)(**fields | arrays | leaves)(torch.tensor(y))
    (torch.tensor(weights) * z).sum().backward()
    for name, leaf in leaves.items():
        slope = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("encoder", ALL)
def test_parameters_that_must_not_be_negative_are_cut_at_zero(encoder):
    pushed = encoder.with_parameters({name: -1.0 - np.abs(value) for name, value in encoder.parameters.items()})
    for name, value in pushed.parameters.items():
        assert (value == 0.0).all() if name in encoder.non_negative else (value < 0.0).all()


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_layers", [0, 1, 3, 7])
def test_untrained_lista_is_ista(n_layers, tied, positive, rng):
    """T uses of S are T + 1 steps from zero; so are those of step-LISTA."""
    decoder, y = Dictionary(unit_atoms(rng)), rng.standard_normal((N, M))
    energy = Energy(decoder, L1(positive=positive), 0.15)
    wanted = ista(energy.given(y), np.zeros((N, K)), max_iter=n_layers + 1, tol=0.0).z
    for encoder in (
        LISTA.unrolled(decoder, 0.15, n_layers, positive=positive, tied=tied),
        StepLISTA.unrolled(decoder, 0.15, n_layers, positive=positive),
    ):
        np.testing.assert_allclose(encoder(y), wanted, rtol=0, atol=1e-12)


def in_unit(encoder, unit):
    """The same encoder for data and codes in another unit."""
    dtype = next(iter(encoder.parameters.values())).dtype
    scales = {name: dtype.type(scale) for name, scale in encoder.scales(unit, unit).items()}
    other = encoder.with_parameters({name: encoder.parameters[name] * scale for name, scale in scales.items()})
    return dataclasses.replace(other, lmbda=unit * encoder.lmbda) if isinstance(encoder, StepLISTA) else other


@pytest.mark.parametrize("encoder", ALL)
@pytest.mark.parametrize(("dtype", "exponents"), [(np.float64, (-500, -1, 500)), (np.float32, (-100, 1, 100))])
def test_no_bit_of_codes_or_gradients_depends_on_the_unit_of_the_data(encoder, dtype, exponents, rng):
    encoder = moved(encoder, rng).mapped(lambda value: value.astype(dtype))
    y, dz = (rng.standard_normal((N, width)).astype(dtype) for width in (M, K))
    z, tape = encoder.forward(y)
    gradients = encoder.vjp(tape, dz)
    assert z.any()
    for unit in (2.0**exponent for exponent in exponents):
        other = in_unit(encoder, unit)
        codes, tape = other.forward(dtype(unit) * y)
        np.testing.assert_array_equal(codes / dtype(unit), z)
        for name, gradient in other.vjp(tape, dz / dtype(unit)).items():
            np.testing.assert_array_equal(gradient * dtype(other.scales(unit, unit)[name]), gradients[name])


@pytest.mark.parametrize("encoder", ALL)
def test_nothing_of_the_caller_is_written(encoder, rng):
    encoder, (y, dz) = encoder.mapped(np.copy), (rng.standard_normal((N, width)) for width in (M, K))
    arrays = [value for value in vars(encoder).values() if isinstance(value, np.ndarray)]
    for array in (y, dz, *arrays):
        array.flags.writeable = False
    z, tape = encoder.forward(y)
    z.flags.writeable = False
    encoder.vjp(tape, dz)


@pytest.mark.parametrize("positive", [False, True])
def test_sums_over_entries_do_not_overflow(positive):
    """HyperLISTA's thresholds are sums of errors, which float32 may hold though it does not hold the sums."""
    encoder = HyperLISTA.unrolled(Dictionary(np.eye(64)), 0.0, 3, positive=positive)
    encoder = encoder.with_parameters({"factors": np.array([1e-3, 0.01, 30.0])}).mapped(lambda v: v.astype(np.float32))
    y = np.full((2, 64), 1e38, dtype=np.float32)
    z = encoder(y)
    np.testing.assert_allclose(z, 1e38 * encoder(y / np.float32(1e38)), rtol=1e-5)


def test_entries_that_are_let_through():
    """The largest ones above the threshold; ties pass together, and a number that is NaN lets none through."""
    v = np.array([[3.0, -2.0, 2.0, 0.5, -4.0]])
    for n_passed, signed, positive in (
        (0.0, [2, -1, 1, 0, -3], [2, 0, 1, 0, 0]),
        (1.0, [2, -1, 1, 0, -4], [3, 0, 1, 0, 0]),
        (3.0, [3, -2, 2, 0, -4], [3, 0, 2, 0, 0]),
        (5.0, [3, -2, 2, 0, -4], [3, 0, 2, 0, 0]),
        (np.nan, [2, -1, 1, 0, -3], [2, 0, 1, 0, 0]),
    ):
        for only_positive, expected in ((False, signed), (True, positive)):
            z, shrunk = shrunk_but_largest(v, 1.0, np.array([n_passed]), only_positive)
            np.testing.assert_array_equal(z, [expected])
            np.testing.assert_array_equal((z != 0) & (shrunk == 0), (z == v))


def test_shares_above_one_let_all_through(rng):
    decoder, y = Dictionary(unit_atoms(rng)), rng.standard_normal((N, M))
    whole = dataclasses.replace(ALISTA.unrolled(decoder, 0.1, 2), growth=1.0, most=1.0)
    np.testing.assert_array_equal(dataclasses.replace(whole, growth=9.0, most=2.0)(y), whole(y))


@pytest.mark.parametrize("encoder", UNROLLED)
def test_rows_are_encoded_alone_and_zero_stays_zero(encoder, rng):
    y = rng.standard_normal((N, M))
    y[3] = 0.0
    z = encoder(y)
    assert not z[3].any()
    np.testing.assert_allclose(np.vstack([encoder(row[None]) for row in y]), z, atol=1e-12)
    if encoder.positive:
        assert (z >= 0.0).all()


def objective(atoms, b):
    return np.sum((atoms @ b.T - np.eye(len(atoms))) ** 2)


@pytest.mark.parametrize(("k", "m"), [(200, 100), (256, 64), (500, 250)])
def test_analytic_weights_nearly_reach_the_welch_bound(k, m, rng):
    atoms = unit_atoms(rng, k, m)
    b = analytic_weights(atoms)
    np.testing.assert_allclose(np.sum(atoms * b, axis=1), 1.0, atol=1e-10)
    bound = k * (k - m) / m
    assert bound <= objective(atoms, b) <= 1.015 * bound < objective(atoms, atoms)


@pytest.mark.parametrize("mean_free", [False, True])
def test_no_feasible_move_betters_analytic_weights(mean_free, rng):
    atoms = rng.standard_normal((20, 9))
    if mean_free:  # their Gram matrix over features is singular
        atoms -= atoms.mean(axis=1, keepdims=True)
    b = analytic_weights(atoms)
    for scale in (1e-3, 1e-1):
        move = scale * rng.standard_normal(b.shape)
        move -= np.sum(move * atoms, axis=1, keepdims=True) * atoms / np.sum(atoms**2, axis=1, keepdims=True)
        assert objective(atoms, b + move) >= objective(atoms, b)


@pytest.mark.parametrize("mean_free", [False, True])
def test_analytic_weights_are_where_iterations_lead(mean_free, rng):
    """Each row is a least-squares problem on a plane: conjugate gradients find the same to 1e-4, and nothing lower."""
    atoms = rng.standard_normal((24, 9))
    if mean_free:
        atoms -= atoms.mean(axis=1, keepdims=True)
    b = analytic_weights(atoms)
    for d, mine in zip(atoms[:6], b[:6], strict=True):
        plane, origin = null_space(d[None]), d / (d @ d)
        found = optimize.minimize(
            lambda x, plane=plane, origin=origin: np.sum((atoms @ (origin + plane @ x)) ** 2),
            np.zeros(plane.shape[1]), method="CG", tol=1e-9,
        )  # fmt: skip
        theirs = origin + plane @ found.x
        seen = atoms @ mine, atoms @ theirs
        np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-4)
        assert np.sum(seen[0] ** 2) <= np.sum(seen[1] ** 2) + 1e-12


@pytest.mark.parametrize("exponent", [-700, -300, 300, 700])
def test_analytic_weights_are_in_the_inverse_unit_of_the_atoms(exponent, rng):
    atoms, unit = unit_atoms(rng), 2.0**exponent
    np.testing.assert_array_equal(analytic_weights(unit * atoms) * unit, analytic_weights(atoms))


def test_analytic_weights_of_a_zero_atom(rng):
    atoms = unit_atoms(rng)
    atoms[4] = 0.0
    with pytest.raises(ValueError, match="zero atom in row 4"):
        analytic_weights(atoms)
