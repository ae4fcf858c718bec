"""Encoders Enc, which predict the code from the data."""

from skrlv.encoders.analytic import ALISTA, HyperLISTA, analytic_weights
from skrlv.encoders.check import check_encoder
from skrlv.encoders.convolution import ConvolutionalEncoder
from skrlv.encoders.encoder import Encoder, ZeroEncoder
from skrlv.encoders.gaussian import GaussianNetwork
from skrlv.encoders.lista import LISTA, StepLISTA
from skrlv.encoders.one_layer import ShrinkageEncoder, TanhEncoder
from skrlv.encoders.packing import packed, unpacked

__all__ = [
    "ALISTA",
    "LISTA",
    "ConvolutionalEncoder",
    "Encoder",
    "GaussianNetwork",
    "HyperLISTA",
    "ShrinkageEncoder",
    "StepLISTA",
    "TanhEncoder",
    "ZeroEncoder",
    "analytic_weights",
    "check_encoder",
    "packed",
    "unpacked",
]
