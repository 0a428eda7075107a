"""MS COCO: train Mask R-CNN on it, and measure how well a network does.

    python coco.py evaluate --dataset /data/coco --year 2017 --model coco
    python coco.py train    --dataset /data/coco --year 2017 --model imagenet --download

--model is "coco" (the published weights, fetched if absent), "last" (the newest checkpoint under
--logs), "imagenet" (a backbone trained on ImageNet) or the path of a weight file.

--set changes attributes of the config, and --epochs the ends of the three stages of training; a
run of a minute, to see that all is in place, on few pictures or many:

    python coco.py train --dataset /data/coco --year 2017 --model imagenet --epochs 1 2 3
        --set STEPS_PER_EPOCH=5 --set VALIDATION_STEPS=1 --set IMAGE_MAX_DIM=256

A COCO folder looks like this; `load_coco` also finds pictures in `images/` or beside the JSON:

    annotations/instances_train2017.json    train2017/000000000009.jpg ..
    annotations/instances_val2017.json      val2017/000000000139.jpg ..
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.append(ROOT_DIR)  # so that the sample runs without installing the package

from mrcnn.errors import UsageError, plain_interrupts

if __name__ == "__main__":
    plain_interrupts("coco.py")  # the imports take seconds

import numpy as np
from pycocotools import mask as maskUtils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.devices import quiet_tensorflow

with quiet_tensorflow():
    from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.cli.arguments import add_set_argument
from mrcnn.cli.configs import apply_setting
from mrcnn.config import Config
from mrcnn.data.augment import flip_left_right

COCO_MODEL_PATH = os.path.join(ROOT_DIR, "mask_rcnn_coco.h5")
DEFAULT_LOGS_DIR = os.path.join(ROOT_DIR, "logs")
DEFAULT_DATASET_YEAR = "2014"
STAGES = (40, 120, 160)  # the last epoch of the heads, of ResNet stage 4 and up, of everything

# -- Hyper-parameters -------------------------------------------------------------------------


class CocoConfig(Config):
    """Training on COCO."""

    NAME = "coco"
    IMAGES_PER_GPU = 2  # fits into 12 GB
    NUM_CLASSES = 1 + 80  # background + COCO's classes


class InferenceConfig(CocoConfig):
    """Evaluation: one picture at a time, and every detection counts, however faint."""

    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0


# -- Dataset ----------------------------------------------------------------------------------


class CocoDataset(utils.Dataset):
    """Pictures and instances of a COCO folder, or of any folder with a JSON of that form."""

    def load_coco(
        self,
        dataset_dir: str,
        subset: str,
        year: str = DEFAULT_DATASET_YEAR,
        class_ids: Sequence[int] | None = None,
        class_map: Any = None,
        return_coco: bool = False,
        auto_download: bool = False,
    ) -> COCO | None:
        """Add the pictures of a subset; call `prepare` afterwards.

        dataset_dir: the folder with the pictures and annotations.
        subset: "train", "val", or for 2014 "minival" or "valminusminival", the parts of val.
        class_ids: COCO's own ids of the classes to load, with the pictures that show any of them;
            all classes and all pictures if None or empty.
        class_map: accepted for the sake of old scripts and not used, as in the original.
        return_coco: True returns the COCO object, which evaluate_coco asks for.
        auto_download: True fetches first what is not in dataset_dir.

        Raises FileNotFoundError, with the paths tried, where annotations or pictures are missing.
        """
        if auto_download:
            self.auto_download(dataset_dir, subset, year)
        file_name = f"instances_{subset}{year}.json"
        coco = COCO(
            _first_existing(
                "The annotations",
                [
                    os.path.join(dataset_dir, "annotations", file_name),
                    os.path.join(dataset_dir, file_name),
                ],
            )
        )
        pictures = f"{_picture_set(subset)}{year}"
        if class_ids:
            image_ids = sorted({i for c in class_ids for i in coco.getImgIds(catIds=[c])})
        else:
            class_ids = sorted(coco.getCatIds())
            image_ids = list(coco.imgs)
        for class_id in class_ids:
            self.add_class("coco", class_id, coco.loadCats(class_id)[0]["name"])
        if image_ids:
            # Which folder holds the pictures shows at the first one.
            name = coco.imgs[image_ids[0]]["file_name"]
            folders = [pictures, os.path.join("images", pictures), "images", ""]
            tried = [os.path.join(dataset_dir, folder, name) for folder in folders]
            image_dir = _first_existing("The pictures", tried).removesuffix(name)
        for image_id in image_ids:
            info = coco.imgs[image_id]
            self.add_image(
                "coco",
                image_id=image_id,
                path=os.path.join(image_dir, info["file_name"]),
                width=info["width"],
                height=info["height"],
                annotations=coco.loadAnns(
                    coco.getAnnIds(imgIds=[image_id], catIds=class_ids, iscrowd=None)
                ),
            )
        return coco if return_coco else None

    def auto_download(self, dataDir: str, dataType: str, dataYear: str) -> None:
        """Fetch the pictures and annotations of a subset from COCO's site, unless they are there.

        dataType, dataYear: subset and year as for load_coco. A download that breaks off goes on
        where it stopped at the next call. Raises OSError where the site can't be reached, and
        ValueError for minival or valminusminival of another year than 2014.
        """
        # Lazily, since nothing else of this file needs its neighbour on sys.path.
        from coco_download import download

        download(dataDir, dataType, str(dataYear))

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks and class ids of a picture's instances; a crowd's class id is negative.

        Returns mask: bool [height, width, num_instances]; class_ids: int32 [num_instances].
        Instances that cover no pixel are left out. Raises ValueError, naming the annotation,
        where a mask has another size than its picture.
        """
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().load_mask(image_id)
        height, width = info["height"], info["width"]
        masks, class_ids = [], []
        for annotation in info["annotations"]:
            class_id = self.map_source_class_id(f"coco.{annotation['category_id']}")
            mask = self.annToMask(annotation, height, width).astype(bool)  # [height, width]
            if not mask.any():
                continue
            is_crowd = annotation.get("iscrowd", 0)  # home-made files may leave it out
            if is_crowd:
                class_id = -class_id
            if mask.shape != (height, width):
                if not is_crowd:
                    raise ValueError(
                        f"The mask of annotation {annotation['id']} is {mask.shape[0]} high and "
                        f"{mask.shape[1]} wide, but its picture {info['path']} is {height} high "
                        f"and {width} wide: correct or remove it in the annotations."
                    )
                # NOTE: as in the original, such a crowd is taken to fill the picture: nothing
                # in it then counts as background, which is the careful reading.
                mask = np.ones((height, width), bool)
            masks.append(mask)
            class_ids.append(class_id)
        if not masks:
            return np.zeros((height, width, 0), bool), np.zeros(0, np.int32)
        return np.stack(masks, axis=2), np.array(class_ids, np.int32)

    def image_reference(self, image_id: int) -> str:
        """The picture's page in COCO's explorer."""
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().image_reference(image_id)
        return f"http://cocodataset.org/#explore?id={info['id']}"

    def annToRLE(self, ann: dict[str, Any], height: int, width: int) -> dict[str, Any]:
        """An annotation's mask as compressed RLE: {"size": [height, width], "counts": bytes}.

        The segmentation may be a list of polygons [x1, y1, x2, y2, ..] in pixels, an RLE with a
        list of counts (COCO's crowds), or a compressed RLE.
        """
        segmentation = ann["segmentation"]
        if isinstance(segmentation, list):
            # Below three corners there is no area, and pycocotools would take four numbers for
            # a box of x, y, width and height.
            polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
            if not polygons:
                return maskUtils.encode(np.zeros((height, width), np.uint8, order="F"))
            return maskUtils.merge(maskUtils.frPyObjects(polygons, height, width))
        if isinstance(segmentation["counts"], list):
            return maskUtils.frPyObjects(segmentation, height, width)
        return segmentation

    def annToMask(self, ann: dict[str, Any], height: int, width: int) -> np.ndarray:
        """An annotation's mask, uint8 [height, width] of 0 and 1.

        An RLE brings its own size, which may differ from height and width.
        """
        return maskUtils.decode(self.annToRLE(ann, height, width))


