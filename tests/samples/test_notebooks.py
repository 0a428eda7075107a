"""The notebooks run from top to bottom in a clean kernel, and are committed with their outputs."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from patience import PATIENCE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "samples"))

import run_notebooks  # noqa: E402

NOTEBOOKS = sorted((ROOT / "samples").rglob("*.ipynb"))
INSPECTING = [path for path in NOTEBOOKS if path.name.startswith("inspect_")]
DATA = ("COCO_DIR", "BALLOON_DIR", "NUCLEUS_DIR")


def streams(notebook):
    """All that the notebook printed, stderr included."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook):
    """(mime type, base64) of every picture in the outputs."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output["data"].items() for output in outputs if "data" in output]
    return [item for items in data for item in items if item[0].startswith("image/")]


def figures_by_cell(notebook):
    return [len(pictures(nbformat.from_dict({"cells": [cell]}))) for cell in notebook.cells]


def code_of(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def execute(notebook, folder):
    """Run a notebook in a folder; raises CellExecutionError with the cell that failed."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources).execute()


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """A copy without COCO's weights, no data of one's own, and a proxy that nobody runs."""
    for folder in ("mrcnn", "images", "samples"):
        (tmp_path / folder).symlink_to(ROOT / folder, target_is_directory=True)
    for variable in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY", *DATA):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this interpreter
    return tmp_path


@pytest.mark.parametrize("place", ["notes", "."])
def test_demo_runs_without_network(clean, place):
    (clean / "notes").mkdir()
    notebook = nbformat.read(ROOT / "samples" / "demo.ipynb", as_version=4)
    execute(notebook, clean / place)
    printed = streams(notebook)
    assert "The COCO weights can't be fetched" in printed
    assert "Going on with weights trained on nuclei" in printed
    assert 35 <= printed.count("nucleus         score") <= 60  # 43 are labelled in the picture
    assert len(pictures(notebook)) == 1
    assert not (clean / "mask_rcnn_coco.h5").exists()


# Two stand for all; the others are run before a change of notebooks or of what they show.
ALWAYS = ("inspect_nucleus_model.ipynb", "inspect_balloon_data.ipynb")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.name in ALWAYS else pytest.mark.slow)
        for path in INSPECTING
    ],
    ids=lambda path: path.name,
)
def test_inspecting_notebooks_run_and_draw_what_is_committed(clean, path):
    committed = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    (clean / "notes").mkdir()
    execute(notebook, clean / "notes")
    assert figures_by_cell(notebook) == figures_by_cell(committed)
    assert sorted(os.listdir(clean / "notes")) == []  # nothing is left lying about


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_after_a_run_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = code_of(path)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {o.get("name", "stdout") for cell in code for o in cell.outputs} == {"stdout"}
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert pictures(notebook)
    assert "\r" not in streams(notebook) and "\b" not in streams(notebook)
    assert os.path.getsize(path) < 1_500_000
    assert str(ROOT) not in path.read_text() and str(Path.home()) not in path.read_text()


def test_all_notebooks_together_are_small():
    assert len(NOTEBOOKS) == 9
    assert sum(map(os.path.getsize, NOTEBOOKS)) < 8_000_000


def test_the_first_cell_is_the_same_in_all():
    assert len({code_of(path)[0].source for path in NOTEBOOKS}) == 1


def first_cell(tmp_path, monkeypatch, git):
    """The first cell alone, where there is no repository, with a `git` that does as told."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{git}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    (tmp_path / "content").mkdir()
    cell = code_of(NOTEBOOKS[0])[0]
    install = '%pip install --quiet "{ROOT_DIR}{cuda}"'
    assert install in cell.source
    cell.source = cell.source.replace(install, 'print("installing", ROOT_DIR + cuda)')
    cell.source += "\nimport coco, nucleus\nprint(coco.ROOT_DIR)"
    return nbformat.v4.new_notebook(cells=[cell])


def test_in_colab_the_first_cell_fetches_the_repository(tmp_path, monkeypatch):
    git = f'echo "git $*"; ln -s {ROOT} "$5"'
    notebook = first_cell(tmp_path, monkeypatch, git)
    execute(notebook, tmp_path / "content")
    printed = streams(notebook)
    assert "git clone --depth 1 https://github.com/YOUR-NAME/mask-rcnn mask-rcnn" in printed
    assert f"installing {ROOT}" in printed
    assert "Your own pictures go into" in printed


def test_the_first_cell_says_so_where_the_repository_is_not_to_be_had(tmp_path, monkeypatch):
    notebook = first_cell(tmp_path, monkeypatch, "exit 128")
    with pytest.raises(CellExecutionError, match="write its address into REPOSITORY"):
        execute(notebook, tmp_path / "content")


def test_saved_outputs_are_what_a_terminal_would_show():
    stream = nbformat.v4.new_output
    outputs = [
        stream("stream", name="stderr", text="I0000 cpu_feature_guard"),
        stream(
            "stream", name="stdout", text=f"1/2 - loss: 3\b\b\b2/2 - loss: 1\nat {ROOT}/logs\r\n"
        ),
        stream("stream", name="stdout", text="\x1b[31mred\x1b[0m\n"),
    ]
    (kept,) = run_notebooks.cleaned(outputs)
    assert kept.text == "2/2 - loss: 1\nat logs\nred\n"
