"""A type checker sees the package: it finds a mistake of a user, and none where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SURFACE = json.loads((ROOT / "tests" / "golden" / "signatures.json").read_text())
WRONG = """
from mrcnn.config import Config
from mrcnn.model import MaskRCNN

model = MaskRCNN("inference", Config())
model.detect(3)
"""


def test_users_scripts(tmp_path):
    """One that trains and detects, one that imports every name of Matterport's, a wrong one."""
    pytest.importorskip("mypy")
    surface = [
        f"from {path.removesuffix('.py').replace('/', '.')} import {name}"
        for path, names in SURFACE["matterport_master"].items()
        if path.startswith("mrcnn/")
        for name in (*names["functions"], *names["classes"])
    ]
    (tmp_path / "surface.py").write_text("\n".join(surface))
    script = (ROOT / "tests" / "typing" / "user_script.py").read_text()
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        # Silent on what it finds inside the package, as where that is installed.
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "."],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    *said, total = done.stdout.splitlines()
    assert total == "Found 2 errors in 1 file (checked 3 source files)", done.stdout + done.stderr
    assert 'Missing positional argument "model_dir" in call to "MaskRCNN"' in said[0]
    assert 'Argument 1 to "detect" of "MaskRCNN" has incompatible type "int"' in said[1]
