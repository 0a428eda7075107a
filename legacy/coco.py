"""`import coco`, as scripts of 2017 wrote it: the sample under samples/coco."""

import importlib
import sys

from _clone import CLONE

SAMPLE = CLONE / "samples" / "coco"

if not (SAMPLE / "coco.py").is_file():
    raise ImportError(f"{SAMPLE} has no coco.py: legacy/ works from a clone of the repository.")

sys.path.insert(0, str(SAMPLE))
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module("coco")
