"""Adam, and the descent that slows down, rolls back and ends."""

import numpy as np
import pytest

from skrlv.learning import Descent, adam_step


def test_adam_s_first_step_is_its_rate(rng):
    parameters = {"a": rng.normal(size=5)}
    _, moved = adam_step({}, parameters, {"a": 1e3 * rng.normal(size=5)}, 0.1, {"a": 2.0})
    np.testing.assert_allclose(np.abs(moved["a"] - parameters["a"]), 0.2, rtol=1e-6)


def test_adam_s_moments_fade_to_zero_and_never_stay_subnormal(rng):
    """Arithmetic on subnormal numbers is slow, and rounding would keep moments of idle entries there for good."""
    parameters, gradients = {"a": rng.normal(size=500).astype(np.float32)}, rng.normal(size=500).astype(np.float32)
    moments, moved = adam_step({}, parameters, {"a": gradients}, 0.1, {"a": 1.0})
    for _ in range(1200):
        moments, moved = adam_step(moments, moved, {"a": np.zeros_like(gradients)}, 0.1, {"a": 1.0})
        kept = np.abs([moments["mean_a"], moments["square_a"]])
        assert ((kept == 0) | (kept >= np.finfo(np.float32).smallest_normal)).all()
    assert not moments["mean_a"].any()
    assert np.isfinite(moved["a"]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_hides_no_gradient_that_is_no_number(dtype):
    parameters = {"a": np.ones(3, dtype)}
    moments, moved = adam_step({}, parameters, {"a": np.array([1.0, np.nan, 1.0], dtype)}, 0.1, {"a": 1.0})
    for found in (moved["a"], moments["mean_a"], moments["square_a"]):
        np.testing.assert_array_equal(np.isnan(found), [False, True, False])


def test_descent_finds_the_bottom_of_a_bowl_and_settles(rng):
    goal, scales = rng.normal(size=20), np.geomspace(1e-2, 1e2, 20)
    descent = Descent({"x": np.zeros(20)}, 1.0, rate=0.1, units={"x": 1.0}, tol=1e-3, patience=5)
    for _ in range(400):
        for _ in range(10):
            x = descent.parameters["x"]
            loss = np.sum(scales * (x - goal) ** 2) / np.sum(scales * goal**2)
            descent.step(loss, {"x": 2 * scales * (x - goal)}, lambda parameters: parameters)
        x = descent.parameters["x"]
        descent.evaluate(np.sum(scales * (x - goal) ** 2) / np.sum(scales * goal**2))
        if descent.settled:
            break
    assert descent.settled
    assert descent.best_loss < 1e-4


def test_a_loss_that_diverges_goes_back_to_the_best_at_a_tenth_of_the_rate():
    descent = Descent({"x": np.zeros(3)}, 1.0, rate=0.1, units={"x": 1.0}, tol=1e-3, patience=5)
    descent.step(1.0, {"x": np.ones(3)}, lambda parameters: parameters)
    descent.evaluate(0.5)
    best = descent.best["x"].copy()
    descent.step(0.5, {"x": np.ones(3)}, lambda parameters: parameters)
    assert (descent.parameters["x"] != best).any()
    descent.step(np.inf, {"x": np.ones(3)}, lambda parameters: parameters)
    np.testing.assert_array_equal(descent.parameters["x"], best)
    assert descent.rate == pytest.approx(0.01, rel=1e-12)
    assert "diverged 1 time" in descent.complaint
