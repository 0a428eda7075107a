"""`import model`, as scripts of 2017 wrote it: mrcnn.model under its old name."""

import sys

import _clone  # noqa: F401

import mrcnn.model

sys.modules[__name__] = mrcnn.model
