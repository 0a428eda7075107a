"""For `python setup.py` and tools that ask for it; pyproject.toml has all that it says."""

from setuptools import setup

setup()
