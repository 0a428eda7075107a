"""The rules of the house: which file may import which, how long one may get, what loads TensorFlow.

cli -> model, serve -> train, evaluate -> detect -> weights, nn, data, drawing -> geometry -> config
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mrcnn"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# A room may import itself and the rooms of a lower number.
HEIGHTS = {
    "config": 0,
    "errors": 0,
    "words": 0,
    "progress": 0.5,
    "signals": 0,
    "devices": 0,
    "extras": 0,
    "whole": 0,
    "environment": 1,
    "geometry": 1,
    "data": 2,
    "nn": 2,
    "weights": 2,
    "drawing": 2,
    "detect": 3,
    "train": 4,
    "evaluate": 4,
    "jobs": 4,
    "export": 4.5,  # measures what it wrote
    "serve": 5,
    "visualize": 5,
    "model": 5,
    "parallel_model": 5,
    "utils": 6,
    "cli": 6,
    "__main__": 7,
}
WITHOUT_TENSORFLOW = {
    *(
        "config",
        "errors",
        "extras",
        "words",
        "progress",
        "signals",
        "whole",
        "devices",
        "geometry",
        "data",
        "weights",
        "drawing",
    ),
    *("visualize", "utils", "cli", "serve", "jobs"),
}
# Rooms that hold the network as well; what runs before it, or without it, doesn't wait for it.
WITHOUT_TENSORFLOW_TOO = {
    *("detect.configs", "detect.files", "detect.instances", "detect.results", "detect.mold"),
    *("detect.tiles", "detect.parts", "detect.joining", "detect.tiled"),
    *("detect.check", "detect.unmold", "train.plan", "train.plan_text", "train.choices"),
    *("train.checkpoints", "evaluate"),
}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path, inside_functions: bool = True) -> set[str]:
    """Full names of what a file imports; `from a import b` counts as a.b where that's a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if inside_functions else top_level(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: line {node.lineno} is a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found


def top_level(tree: ast.Module) -> list[ast.AST]:
    """What runs at import time: nothing inside functions, nothing for type checkers alone."""
    waiting, found = list(tree.body), []
    while waiting:
        node = waiting.pop()
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node)
            waiting += ast.iter_child_nodes(node)
    return found


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "mrcnn"}


@pytest.mark.parametrize("module", [name for name in FILES if name != "mrcnn"])
def test_arrows_point_down(module):
    here = room(module)
    for name in ours(FILES[module]):
        there = room(name)
        assert there == here or there == "" or HEIGHTS[there] < HEIGHTS[here], (
            f"{FILES[module]} imports {name}: {here} may not reach up to {there}"
        )


def test_config_imports_nothing_of_ours():
    assert not ours(FILES["mrcnn.config"])


def test_nobody_inside_imports_the_front_door():
    assert [name for name, path in FILES.items() if "mrcnn.utils" in ours(path)] == []


def test_no_cycles():
    graph = {name: ours(path) & FILES.keys() for name, path in FILES.items()}
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a cycle: {' -> '.join((*path, module))}"
        if module not in finished:
            for name in graph[module] - {"mrcnn"}:
                visit(name, (*path, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def without_tensorflow(module: str) -> bool:
    names = {room(module), module.removeprefix("mrcnn.")}
    return bool(names & (WITHOUT_TENSORFLOW | WITHOUT_TENSORFLOW_TOO))


@pytest.mark.parametrize("module", [name for name in FILES if without_tensorflow(name)])
def test_rooms_without_tensorflow(module):
    allowed = {"keras"} if module == "mrcnn.data.generator" else set()  # a keras PyDataset
    # utils has two functions that take tensors; they fetch TensorFlow when they are called.
    found = {name.split(".")[0] for name in imports(FILES[module], inside_functions=False)}
    assert not found & {"tensorflow", "keras", "tf_keras"} - allowed
    if room(module) in {"config", "geometry", "drawing"}:
        found = {name.split(".")[0] for name in imports(FILES[module])}
        assert not found & {"tensorflow", "keras"}


@pytest.mark.parametrize("module", [n for n in FILES if room(n) == "nn"])
def test_nn_knows_no_files(module):
    found = {name.split(".")[0] for name in imports(FILES[module])}
    assert not found & {"os", "pathlib", "io", "h5py", "shutil", "tempfile", "json"}


@pytest.mark.parametrize("module", FILES)
def test_matplotlib_is_imported_by_functions_only(module):
    found = imports(FILES[module], inside_functions=False)
    assert not {name for name in found if name.split(".")[0] in ("matplotlib", "IPython")}


@pytest.mark.parametrize("module", FILES)
def test_length(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 450


def test_light_imports_load_no_tensorflow():
    """It costs seconds, and a script that draws or reads a config shouldn't wait for it."""
    code = (
        "import sys, mrcnn, mrcnn.config, mrcnn.utils, mrcnn.visualize, mrcnn.cli;"
        "import mrcnn.train.plan, mrcnn.detect.files, mrcnn.evaluate.detections;"
        "from mrcnn.cli.commands import build_parser; build_parser();"  # imports all commands
        "sys.exit(str({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) in ((0, ""), (1, "\n")), result.stderr


def test_help_imports_no_command():
    """Each comes when it is asked for: the list of all is there at once."""
    code = (
        "import sys; from mrcnn.cli import main; main(['--help']);"
        "sys.exit(str({'numpy', 'skimage', 'mrcnn.cli.detect'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) in ((0, ""), (1, "\n")), result.stderr
    assert "find instances in pictures" in result.stdout


def test_no_test_depends_on_how_busy_the_machine_is():
    """Whoever waits for another process waits for tests/patience.py's time."""
    files = [*PACKAGE.parent.glob("tests/**/*.py")]
    found = [path for path in files if re.search(r"timeout=\d", path.read_text(encoding="utf-8"))]
    assert found == [] and len(files) > 50