def _picture_set(subset: str) -> str:
    return "val" if subset in ("minival", "valminusminival") else subset


def _first_existing(what: str, paths: Sequence[str]) -> str:
    for path in paths:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(
        f"{what} can't be found. Tried: {', '.join(paths)}. Check the dataset's folder, the "
        "subset and the year, or fetch them with auto_download (--download)."
    )


# -- Evaluation -------------------------------------------------------------------------------


def build_coco_results(
    dataset: utils.Dataset,
    image_ids: Sequence[int],
    rois: np.ndarray | None,
    class_ids: np.ndarray,
    scores: np.ndarray,
    masks: np.ndarray,
) -> list[dict[str, Any]]:
    """Detections in the form of COCO's result files, ready for `COCO.loadRes` or `json.dump`.

    image_ids: COCO's own ids of the pictures with these detections, as a rule one.
    rois: [num_instances, (y1, x1, y2, x2)] in pixels; None gives an empty list.
    class_ids: [num_instances], those of `dataset`; scores: [num_instances].
    masks: bool or 0 and 1, [height, width, num_instances].
    """
    if rois is None:
        return []
    results = []
    for image_id in image_ids:
        for i, (y1, x1, y2, x2) in enumerate(np.around(rois, 1).tolist()):
            rle = maskUtils.encode(np.asfortranarray(masks[:, :, i], dtype=np.uint8))
            results.append(
                {
                    "image_id": image_id,
                    "category_id": dataset.get_source_class_id(class_ids[i], "coco"),
                    "bbox": [round(side, 1) for side in (x1, y1, x2 - x1, y2 - y1)],
                    "score": float(scores[i]),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                }
            )
    return results


