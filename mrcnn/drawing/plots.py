"""Precision and recall, overlaps and weights: what is plotted or tabled, not drawn on images."""

import html
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.drawing.figures import finish, new_figure, notebook
from mrcnn.drawing.labels import class_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_precision_recall(
    AP: float,
    precisions: Sequence[float] | np.ndarray,
    recalls: Sequence[float] | np.ndarray,
    ax: "Axes | None" = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Plot precision over recall, as `compute_ap` hands them back.

    AP: average precision at the IoU of 0.5, for the title. precisions, recalls: [num_points].
    The filled area is AP: PASCAL VOC's sum, each precision over the recall gained up to it.
    """
    own = ax is None
    if own:
        ax = new_figure((7, 6), save_path).subplots()
    ax.fill_between(recalls, precisions, step="pre", alpha=0.2)
    ax.step(recalls, precisions, where="pre", linewidth=1.5)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="Recall", ylabel="Precision")
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.grid(alpha=0.3)
    return finish(ax.get_figure(root=True), own, save_path)


def plot_overlaps(
    gt_class_ids: Sequence[int] | np.ndarray,
    pred_class_ids: Sequence[int] | np.ndarray,
    pred_scores: Sequence[float] | np.ndarray,
    overlaps: np.ndarray,
    class_names: Sequence[str] | Mapping[int, str],
    threshold: float = 0.5,
    ax: "Axes | None" = None,
    save_path: str | Path | None = None,
) -> "Figure":
    """Show how much each detection overlaps each true instance, and whether their classes agree.

    gt_class_ids: [num_gt], zeros (padding) left out; pred_class_ids, pred_scores: [num_pred];
    overlaps: IoU [num_pred, num_gt]; class_names by class id. A cell above `threshold` says
    "match" where the two classes are the same and "wrong" where not.
    """
    gt_class_ids = [int(i) for i in gt_class_ids if i]
    pred_class_ids = [int(i) for i in pred_class_ids if i]
    overlaps, shape = np.asarray(overlaps, dtype=float), (len(pred_class_ids), len(gt_class_ids))
    if overlaps.size and overlaps.shape != shape:
        raise ValueError(
            f"overlaps has shape {list(overlaps.shape)}; with {shape[0]} detections and {shape[1]} "
            f"true instances it must be {list(shape)}."
        )
    own = ax is None
    if own:
        figsize = np.clip([3 + 0.75 * shape[1], 2.5 + 0.5 * shape[0]], [6, 4], 30)
        figure = new_figure(figsize, save_path)
        figure.set_layout_engine("constrained")
        ax = figure.subplots()
    rows = [f"{class_name(class_names, i)} ({s:.2f})" for i, s in zip(pred_class_ids, pred_scores)]
    ax.set_yticks(range(shape[0]), rows)
    columns = [class_name(class_names, i) for i in gt_class_ids]
    ax.set_xticks(range(shape[1]), columns, rotation=90 if shape[1] > 6 else 0)
    ax.set(xlabel="Ground truth", ylabel="Predictions", title="IoU of detections with the truth")
    if overlaps.size:
        ax.imshow(overlaps, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    else:
        print("\n*** No overlaps to display ***\n")
    for (row, col), iou in np.ndenumerate(overlaps):
        verdict = "match" if pred_class_ids[row] == gt_class_ids[col] else "wrong"
        text = f"{iou:.3f}\n{verdict}" if iou > threshold else f"{iou:.3f}" if iou else "0"
        ax.text(col, row, text, ha="center", va="center", fontsize=9,
                color="white" if iou > 0.6 else "black")  # fmt: skip
    return finish(ax.get_figure(root=True), own, save_path)


def display_table(table: Sequence[Sequence[Any]]) -> None:
    """Show rows of cells: as an HTML table in a notebook, as aligned text anywhere else."""
    rows = [[str(cell) for cell in row] for row in table]
    if notebook() is None:
        widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        return
    from IPython.display import HTML, display

    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    display(HTML("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"))


def display_weight_stats(model: Any) -> None:
    """Show name, shape, least, greatest and standard deviation of every trainable layer's weights.

    model: a MaskRCNN. A tensor that looks broken is marked: "dead?" where all its values are the
    same (new biases are, so they are exempt), "overflow?" where one passes 1000.
    """
    table = [["Weight name", "Shape", "Min", "Max", "Std"]]
    for layer in model.get_trainable_layers():
        for variable, values in zip(layer.weights, layer.get_weights()):
            name = getattr(variable, "path", variable.name)
            alert = ""
            if values.size > 1 and values.min() == values.max() and not name.endswith("bias"):
                alert += " *** dead?"
            if np.abs(values).max() > 1000:
                alert += " *** overflow?"
            numbers = [f"{value:+9.4f}" for value in (values.min(), values.max(), values.std())]
            table.append([name + alert, str(tuple(values.shape)), *numbers])
    display_table(table)
