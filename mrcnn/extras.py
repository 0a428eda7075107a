"""Packages that only some of what is here needs, and how to have them."""

# By the extra's name in pyproject.toml: what it brings.
EXTRAS = {
    "completion": ["shtab>=1.13"],
    "cuda": ["tensorflow[and-cuda]"],
    "int8": ["openvino>=2025.0", "nncf>=2.14"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.16.1"],
    "openvino": ["openvino>=2025.0"],
    "tflite": ["ai-edge-litert>=1.3"],
    "jobs": ["pyarrow>=17", "fsspec>=2024.6"],
    "imagej": ["roifile>=2024.5"],
    "notebooks": ["ipykernel>=6.29", "jupyterlab>=4"],
    "ray": ["ray[data]>=2.51", "pyarrow>=17", "fsspec>=2024.6"],
    "serve": ["fastapi>=0.115", "uvicorn>=0.30", "python-multipart>=0.0.18"],
    "tensorboard": ["tensorboard>=2.19"],
    "video": ["imageio-ffmpeg>=0.5"],
}


def how_to_install(extra: str) -> str:
    """The command that brings an extra, wherever this package was installed from.

    `pip install "mask-rcnn[...]"` would ask an index for the package, which may not be there.
    """
    packages = " ".join(f'"{package}"' for package in EXTRAS[extra])
    return f'pip install {packages}, or pip install ".[{extra}]" in a clone'
