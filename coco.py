"""`import coco`, as scripts of 2017 wrote it: the sample under samples/coco."""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "samples" / "coco"))
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module("coco")
