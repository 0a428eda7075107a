"""Lets these files find the package of their clone where none is installed."""

import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]

sys.path.append(str(CLONE))  # last, so that an installed package comes first