def evaluate_coco(
    model: modellib.MaskRCNN,
    dataset: CocoDataset,
    coco: COCO,
    eval_type: str = "bbox",
    limit: int = 0,
    image_ids: Sequence[int] | None = None,
) -> COCOeval:
    """Detect in a dataset's pictures and print COCO's table of average precision and recall.

    model: one in inference mode. coco: the ground truth, from load_coco(return_coco=True).
    eval_type: "bbox" compares boxes, "segm" masks.
    limit: 0 takes all pictures, else at most so many.
    image_ids: the dataset's ids of the pictures, all if None.

    Returns the COCOeval object; its `stats` holds the table's numbers, AP first.
    """
    if eval_type not in ("bbox", "segm"):
        raise ValueError(f'eval_type is {eval_type!r}: it must be "bbox" or "segm".')
    start = time.perf_counter()
    image_ids = list(dataset.image_ids if image_ids is None else image_ids)
    image_ids = image_ids[: limit or None]
    coco_image_ids = [dataset.image_info[i]["id"] for i in image_ids]

    results, detect_seconds = [], 0.0
    for image_id, coco_image_id in zip(image_ids, coco_image_ids):
        image = dataset.load_image(image_id)
        before = time.perf_counter()
        found = model.detect([image], verbose=0)[0]
        detect_seconds += time.perf_counter() - before
        results += build_coco_results(
            dataset,
            [coco_image_id],
            found["rois"],
            found["class_ids"],
            found["scores"],
            found["masks"],
        )

    evaluation = COCOeval(coco, _load_results(coco, results, eval_type), eval_type)
    evaluation.params.imgIds = coco_image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    count = max(len(image_ids), 1)
    print(f"Prediction time: {detect_seconds:.1f} s. Average {detect_seconds / count:.3f} s/image")
    print(f"Total time: {time.perf_counter() - start:.1f} s")
    return evaluation


def _load_results(coco: COCO, results: list[dict[str, Any]], eval_type: str) -> COCO:
    if not results:
        print("Nothing was detected in any picture: every precision and recall below is 0.")
        empty = COCO()  # COCO.loadRes refuses an empty list
        empty.dataset = {**coco.dataset, "annotations": []}
        empty.createIndex()
        return empty
    if eval_type == "segm":
        # With a box there, loadRes takes the box's area for the instance's, and sorts instances
        # wrongly into small, medium and large.
        results = [{k: v for k, v in result.items() if k != "bbox"} for result in results]
    return coco.loadRes(results)


# -- Training ---------------------------------------------------------------------------------


