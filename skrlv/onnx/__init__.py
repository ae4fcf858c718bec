"""Feed-forward encoders as ONNX graphs, which run without Python. This needs onnx, from the extra [onnx]."""

from skrlv.onnx.export import to_onnx

__all__ = ["to_onnx"]
