"""Tiles against single pictures, on a plane made of labelled ones; and what a large TIFF costs.

    python benchmarks/tiles.py mosaic /data/nucleus/val --weights nucleus
    python benchmarks/tiles.py tiff --side 20000        # a detector without mistakes, no network

mosaic: the pictures of a set are laid on one plane side by side, so that the seams of the tiles cut
    through them. It prints mask AP of the pictures one by one and of the plane, how many instances
    are found, and what of the time is not the network's.
tiff: writes a tiled TIFF of discs and detects in it; it prints the peak of memory and the time, for
    a quarter of the area, too.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mrcnn.data.windows import ArrayWindows, open_windows
from mrcnn.detect.instances import Instances
from mrcnn.detect.tiled import detect_tiles
from mrcnn.detect.tiles import Tiling, plan_tiles
from mrcnn.geometry.crops import MaskCrops

SURE = 0.7  # confidence from which on instances are counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mosaic_mode = modes.add_parser("mosaic")
    mosaic_mode.add_argument("data")
    mosaic_mode.add_argument("--weights", default="nucleus")
    mosaic_mode.add_argument("--width", type=int, default=2000, help="of the plane, pixels")
    mosaic_mode.add_argument("--tile", type=int)
    mosaic_mode.add_argument("--overlap", type=int)
    mosaic_mode.add_argument("--limit", type=int)
    tiff_mode = modes.add_parser("tiff")
    tiff_mode.add_argument("--side", type=int, default=20_000)
    args = parser.parse_args()
    if args.mode == "mosaic":
        compare(args)
    else:
        for side in (args.side // 2, args.side):
            measure_tiff(side)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory {peak:.2f} GB")


# -- One plane against its pictures ---------------------------------------------------------


def compare(args: argparse.Namespace) -> None:
    """Print both APs, both counts and the share of the time."""
    from mrcnn.data.parts import open_part
    from mrcnn.evaluate.coco import LEAST_SCORE, Collected
    from mrcnn.model import MaskRCNN

    dataset = open_part(args.data, subset="all")
    ids = [int(i) for i in dataset.image_ids][: args.limit]
    model = MaskRCNN.from_checkpoint(args.weights, DETECTION_MIN_CONFIDENCE=LEAST_SCORE)
    seconds = [0.0]

    def detect(picture: np.ndarray) -> Instances:
        began = time.perf_counter()
        found = model.detect([picture])[0]
        seconds[0] += time.perf_counter() - began
        return found

    alone, pictures, labels = Collected.of(dataset), [], []
    for number in ids:
        picture = dataset.load_image(number)[..., :3]
        masks, class_ids = dataset.load_mask(number)
        alone.add_truth(number, masks, class_ids, picture.shape)
        alone.add_found(number, detect(picture))
        pictures.append(picture)
        labels.append((MaskCrops.from_masks(masks), class_ids))
    plane, crops, class_ids = mosaic(pictures, labels, args.width)
    tiling = Tiling.of(model.config, plane.shape, args.tile, args.overlap)
    seconds[0], began = 0.0, time.perf_counter()
    found = detect_tiles(ArrayWindows(plane), detect, tiling)
    whole_time = time.perf_counter() - began
    together = Collected.of(dataset)
    together.add_truth(1, crops, class_ids, plane.shape)
    together.add_found(1, found)
    most = len(crops) * 4
    print(
        f"{len(ids)} pictures on a plane of {plane.shape[0]}x{plane.shape[1]}, {tiling}, "
        f"{len(plan_tiles(plane.shape, tiling))} tiles, {len(crops):,} labels"
    )
    for name, collected in (("one by one", alone), ("in tiles", together)):
        ap = collected.evaluate("segm", most, {}).summary()
        count = sum(row["score"] >= SURE for row in collected.found)
        print(
            f"{name:12} mask AP {ap['AP']:.4f}  AP50 {ap['AP50']:.4f}  AP75 {ap['AP75']:.4f}  "
            f"{count:,} instances of at least {SURE}, {len(collected.found):,} in all"
        )
    rest = whole_time - seconds[0]
    print(f"network {seconds[0]:.1f} s, the rest {rest:.2f} s: {100 * rest / seconds[0]:.1f} %")


def mosaic(pictures: list, labels: list, width: int) -> tuple[np.ndarray, MaskCrops, np.ndarray]:
    """Pictures laid in rows on one plane, the highest first: (plane, masks, class ids)."""
    order = sorted(range(len(pictures)), key=lambda i: -len(pictures[i]))
    y = x = row = 0
    places = {}
    for i in order:
        height, wide = pictures[i].shape[:2]
        if x and x + wide > width:
            y, x, row = y + row, 0, 0
        places[i] = y, x
        x, row = x + wide, max(row, height)
    plane = np.zeros((y + row, width, 3), np.uint8)
    boxes, pieces, class_ids = [], [], []
    for i, (y, x) in places.items():
        height, wide = pictures[i].shape[:2]
        plane[y : y + height, x : x + wide] = pictures[i]
        crops, ids = labels[i]
        boxes += (crops.boxes + [y, x, y, x]).tolist()
        pieces += crops.pieces
        class_ids += list(ids)
    return plane, MaskCrops(plane.shape, boxes, pieces), np.array(class_ids, np.int32)


# -- A large file ---------------------------------------------------------------------------

_CELL, _RADIUS = 60, 12  # pixels between discs, and theirs


def measure_tiff(side: int) -> None:
    """Detect in a TIFF of side x side pixels that holds a disc in every cell."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tif"
        write(path, side)
        print(f"{side}x{side}: {path.stat().st_size / 2**30:.2f} GB on disk", flush=True)
        began = time.perf_counter()
        with open_windows(path) as windows:
            found = detect_tiles(windows, discs, Tiling(1024, 128))
        taken = time.perf_counter() - began
    cells = (side // _CELL) ** 2
    print(
        f"  {len(found):,} of {cells:,} discs, {taken:.1f} s, "
        f"{1e6 * taken / side**2:.3f} s a million pixels",
        flush=True,
    )


def write(path: Path, side: int) -> None:
    """A tiled RGB TIFF, tile by tile."""
    import tifffile

    y, x = np.mgrid[:_CELL, :_CELL] - _CELL // 2
    cell = np.where((y**2 + x**2 <= _RADIUS**2)[..., None], 255, 40).astype(np.uint8)
    whole = side // _CELL * _CELL
    band = np.tile(np.broadcast_to(cell, (_CELL, _CELL, 3)), (6, side // _CELL + 1, 1))

    def tiles():
        for top in range(0, side, 256):
            rows = band[np.arange(top, top + 256) % _CELL]
            rows[np.arange(top, top + 256) >= whole] = 40
            for left in range(0, side, 256):
                tile = np.full((256, 256, 3), 40, np.uint8)
                part = rows[:, left : min(left + 256, whole)]
                tile[:, : part.shape[1]] = part
                yield tile

    shape = (side, side, 3)
    tifffile.imwrite(
        path, tiles(), shape=shape, dtype=np.uint8, tile=(256, 256), photometric="rgb", bigtiff=True
    )


def discs(picture: np.ndarray) -> Instances:
    """What is bright, each piece of it: a detector without mistakes."""
    from scipy import ndimage

    pieces, count = ndimage.label(picture[..., 0] > 128)
    places = ndimage.find_objects(pieces)
    boxes = np.array([(s[0].start, s[1].start, s[0].stop, s[1].stop) for s in places], np.int32)
    crops = [pieces[place] == i for i, place in enumerate(places, start=1)]
    boxes = boxes.reshape(-1, 4)
    return Instances(
        rois=boxes,
        class_ids=np.ones(count, np.int32),
        scores=np.ones(count, np.float32),
        masks=MaskCrops(picture.shape, boxes, crops),
    )


if __name__ == "__main__":
    main()
