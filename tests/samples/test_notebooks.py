"""The notebooks run from top to bottom in a clean kernel, and are committed with their outputs."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "samples").rglob("*.ipynb"))


def streams(notebook):
    """All that the notebook printed, stderr included."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook):
    """(mime type, base64) of every picture in the outputs."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output["data"].items() for output in outputs if "data" in output]
    return [item for items in data for item in items if item[0].startswith("image/")]


@pytest.mark.parametrize("place", ["samples", "."])
def test_demo_runs_without_network(tmp_path, monkeypatch, place):
    # A copy has no COCO weights, and a proxy that nobody runs stands for "no network".
    (tmp_path / "samples").mkdir()
    for folder in ("mrcnn", "images", "samples/coco", "samples/nucleus"):
        (tmp_path / folder).symlink_to(ROOT / folder, target_is_directory=True)
    shutil.copy(ROOT / "samples" / "demo.ipynb", tmp_path / "samples")
    for variable in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this interpreter

    notebook = nbformat.read(tmp_path / "samples" / "demo.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": tmp_path / place}},
    )
    client.execute()  # raises CellExecutionError with the cell that failed

    printed = streams(notebook)
    assert "The COCO weights can't be fetched" in printed
    assert "Going on with weights trained on nuclei" in printed
    assert 35 <= printed.count("nucleus         score") <= 60  # 43 are labelled in the picture
    assert len(pictures(notebook)) == 1
    assert not (tmp_path / "mask_rcnn_coco.h5").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_after_a_run_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert pictures(notebook)
    assert os.path.getsize(path) < 600_000
    assert str(ROOT) not in path.read_text() and str(Path.home()) not in path.read_text()
