"""A prox is the argmin of its own formula, judged by a grid that knows nothing of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from skrlv.regularizers import L0, L1, ElasticNet, GroupL1, Regularizer, StandardNormal

WEIGHTS = np.array([0.5, 2.0])
INSTANCES = [
    make(positive=positive)
    for positive in (False, True)
    for make in (
        L1,
        lambda positive: L1(positive, WEIGHTS),
        ElasticNet,
        lambda positive: ElasticNet(0.2, positive),
        lambda positive: GroupL1(2, positive),
        lambda positive: GroupL1(1, positive),
        L0,
    )
]
INSTANCES.append(StandardNormal())
CONVEX = [R for R in INSTANCES if not isinstance(R, L0)]
every_regularizer = pytest.mark.parametrize("R", INSTANCES, ids=str)
LINE = np.arange(-120, 121) / 20.0  # all of [-6, 6], with 0 itself
PLANE = np.stack(np.meshgrid(LINE, LINE), axis=-1).reshape(-1, 2)
values = st.floats(-5.0, 5.0)
pairs = st.tuples(values, values).map(np.array)
steps = st.floats(0.01, 3.0)


def objective(R, z, v, t):
    return 0.5 * np.sum((z - v) ** 2, axis=-1) + t * R(z)


def test_every_regularizer_is_tested():
    def leaves(kind):
        return {kind} if not kind.__subclasses__() else set().union(*map(leaves, kind.__subclasses__()))

    assert leaves(Regularizer) == {type(R) for R in INSTANCES}


@every_regularizer
@settings(max_examples=60, deadline=None)
@given(v=pairs, t=steps)
def test_prox_is_the_global_argmin_of_its_formula(R, v, t):
    z = R.prox(v[None], t)
    lowest = objective(R, PLANE, v, t).min()
    assert objective(R, z, v, t)[0] <= lowest + 1e-12


@pytest.mark.parametrize("R", CONVEX, ids=str)
@settings(max_examples=60, deadline=None)
@given(a=pairs, b=pairs, t=steps)
def test_convex_prox_is_firmly_non_expansive(R, a, b, t):
    moved = R.prox(a[None], t)[0] - R.prox(b[None], t)[0]
    assert moved @ moved <= moved @ (a - b) + 1e-12


@every_regularizer
def test_values_of_a_known_code(R):
    z = np.array([[3.0, 4.0]])
    expected = {
        "L1": 7.0 if getattr(R, "weights", None) is None else 9.5,
        "L0": 2.0,
        "StandardNormal": 12.5,
        "GroupL1": 5.0 if getattr(R, "group_size", None) == 2 else 7.0,
        "ElasticNet": 0.5 * 7 + 0.25 * 25 if getattr(R, "l1_ratio", None) == 0.5 else 0.2 * 7 + 0.4 * 25,
    }[type(R).__name__]
    assert R(z)[0] == pytest.approx(expected, rel=1e-14)


@every_regularizer
def test_negative_codes_cost_infinity_where_positive_is_asked(R):
    assert np.isinf(R(np.array([[1.0, -1e-9]]))[0]) == R.positive


@pytest.mark.parametrize("R", [R for R in INSTANCES if not isinstance(R, StandardNormal)], ids=str)
def test_small_entries_become_exact_zeros(R):
    if isinstance(R, ElasticNet):
        assert R.prox(np.array([[0.05, -0.05]]), 1.0).any() == (R.l1_ratio < 0.05)
    else:
        np.testing.assert_array_equal(R.prox(np.array([[0.05, -0.05]]), 1.0), 0.0)


@every_regularizer
def test_any_leading_axes(R, rng):
    z = rng.normal(size=(3, 4, 5, 2))
    flat = R.prox(z.reshape(-1, 2), 0.3).reshape(z.shape)
    np.testing.assert_array_equal(R.prox(z, 0.3), flat)
    assert R(z).shape == (3,)


@every_regularizer
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_that_float32_cannot_hold(R, scale, rng):
    z = (scale * np.abs(rng.normal(size=(20, 2)))).astype(np.float32)
    assert R(z).dtype == np.float64
    np.testing.assert_allclose(R(z), R(z.astype(np.float64)), rtol=1e-6)
    t = 0.5 * scale**2 if isinstance(R, L0) else 0.5 * scale
    small = R.prox(z, t)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, R.prox(z.astype(np.float64), t), rtol=1e-5, atol=1e-6 * scale)


def test_the_spring_is_the_normal_law_up_to_its_constant(rng):
    z = rng.normal(size=(5, 3))
    np.testing.assert_allclose(StandardNormal()(z) + 1.5 * np.log(2 * np.pi), -norm.logpdf(z).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(StandardNormal().slope(z), z)


def test_groups_that_do_not_divide_the_code(rng):
    z = rng.normal(size=(6, 5))
    padded = np.hstack([z, np.zeros((6, 1))])
    np.testing.assert_array_equal(GroupL1(3).prox(z, 0.4), GroupL1(3).prox(padded, 0.4)[:, :5])
    np.testing.assert_allclose(GroupL1(3)(z), GroupL1(3)(padded), rtol=1e-15)


@pytest.mark.parametrize("wrong", [[1.0, -0.1], [np.nan, 1.0], [1.0, np.inf], 1.0, [[1.0, 1.0]]], ids=str)
def test_weights_out_of_range(wrong):
    with pytest.raises(ValueError, match="weights must be finite numbers of at least 0, one per atom"):
        L1(weights=wrong)


def test_weights_of_another_number_of_atoms():
    R, z = L1(weights=[1.0, 2.0, 3.0]), np.ones((4, 2))
    for call in (lambda: R(z), lambda: R.prox(z, 0.1), lambda: R.thresholds(0.1, 2)):
        with pytest.raises(ValueError, match="weights has 3 numbers, but codes have 2 entries"):
            call()


def test_weights_are_any_sequence_and_a_copy():
    theirs = np.array([0.5, 2.0])
    R, z = L1(weights=theirs), np.array([[3.0, 4.0]])
    theirs[:] = -1.0
    assert R(z)[0] == L1(weights=[0.5, 2])(z)[0] == 9.5


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_l1_ratio_out_of_range(wrong):
    with pytest.raises(ValueError, match="l1_ratio"):
        ElasticNet(l1_ratio=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_group_size_out_of_range(wrong):
    with pytest.raises(ValueError, match="group_size"):
        GroupL1(group_size=wrong)
