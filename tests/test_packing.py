"""Every encoder, and one of a user's own, becomes plain values that any format stores, and comes back as it was."""

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from skrlv import encoders
from skrlv._arrays import to_device
from skrlv._layers import Layers, Scaling
from skrlv.decoders import ConvolutionalDictionary, Dictionary
from skrlv.encoders import Encoder, packed, unpacked
from skrlv.learning import unit_rows

N, K, M = 5, 6, 4
RNG = np.random.default_rng(0)
DECODER = Dictionary(unit_rows(RNG.standard_normal((K, M)))[0])
KERNELS = ConvolutionalDictionary(RNG.standard_normal((K, 3, 1)), (M,))


@dataclasses.dataclass(frozen=True)
class Bands:
    """A part of a user's encoder."""

    edges: tuple
    names: dict


@dataclasses.dataclass(frozen=True, eq=False)
class Own(Encoder):
    """An encoder of a user's own, whose fields are of every kind."""

    matrices: list
    kind: str  # a name that packing uses too
    bands: Bands
    power: float = 2.0
    limit: Any = None
    cached: Any = dataclasses.field(default=None, init=False)

    def forward(self, y):
        z = y @ (self.matrices[0] * self.bands.edges[0] + self.bands.names["offset"])
        return z**self.power, None

    def vjp(self, tape, dz):
        return {}

    @property
    def parameters(self):
        return {}


class Renamed(encoders.TanhEncoder):
    """A subclass that adds no field is a dataclass too."""


def layers(n_in, n_out):
    return Layers.drawn((n_in, 7, n_out), "tanh", np.random.RandomState(0), like=np.empty(0))


EVERY = [
    encoders.LISTA.unrolled(DECODER, 0.2, 2, positive=True),
    encoders.LISTA.unrolled(DECODER, 0.2, 2, tied=False),
    encoders.StepLISTA.unrolled(DECODER, 0.2, 2),
    encoders.ALISTA.unrolled(DECODER, 0.2, 2),
    encoders.HyperLISTA.unrolled(DECODER, 0.2, 2),
    encoders.TanhEncoder.first_step(DECODER, 1.0),
    encoders.ShrinkageEncoder.first_step(DECODER, 0.2, positive=True),
    encoders.ConvolutionalEncoder.first_step(KERNELS, 1.0),
    encoders.ZeroEncoder((2, K)),
    encoders.GaussianNetwork(layers(M, 2 * K), K, scaling=Scaling(np.arange(M) / 3.0, 2.0)),
    encoders.GaussianNetwork(layers(M, K), K, learn_variance=False),
    Own([RNG.random((M, K))], "mine", Bands((np.full((M, K), 0.3), "low"), {"offset": 0.1}), np.float64(3.0)),
    Renamed.first_step(DECODER, 1.0),
]
every_encoder = pytest.mark.parametrize("encoder", EVERY, ids=lambda encoder: type(encoder).__name__)


def test_every_encoder_is_here():
    ours = {kind for name, kind in vars(encoders).items() if name in encoders.__all__ and isinstance(kind, type)}
    assert ours - {Encoder} <= {type(encoder) for encoder in EVERY}


def codes_of(encoder, place=np.asarray):
    shape = (N, M, 1) if isinstance(encoder, encoders.ConvolutionalEncoder) else (N, M)
    z = encoder(place(np.random.default_rng(1).standard_normal(shape)))
    return np.stack([np.asarray(part) for part in z]) if isinstance(z, tuple) else np.asarray(z)


@every_encoder
def test_an_encoder_comes_back_as_it_was(encoder):
    again = unpacked(pickle.loads(pickle.dumps(packed(encoder))))
    assert type(again) is type(encoder)
    np.testing.assert_array_equal(codes_of(again), codes_of(encoder))
    assert again.parameters.keys() == encoder.parameters.keys()
    assert packed(again).keys() == {"kind", "fields"}


@every_encoder
def test_every_encoder_passes_the_check(encoder):
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((3, M, 1) if isinstance(encoder, encoders.ConvolutionalEncoder) else (3, M))
    if isinstance(encoder, encoders.GaussianNetwork | encoders.HyperLISTA):
        pytest.skip("its codes are distributions" if isinstance(encoder, encoders.GaussianNetwork) else "has jumps")
    moved = {name: value * (1.0 + 0.1 * rng.standard_normal(value.shape)) for name, value in encoder.parameters.items()}
    encoder = encoder.with_parameters(moved)
    encoders.check_encoder(encoder, rows, encoder(rows).shape[-1])


def leaves(value):
    if isinstance(value, dict):
        return [leaf for part in (*value.keys(), *value.values()) for leaf in leaves(part)]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple | list) else [value]


