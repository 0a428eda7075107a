"""Figures: made, filled with a picture, then saved or shown."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.drawing.labels import POINTS_PER_INCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(figsize: Sequence[float], save_path: str | Path | None = None) -> "Figure":
    """A figure of `figsize` (width, height) in inches.

    One that goes to a file stays outside pyplot, which would keep it in memory until closed;
    any other is pyplot's current figure, so that `plt.savefig` and `plt.title` reach it.
    """
    if save_path is None:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=figsize)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize)
    FigureCanvasAgg(figure)
    return figure


def picture_axes(
    shape: Sequence[int], figsize: Sequence[float], title: str, save_path: str | Path | None
) -> "Axes":
    """Axes that fill a new figure but for its title.

    The figure has the form of the picture (shape: height, width) and fits into `figsize`, so
    that a saved one has no white margins.
    """
    head = title_size(figsize) * 1.6 * (title.count("\n") + 1) / POINTS_PER_INCH if title else 0
    scale = min(figsize[0] / shape[1], (figsize[1] - head) / shape[0])  # inches a pixel
    width, height = shape[1] * scale, shape[0] * scale + head
    figure = new_figure((width, height), save_path)
    return figure.add_axes([0, 0, 1, 1 - head / height])


def title_size(figsize: Sequence[float]) -> float:
    """Font size of a title in points for a figure of `figsize` inches."""
    return float(np.clip(1.1 * max(figsize), 9, 18))


def show_picture(ax: "Axes", picture: np.ndarray, title: str = "", margin: int = 0) -> None:
    """Put a picture [height, width, 3] into `ax`, with `margin` pixels round it and no ticks."""
    ax.imshow(picture)
    frame(ax, *picture.shape[:2], margin)
    if title:
        figsize = ax.get_figure(root=True).get_size_inches()
        ax.set_title(title, fontsize=title_size(figsize), parse_math=False)


def frame(ax: "Axes", height: int, width: int, margin: int = 0) -> None:
    """Make the pixels of a picture of that size the coordinates of `ax`, without ticks."""
    ax.set_aspect("equal")
    ax.set_xlim(-0.5 - margin, width - 0.5 + margin)
    ax.set_ylim(height - 0.5 + margin, -0.5 - margin)
    ax.axis("off")


def finish(figure: "Figure", own: bool, save_path: str | Path | None = None) -> "Figure":
    """Save or show a finished figure, and hand it back.

    own: the function made the figure itself. One drawn on the caller's axes is never shown, and
    neither is one that was saved, nor any where there is no screen (Agg and its like).
    """
    if save_path is not None:
        figure.savefig(save_path)
    elif own and _has_screen():
        import matplotlib.pyplot as plt

        plt.show()
        _show_once(figure)
    return figure


def _has_screen() -> bool:
    import matplotlib
    from matplotlib.backends import BackendFilter, backend_registry

    silent = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    return matplotlib.get_backend().lower() not in silent


def notebook() -> Any:
    """The IPython shell of a running notebook, None anywhere else."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def _show_once(figure: "Figure") -> None:
    """Keep a notebook from drawing `figure` again as the value of the cell that has shown it."""
    shell = notebook()
    if shell is None:
        return
    shown_in = shell.execution_count

    def display() -> None:
        if shell.execution_count != shown_in:
            raise NotImplementedError  # IPython goes on to the figure's ordinary display

    figure._ipython_display_ = display
