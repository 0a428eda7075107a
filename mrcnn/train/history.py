"""A run's history.csv, a row an epoch, and its curves."""

import csv
import errno
import io
import os
import warnings

import keras

from mrcnn.train.checkpoints import read_history
from mrcnn.train.stopping import TrainingStopped, cant_be_written, what_is_safe
from mrcnn.whole import whole


class CsvLog(keras.callbacks.Callback):
    """One row an epoch: its number and every number of the logs; a resumed run adds rows.

    Columns may come and go (validation AP isn't measured in each epoch), so the file is written
    anew each time. It comes before the epoch's checkpoint: a run that is killed between the two
    trains the epoch again, and one with a checkpoint has its row.
    Raises TrainingStopped where the disk is full or the folder gone.
    """

    def __init__(self, path: str, epoch: int) -> None:
        super().__init__()
        self.path = path
        self.rows = [row for row in read_history(path) if int(row["epoch"]) <= epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        try:
            self._write()
        except OSError as error:
            told = cant_be_written(self.path, error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT):
                safe = what_is_safe(os.path.dirname(self.path))
                raise TrainingStopped(f"{told} {safe}") from error
            # A spreadsheet may have it open, which on Windows keeps others out.
            warnings.warn(f"{told} Its rows come with the next epoch's.", stacklevel=2)

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        data = table.getvalue().encode()
        with whole(self.path, lasting=True, size=len(data)) as unfinished:
            unfinished.write_bytes(data)


def plot_curves(folder: str) -> None:
    """Draw a run's history.csv as curves.png beside it: the loss and the AP, then the parts."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.ticker import MaxNLocator

    rows = read_history(os.path.join(folder, "history.csv"))
    if not rows:
        return
    columns = dict.fromkeys(name.removeprefix("val_") for row in rows for name in row)
    names = [name for name in columns if name not in ("epoch", "learning_rate")]
    first = ("loss", "AP", "AP50")
    names.sort(key=lambda name: (first.index(name) if name in first else len(first), name == "l2"))
    figure = matplotlib.figure.Figure(figsize=(12, 3 * -(-len(names) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, start=1):
        ax = figure.add_subplot(-(-len(names) // 3), 3, place, title=name)
        for i, (column, label) in enumerate(((name, "training"), (f"val_{name}", "validation"))):
            points = [(int(r["epoch"]), float(r[column])) for r in rows if r.get(column)]
            if points:
                ax.plot(*zip(*points), f"C{i}.-", label=label)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        ax.legend()
    path = os.path.join(folder, "curves.png")
    try:
        with whole(path) as unfinished:
            figure.savefig(unfinished, format="png", dpi=90)
    except OSError as error:  # the weights are safe, and the numbers in history.csv
        warnings.warn(cant_be_written(path, error), stacklevel=2)
