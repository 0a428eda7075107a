"""Outlines for ImageJ's ROI Manager: a zip with a file an object."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.data.writing_geojson import polygons
from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.geometry.crops import MaskCrops
from mrcnn.whole import whole


def check_installed() -> None:
    """Raise UsageError where the package that writes them is missing."""
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"ROIs for ImageJ need the package roifile ({error}): {how_to_install('imagej')}"
        ) from error


def write_rois(path: Path, crops: MaskCrops, names: Sequence[str]) -> None:
    """Write a zip for ImageJ (File, Open), whole or not at all; an object's ROI is "0001 cell".

    An object in several pieces has a ROI for each, "0001-2 cell"; ImageJ's polygons have no holes,
    so that those are left out of the outlines. names: of the instances' classes.
    """
    import roifile

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
        for i, (name, piece) in enumerate(zip(names, crops.pieces)):
            y1, x1, _, _ = crops.boxes[i].tolist()
            for number, (outline, *_) in enumerate(polygons(piece, y1, x1), start=1):
                which = f"{i + 1:04d}" + (f"-{number}" if number > 1 else "")
                shown = f"{which} {name}".replace("/", "_").replace("\\", "_")
                roi = roifile.ImagejRoi.frompoints(np.asarray(outline, np.float32), name=shown)
                file.writestr(f"{shown}.roi", roi.tobytes())
