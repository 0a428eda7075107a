"""Loader of tests/golden/utils_golden.*: what the original returned for 138 calls."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """One call of the original: its parameters, its inputs, and what it returned."""

    function: str
    name: str
    params: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.function}-{self.name}"


def load_utils_cases() -> list[Case]:
    """All cases of the file, in its order."""
    entries = json.loads((GOLDEN / "utils_golden.json").read_text())["cases"]
    with np.load(GOLDEN / "utils_golden.npz") as arrays:
        return [
            Case(
                entry["function"],
                entry["case"],
                entry["params"],
                {name: _value(arrays, stored) for name, stored in entry["inputs"].items()},
                {name: _value(arrays, stored) for name, stored in entry["outputs"].items()},
            )
            for entry in entries
        ]


def _value(arrays: Any, stored: dict[str, Any]) -> Any:
    if "value" in stored:
        return stored["value"]
    array, shape = arrays[stored["key"]], tuple(stored["shape"])
    if "packed" in stored:
        return np.unpackbits(array, count=int(np.prod(shape))).astype(bool).reshape(shape)
    return array
