"""One definition on NumPy, torch and the strict array API."""

import numpy as np
import pytest
from problems import random_dictionary

from skrlv import FISTACoder
from skrlv._arrays import check_device, shrink, to_device, to_numpy
from skrlv.decoders import Dictionary
from skrlv.encoders import ZeroEncoder
from skrlv.energy import Energy
from skrlv.inference import fista, fista_restart, ista
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1


def strict(x):
    return pytest.importorskip("array_api_strict").asarray(x)


def torch(x):
    pytest.importorskip("torch")
    return to_device(x, "torch:cpu")


LIBRARIES = pytest.mark.parametrize("placed", [strict, torch])
REGULARIZERS = [L1(), L1(positive=True), ElasticNet(0.6), GroupL1(3), GroupL1(2, positive=True), L0()]


@LIBRARIES
@pytest.mark.parametrize("shape", [(8, 12), (30, 9)])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("method", [ista, fista, fista_restart])
def test_array_code_agrees_with_numpy(method, regularizer, shape, placed, rng):
    atoms, y = random_dictionary(*shape), rng.normal(size=(7, shape[1]))
    expected = Energy(Dictionary(atoms), regularizer, 0.3).given(y)
    there = Energy(Dictionary(placed(atoms)), regularizer, 0.3).given(placed(y))
    options = {"max_iter": 200, "tol": 1e-5, "record": True}
    ours, theirs = method(expected, **options), method(there, **options)
    np.testing.assert_array_equal(theirs.n_iter, ours.n_iter)
    np.testing.assert_allclose(to_numpy(theirs.z), ours.z, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(theirs.energies, ours.energies, rtol=1e-10, atol=1e-12)


@LIBRARIES
def test_weights_and_the_encoder_term(placed, rng):
    atoms, y, weights = random_dictionary(8, 6), rng.normal(size=(5, 6)), np.linspace(0.5, 2.0, 8)
    z = [
        to_numpy(
            fista(Energy(Dictionary(at(atoms)), L1(weights=at(weights)), 0.2, ZeroEncoder((8,)), 0.3).given(at(y))).z
        )
        for at in (np.asarray, placed)
    ]
    np.testing.assert_allclose(*z, atol=1e-9)


@LIBRARIES
def test_weights_follow_the_codes(placed):
    weights, v = [0.5, 2.0, 0.0], np.array([[1.0, -3.0, 2.0], [0.2, 0.0, -1.0]])
    for R in (L1(weights=weights), L1(weights=placed(np.array(weights)))):
        np.testing.assert_allclose(to_numpy(R(placed(v))), [6.5, 0.1], rtol=1e-14)
        for dtype in (np.float64, np.float32):
            there = to_numpy(R.prox(placed(v.astype(dtype)), 0.7))
            assert there.dtype == dtype
            np.testing.assert_array_equal(there, R.prox(v.astype(dtype), 0.7))


@LIBRARIES
def test_shrink(placed):
    v = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_array_equal(to_numpy(shrink(placed(v), 1.0)), [-1.0, 0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("regularizer", ["l1", L1(weights=np.linspace(0.5, 2, 20)), "elastic_net", "group_l1", "l0"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_torch_device_agrees_with_numpy(regularizer, dtype, digits):
    pytest.importorskip("torch")
    X = digits[:200].astype(dtype)
    options = {"lmbda": 0.1 if regularizer == "l0" else 0.5, "regularizer": regularizer, "max_iter": 3}
    options |= {"code_max_iter": 5000, "random_state": 0}
    here, there = (FISTACoder(20, device=device, **options).fit(X) for device in ("cpu", "torch:cpu"))
    tolerance = 1e-5 if dtype == np.float64 else 2e-2
    np.testing.assert_allclose(there.energy_history_, here.energy_history_, rtol=tolerance)
    there.set_params(dictionary=here.components_).fit(X)
    assert there.components_.dtype == there.transform(X).dtype == dtype
    np.testing.assert_allclose(there.energy(X), here.energy(X), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        there.inverse_transform(here.transform(X)), here.inverse_transform(here.transform(X)), atol=1e-5
    )


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "torch", "", None, 3])
def test_unknown_device(device):
    with pytest.raises(ValueError, match="'torch:cpu'"):
        check_device(device)


def test_mps_is_known_but_not_supported_yet(digits):
    check_device("mps")
    coder = FISTACoder(8, device="mps")
    with pytest.raises(ValueError, match="not supported yet: energies are float64"):
        coder.fit(digits)
    assert not hasattr(coder, "components_")


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ImportError, match=r"skrlv\[torch\]"):
        to_device(np.ones(2), "cuda")
