"""Packaging. `pip install .` installs the library and the `mrcnn` command."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    for line in (HERE / "mrcnn" / "__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise RuntimeError("mrcnn/__init__.py has no __version__")


video = ["imageio-ffmpeg>=0.5"]
notebooks = ["ipykernel>=6.29", "jupyterlab>=4"]

setup(
    name="mask-rcnn",
    version=version(),
    description="Mask R-CNN for TensorFlow 2 and Keras 3, in the Matterport style",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["mrcnn", "mrcnn.*"]),
    package_data={"mrcnn": ["weights/*.h5"]},
    install_requires=(HERE / "requirements.txt").read_text().split(),
    extras_require={
        "notebooks": notebooks,
        "tensorboard": ["tensorboard>=2.19"],
        "video": video,
        "test": [
            "pytest>=8",
            "hypothesis>=6.100",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            "ruff>=0.15,<0.18",
            *video,
        ],
    },
    entry_points={"console_scripts": ["mrcnn = mrcnn.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
