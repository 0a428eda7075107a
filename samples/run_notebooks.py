"""Run notebooks from top to bottom and save them with their outputs, as they are committed.

    python samples/run_notebooks.py                                  # all but train_shapes.ipynb
    python samples/run_notebooks.py samples/coco/inspect_data.ipynb

Needs pip install ".[test]". Outputs lose what differs from machine to machine: folders, warnings
on stderr, and all but the last state of a progress bar. COCO_DIR, BALLOON_DIR and NUCLEUS_DIR
are not passed on, so that only free pictures get into the files.
"""

import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SAMPLES = Path(__file__).resolve().parent
LONG = {"train_shapes.ipynb"}  # trains for minutes; run it by its name
SECONDS = 1800  # for one cell


def run(path: Path) -> None:
    """Run a notebook in its own folder and overwrite it; raises where one of its cells does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)  # the time of day
            cell.outputs = cleaned(cell.outputs)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


def cleaned(outputs: list) -> list:
    """A cell's outputs without stderr, its streams in one piece and as a terminal would show."""
    kept: list = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        elif output.name == "stdout":
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = as_shown(output.text).replace(f"{SAMPLES.parent}{os.sep}", "")
    return kept


def as_shown(text: str) -> str:
    r"""What is left in a terminal of text with \r, \b and colours in it."""
    text = re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", text)
    lines = []
    for line in text.split("\n"):
        states = [state for state in re.split("[\r\b]+", line) if state.strip()]
        lines.append(states[-1].rstrip() if states else "")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this interpreter
    for variable in ("COCO_DIR", "BALLOON_DIR", "NUCLEUS_DIR"):
        os.environ.pop(variable, None)
    found = sorted(p for p in SAMPLES.rglob("*.ipynb") if p.name not in LONG)
    for path in [Path(name).resolve() for name in names] or found:
        start = time.perf_counter()
        run(path)
        size = path.stat().st_size / 1e6
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
