"""A run's history.csv, a row an epoch, and its curves."""

import csv
import os

import keras

from mrcnn.whole import whole


class CsvLog(keras.callbacks.Callback):
    """One row an epoch: its number and every number of the logs; a resumed run adds rows.

    Columns may come and go (validation AP isn't measured in each epoch), so the file is written
    anew each time.
    """

    def __init__(self, path: str, epoch: int) -> None:
        super().__init__()
        self.path = path
        self.rows = [row for row in read_history(path) if int(row["epoch"]) <= epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole(self.path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def read_history(path: str) -> list[dict[str, str]]:
    """The rows of a run's history.csv; none where there is no such file."""
    if not os.path.isfile(path):
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def plot_curves(folder: str) -> None:
    """Draw a run's history.csv as curves.png beside it: each loss, and the AP where measured."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rows = read_history(os.path.join(folder, "history.csv"))
    if not rows:
        return
    columns = dict.fromkeys(name.removeprefix("val_") for row in rows for name in row)
    names = [name for name in columns if name not in ("epoch", "learning_rate")]
    figure = matplotlib.figure.Figure(figsize=(12, 3 * -(-len(names) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        ax = figure.add_subplot(-(-len(names) // 3), 3, i + 1, title=name)
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            points = [(int(r["epoch"]), float(r[column])) for r in rows if r.get(column)]
            if points:
                ax.plot(*zip(*points), marker=".", label=label)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(os.path.join(folder, "curves.png"), dpi=90)