def train(
    model: modellib.MaskRCNN,
    dataset_dir: str,
    year: str,
    download: bool = False,
    stages: Sequence[int] = STAGES,
) -> None:
    """Train the heads, then ResNet stage 4 and up, then everything: 160 epochs in all.

    stages: the last epoch of each, counted from the first stage on.
    year "2014" trains on train and valminusminival and validates on minival; any other year has
    train and val.
    """
    dataset_train = CocoDataset()
    dataset_train.load_coco(dataset_dir, "train", year=year, auto_download=download)
    if year == "2014":
        dataset_train.load_coco(dataset_dir, "valminusminival", year=year, auto_download=download)
    dataset_train.prepare()
    dataset_val = CocoDataset()
    dataset_val.load_coco(dataset_dir, _held_out(year), year=year, auto_download=download)
    dataset_val.prepare()

    learning_rate = model.config.LEARNING_RATE
    for layers, epochs, rate in zip(
        ("heads", "4+", "all"), stages, (learning_rate, learning_rate, learning_rate / 10)
    ):
        print(f"Training {layers} up to epoch {epochs}")
        model.train(
            dataset_train,
            dataset_val,
            learning_rate=rate,
            epochs=epochs,
            layers=layers,
            augmentation=flip_left_right(0.5),
        )


def _held_out(year: str) -> str:
    return "minival" if year == "2014" else "val"


# -- Command line -----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; arguments: those of the shell if None."""
    args = _parse(arguments)
    print("Command:", args.command)
    print("Model:  ", args.model)
    print("Dataset:", args.dataset, args.year)
    print("Logs:   ", args.logs)
    training = args.command == "train"
    config = CocoConfig() if training else InferenceConfig()
    try:
        for setting in args.settings:
            apply_setting(config, setting)
    except UsageError as error:
        sys.exit(f"coco.py: {error}")
    config.display()
    model = modellib.MaskRCNN(
        mode="training" if training else "inference", config=config, model_dir=args.logs
    )
    model_path = _weights_path(args.model, model)
    print("Loading weights", model_path)
    model.load_weights(model_path, by_name=True)
    if training:
        train(model, args.dataset, args.year, args.download, args.epochs)
        return
    dataset = CocoDataset()
    coco = dataset.load_coco(
        args.dataset,
        _held_out(args.year),
        year=args.year,
        return_coco=True,
        auto_download=args.download,
    )
    dataset.prepare()
    print(f"Running COCO evaluation on {args.limit or 'all'} images.")
    evaluate_coco(model, dataset, coco, args.eval_type, limit=args.limit)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train Mask R-CNN on MS COCO, or evaluate it there.", allow_abbrev=False
    )
    parser.add_argument("command", choices=["train", "evaluate"])
    parser.add_argument("--dataset", required=True, help="folder of the MS COCO dataset")
    parser.add_argument(
        "--model", required=True, help='"coco", "last", "imagenet", or path of a .h5 weight file'
    )
    parser.add_argument(
        "--year", default=DEFAULT_DATASET_YEAR, help="2014 (default) or 2017, as in the file names"
    )
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR, help="folder of logs and checkpoints")
    parser.add_argument(
        "--limit", type=int, default=500, help="pictures to evaluate (default 500; 0: all)"
    )
    parser.add_argument(
        "--eval-type", choices=["bbox", "segm"], default="bbox", help="what evaluate compares"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        nargs=3,
        default=STAGES,
        metavar=("HEADS", "4+", "ALL"),
        help="the last epoch of each stage of training (default 40 120 160)",
    )
    add_set_argument(parser)
    parser.add_argument(
        "--download",
        nargs="?",  # old command lines say `--download True`
        const=True,
        default=False,
        type=lambda text: text.lower() in ("true", "yes", "1"),
        help="fetch the dataset first if it is not there",
    )
    return parser.parse_args(arguments)


def _weights_path(name: str, model: modellib.MaskRCNN) -> str:
    if name.lower() == "coco":
        if not os.path.exists(COCO_MODEL_PATH):
            utils.download_trained_weights(COCO_MODEL_PATH)
        return COCO_MODEL_PATH
    if name.lower() == "last":
        return model.find_last()
    if name.lower() == "imagenet":
        return model.get_imagenet_weights()
    return name


if __name__ == "__main__":
    main()
