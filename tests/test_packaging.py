"""What is built of the repository: the wheel that pip installs, and the source archive."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from mrcnn import __version__
from mrcnn.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PARTS = ["mrcnn", "legacy", "tests/compat", "logs/README.md"]
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools puts its own there
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The names in the wheel, the wheel's metadata, and the names in the source archive."""
    pytest.importorskip("setuptools", minversion="77")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for path in [*ROOT.glob("*.*"), ROOT / "LICENSE", *(ROOT / part for part in PARTS)]:
        target = source / path.relative_to(ROOT)
        if path.is_dir() and path.suffix == "":
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (source / "mrcnn" / "weights" / "nucleus.h5").write_bytes(b"8 MB that would be packed twice")
    (source / "tests" / "compat" / "somebodys.h5").write_bytes(b"weights that lie about")
    subprocess.run(
        [sys.executable, "-c", BUILD, out], cwd=source, capture_output=True, text=True, check=True
    )
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (metadata,) = (file.read(name).decode() for name in names if name.endswith("/METADATA"))
    with tarfile.open(archive) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    return names, metadata, inside


def test_the_wheel_holds_the_package_and_nothing_else(built):
    names, _, _ = built
    kinds = ("*.py", "*.h5", "serve/page/*")
    ours = {path for kind in kinds for path in (ROOT / "mrcnn").rglob(kind)}
    found = {name for name in names if ".dist-info/" not in name}
    assert found == {"mrcnn/py.typed", *(str(path.relative_to(ROOT)) for path in ours)}
    assert "mrcnn/weights/nucleus.h5" in found


def test_the_metadata_says_what_the_files_say(built):
    _, metadata, _ = built
    assert f"\nVersion: {__version__}\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    required = [
        re.split(r"[<>=~ ]", line.split(": ")[1])[0] for line in required if ";" not in line
    ]
    asked = (ROOT / "requirements.txt").read_text("utf-8")
    assert required == re.findall(r"^[\w-]+", asked, re.MULTILINE)


def test_the_source_archive_holds_what_its_tests_need(built):
    _, _, inside = built
    assert {
        *("pyproject.toml", "setup.py", "requirements.txt", "CHANGELOG.md", "LICENSE"),
        *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "logs/README.md"),
        *("mrcnn/py.typed", "mrcnn/weights/nucleus.h5", "legacy/coco.py"),
        "tests/compat/test_imports_style.py",
    } <= inside
    assert "tests/compat/somebodys.h5" not in inside


def test_extras_are_told_as_they_are_declared():
    """An error names the packages, for no index may have this one; no page asks an index for it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {
        name: [package.partition(";")[0] for package in packages]
        for name, packages in declared["optional-dependencies"].items()
        if name != "test"
    }
    assert {name: EXTRAS.get(name) for name in extras} == extras
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "samples").rglob("*.*")]
    texts = [path for path in pages if path.suffix in (".md", ".py", ".ipynb")]
    asked = re.compile(rf"(?<!/){declared['name']}\[")  # ./mask-rcnn[cuda] is a clone
    assert [path.name for path in texts if asked.search(path.read_text("utf-8"))] == []


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(r"^version: (.+)$", text, re.MULTILINE).group(1) == __version__
