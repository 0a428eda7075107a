"""`import utils`, as scripts of 2017 wrote it: mrcnn.utils under its old name."""

import sys

import _clone  # noqa: F401

import mrcnn.utils

sys.modules[__name__] = mrcnn.utils
