"""Optional modules whose package is not installed are not asked for their examples."""

from importlib.util import find_spec

OPTIONAL = {"torch": "skrlv/torch_modules.py", "onnx": "skrlv/onnx/*", "skl2onnx": "skrlv/onnx/pipelines.py"}

collect_ignore_glob = [files for package, files in OPTIONAL.items() if find_spec(package) is None]