@every_encoder
def test_what_is_stored_is_plain(encoder):
    found = packed(encoder)
    assert found["kind"] == f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    assert {type(leaf) for leaf in leaves(found)} <= {np.ndarray, float, int, bool, str, type(None)}


@every_encoder
def test_skops_trusts_what_is_stored(encoder):
    skops = pytest.importorskip("skops.io")
    written = skops.dumps(packed(encoder))
    assert skops.get_untrusted_types(data=written) == []
    np.testing.assert_array_equal(codes_of(unpacked(skops.loads(written))), codes_of(encoder))


@every_encoder
def test_what_is_stored_shares_no_memory_with_the_encoder(encoder):
    before, found = codes_of(encoder), packed(encoder)
    for leaf in leaves(found):
        if isinstance(leaf, np.ndarray):
            leaf[...] = np.nan
    np.testing.assert_array_equal(codes_of(encoder), before)


@pytest.mark.parametrize(
    "encoder", [e for e in EVERY if type(e) not in (Own, Renamed)], ids=lambda encoder: type(encoder).__name__
)
def test_arrays_go_to_the_device_and_come_back(encoder):
    pytest.importorskip("torch")

    def place(array):
        return to_device(array, "torch:cpu")

    there = unpacked(packed(encoder), place)
    for value in there.parameters.values():
        assert type(value).__module__ == "torch"
    np.testing.assert_allclose(codes_of(there, place), codes_of(encoder), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(codes_of(unpacked(packed(there))), codes_of(encoder))


def test_a_torch_module_is_kept_as_it_is():
    torch = pytest.importorskip("torch")
    from skrlv.torch_modules import ModuleEncoder

    module = torch.nn.Sequential(torch.nn.Linear(M, K), torch.nn.ReLU()).double()
    encoder = ModuleEncoder.of(module, Dictionary(torch.asarray(DECODER.atoms)))
    found = packed(encoder)
    assert found["fields"]["module"] is encoder.module
    assert isinstance(found["fields"]["weights"], np.ndarray)
    again = unpacked(found, torch.asarray)
    y = torch.randn(N, M, dtype=torch.float64)
    np.testing.assert_array_equal(again(y), encoder(y))


def test_what_cannot_come_back_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Local(encoders.ZeroEncoder):
        pass

    class WithInit(encoders.ZeroEncoder):
        def __init__(self, n):
            super().__init__((n,))

    with pytest.raises(TypeError, match=r"Local cannot be imported.*top level of a module"):
        packed(Local((2,)))
    with pytest.raises(TypeError, match="WithInit has an __init__ of its own, but must be a dataclass"):
        packed(WithInit(2))
    with pytest.raises(TypeError, match=r"must be an instance of skrlv\.encoders\.Encoder"):
        packed(DECODER)


@pytest.mark.parametrize(
    "kind", ["subprocess:Popen", "skrlv.decoders:Dictionary", "os:system", "skrlv.encoders:packed"]
)
def test_nothing_but_encoders_is_made(kind):
    with pytest.raises(TypeError, match="is no"):
        unpacked({"kind": kind, "fields": {"atoms": np.ones((2, 2))}})
    inner = {"kind": "subprocess:Popen", "fields": {"args": ["true"]}}
    with pytest.raises(TypeError, match="'subprocess:Popen' is no dataclass"):
        unpacked({"kind": "skrlv.encoders.encoder:ZeroEncoder", "fields": {"code_shape": inner}})


@dataclasses.dataclass(frozen=True, eq=False)
class Mistaken(encoders.TanhEncoder):
    """Subclasses misspell a name."""


@pytest.mark.parametrize(
    ("attribute", "names"), [("units", {"weight": (-1, 1)}), ("non_negative", ("gian",)), ("code_axes", {"W": (0,)})]
)
def test_a_name_that_is_misspelt_is_refused(attribute, names):
    encoder = Mistaken.first_step(DECODER, 1.0)
    encoders.check_encoder(encoder, RNG.random((3, M)), K)
    wrong = type("Wrong", (Mistaken,), {attribute: property(lambda self: names)}).first_step(DECODER, 1.0)
    with pytest.raises(ValueError, match=f"Wrong.{attribute} names"):
        encoders.check_encoder(wrong, RNG.random((3, M)), K)


def test_a_class_that_is_no_dataclass_is_refused():
    class Plain(Encoder):
        parameters = {"W": np.eye(K)}

        def forward(self, y):
            return y, None

        def vjp(self, tape, dz):
            return {}

    with pytest.raises(ValueError, match=r"\['W'\], which are no fields of it. The class must be decorated"):
        encoders.check_encoder(Plain(), RNG.random((3, K)), K)
