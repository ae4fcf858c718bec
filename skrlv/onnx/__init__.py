"""Annex: feed-forward encoders as ONNX graphs, to run where there is no Python."""

from skrlv.onnx.export import to_onnx

__all__ = ["to_onnx"]
