"""`import visualize`, as scripts of 2017 wrote it: mrcnn.visualize under its old name."""

import sys

import _clone  # noqa: F401

import mrcnn.visualize

sys.modules[__name__] = mrcnn.visualize
