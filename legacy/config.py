"""`import config`, as scripts of 2017 wrote it: mrcnn.config under its old name."""

import sys

import _clone  # noqa: F401

import mrcnn.config

sys.modules[__name__] = mrcnn.config
