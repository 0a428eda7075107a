"""What becomes of objects at the seams of tiles: a figure.

    python samples/tiles/seams.py                   # nuclei, on a plane made of free pictures
    python samples/tiles/seams.py --tile 256 --overlap 64 --out seams.png

On the left all that each tile has found by itself, one colour a tile: what a seam cuts is there in
halves, and what lies where tiles overlap is there twice. On the right the same, joined by masks.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from mrcnn.data.pictures import read_picture
from mrcnn.data.windows import ArrayWindows
from mrcnn.detect.instances import Instances
from mrcnn.detect.tiled import detect_tiles
from mrcnn.detect.tiles import Tile, Tiling, plan_tiles

PICTURES = ROOT / "images" / "nuclei"


def main(argv: Sequence[str] | None = None, detect: Callable | None = None) -> None:
    """detect: a picture -> Instances; the bundled weights for nuclei by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tile", type=int, default=256, help="side of a tile, pixels")
    parser.add_argument("--overlap", type=int, default=48, help="of the tiles, pixels")
    parser.add_argument("--size", type=int, default=640, help="side of the plane, pixels")
    parser.add_argument("--out", default="seams.png")
    args = parser.parse_args(argv)
    plane = mosaic([read_picture(path) for path in sorted(PICTURES.glob("*.png"))], args.size)
    tiling = Tiling(args.tile, args.overlap)
    alone: list[Instances] = []
    found = detect_tiles(ArrayWindows(plane), detect or network(), tiling, alone.append)
    tiles = plan_tiles(plane.shape, tiling)
    count = sum(len(one) for one in alone)
    print(f"{len(tiles)} tiles found {count} objects and parts of objects: {len(found)} objects")
    draw(plane, tiles, alone, found, args.out)
    print(f"Written to {args.out}")


def network() -> Callable:
    """The network that comes with the package."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN.from_checkpoint("nucleus")
    return lambda picture: model.detect([picture])[0]


def mosaic(pictures: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Pictures side by side, row after row, until the plane is full: [size, size, 3]."""
    plane = np.zeros((size, size, 3), np.uint8)
    y = number = 0
    while y < size:
        x, row = 0, size
        while x < size:
            picture = pictures[number % len(pictures)][: size - y, : size - x]
            picture = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
            plane[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
            x, row, number = x + picture.shape[1], min(row, picture.shape[0]), number + 1
        y += row
    return plane


def draw(
    plane: np.ndarray, tiles: list[Tile], alone: list[Instances], found: Instances, path: str
) -> None:
    """Both panels beside each other."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from mrcnn.visualize import random_colors

    figure = Figure(figsize=(14, 7.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        ax.imshow(plane)
        ax.set_axis_off()
    for tile, one, color in zip(tiles, alone, random_colors(len(tiles))):
        height, width = tile.bottom - tile.top, tile.right - tile.left
        corner = tile.left - 0.5, tile.top - 0.5
        for ax, line in ((left, "-"), (right, ":")):
            outline = {"edgecolor": color if ax is left else "white", "linestyle": line}
            ax.add_patch(Rectangle(corner, width, height, fill=False, alpha=0.7, **outline))
        for i in range(len(one)):
            outline_mask(left, one.masks[..., i], tile.top, tile.left, color)
    crops, colors = found.crops, random_colors(len(found))
    for piece, box, color in zip(crops.pieces, crops.boxes.tolist(), colors):
        outline_mask(right, piece, box[0], box[1], color)
    left.set_title(f"by tile: {sum(len(one) for one in alone)} masks")
    right.set_title(f"joined: {len(found)} objects")
    figure.savefig(path, dpi=90)


def outline_mask(ax, mask: np.ndarray, top: int, left: int, color: Sequence[float]) -> None:
    """The outline of a mask whose upper left corner lies at (top, left)."""
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return
    cut = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    for points in find_contours(cut.astype(float), 0.5):
        y, x = points[:, 0] + top + rows[0] - 1, points[:, 1] + left + columns[0] - 1
        ax.plot(x, y, color=color, linewidth=1.2)


if __name__ == "__main__":
    main()
