"""Mask R-CNN (He et al. 2017) as a Keras graph.

    picture -> backbone -> pyramid -> proposals -> regions -> heads -> instances

    model = MaskRCNN(mode="inference", config=config, model_dir="logs")
    model.load_weights("mask_rcnn_coco.h5", by_name=True)
    found = model.detect([image])[0]          # rois, class_ids, scores, masks

First the wiring, whose pieces live in `mrcnn.nn`; then `MaskRCNN`, with everything that is done
with it; last the names that scripts import from here.
"""

from mrcnn.devices import quiet_graphs

quiet_graphs()  # before anything else imports TensorFlow

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import layers as KL

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.detect import configs
from mrcnn.detect.check import check_arguments, check_pictures
from mrcnn.detect.forward import Forward, outside_graphs, require_eager
from mrcnn.detect.instances import Instances
from mrcnn.detect.mold import Molded, molded_batches
from mrcnn.detect.tiled import DetectsTiles
from mrcnn.detect.unmold import unmold_batch
from mrcnn.evaluate.coco import evaluate_dataset, measuring_config
from mrcnn.export.exporting import Exporting
from mrcnn.nn.anchors import Anchors
from mrcnn.nn.backbone import build_backbone
from mrcnn.nn.detection import DetectionLayer, PadInstances, RealDetections
from mrcnn.nn.fpn import fpn_graph
from mrcnn.nn.heads import box_head, mask_head
from mrcnn.nn.layers import NormBoxes, precision
from mrcnn.nn.losses import Loss
from mrcnn.nn.proposals import ProposalLayer
from mrcnn.nn.rpn import build_rpn_model, rpn_over_pyramid
from mrcnn.nn.targets import DetectionTargetLayer, PositiveRois
from mrcnn.train import checkpoints, distribution, optimiser
from mrcnn.train.finding import find_weights
from mrcnn.train.fit import check, fit
from mrcnn.train.folders import begun
from mrcnn.train.keras_model import KerasModel, TrainingModel
from mrcnn.weights import agreement, download, layout
from mrcnn.words import log


def build_inference(config: Config) -> KerasModel:
    """The paper's figure 1, ready to detect.

    Inputs: input_image [batch, height, width, channels], input_image_meta
    [batch, 12 + num_classes], input_anchors [batch, num_anchors, 4] normalised.
    Outputs: detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox.
    """
    image = KL.Input(shape=[None, None, config.IMAGE_CHANNEL_COUNT], name="input_image")
    image_meta = KL.Input(shape=[config.IMAGE_META_SIZE], name="input_image_meta")
    anchors = KL.Input(shape=[None, 4], name="input_anchors")

    feature_maps, (_, rpn_class, rpn_bbox) = build_features_and_rpn(image, config)
    rpn_rois = ProposalLayer(
        proposal_count=config.POST_NMS_ROIS_INFERENCE,
        nms_threshold=config.RPN_NMS_THRESHOLD,
        name="ROI",
        config=config,
    )([rpn_class, rpn_bbox, anchors])

    pyramid = feature_maps[:4]  # P6 is for the proposals alone
    _, mrcnn_class, mrcnn_bbox = box_head(rpn_rois, pyramid, image_meta, config)
    detections = DetectionLayer(config, name="mrcnn_detection")(
        [rpn_rois, mrcnn_class, mrcnn_bbox, image_meta]
    )
    found = RealDetections(name="real_detections")(detections)
    mrcnn_mask = mask_head(found, pyramid, image_meta, config)
    mrcnn_mask = PadInstances(config.DETECTION_MAX_INSTANCES, name="padded_masks")(mrcnn_mask)
    return KerasModel(
        [image, image_meta, anchors],
        [detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox],
        name="mask_rcnn",
    )


def build_training(config: Config) -> TrainingModel:
    """The graph with the targets and the losses of training.

    Inputs, in the original's order: input_image, input_image_meta, input_rpn_match,
    input_rpn_bbox, input_gt_class_ids, input_gt_boxes (pixels), input_gt_masks; and input_rois
    (pixels) where USE_RPN_ROIS is off. Outputs: rpn_class_logits, rpn_class, rpn_bbox,
    mrcnn_class_logits, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, output_rois and the five
    losses.
    """
    image_shape = tuple(int(side) for side in config.IMAGE_SHAPE)
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else image_shape[:2]
    image = KL.Input(shape=[None, None, config.IMAGE_CHANNEL_COUNT], name="input_image")
    image_meta = KL.Input(shape=[config.IMAGE_META_SIZE], name="input_image_meta")
    rpn_match = KL.Input(shape=[None, 1], name="input_rpn_match", dtype="int32")
    target_rpn_bbox = KL.Input(shape=[None, 4], name="input_rpn_bbox")
    gt_class_ids = KL.Input(shape=[None], name="input_gt_class_ids", dtype="int32")
    gt_boxes = KL.Input(shape=[None, 4], name="input_gt_boxes")
    gt_masks = KL.Input(shape=[*mask_shape, None], name="input_gt_masks", dtype="bool")
    inputs = [image, image_meta, rpn_match, target_rpn_bbox, gt_class_ids, gt_boxes, gt_masks]

    feature_maps, (rpn_class_logits, rpn_class, rpn_bbox) = build_features_and_rpn(image, config)
    anchors = Anchors(config, name="anchors")([image, *feature_maps])
    rpn_rois = ProposalLayer(
        proposal_count=config.POST_NMS_ROIS_TRAINING,
        nms_threshold=config.RPN_NMS_THRESHOLD,
        name="ROI",
        config=config,
    )([rpn_class, rpn_bbox, anchors])
    candidates = rpn_rois
    if not config.USE_RPN_ROIS:
        input_rois = KL.Input(shape=[config.POST_NMS_ROIS_TRAINING, 4], name="input_roi")
        inputs.append(input_rois)
        candidates = NormBoxes(name="norm_rois")([input_rois, image])

    rois, target_class_ids, target_bbox, target_mask = DetectionTargetLayer(
        config, name="proposal_targets"
    )([candidates, gt_class_ids, NormBoxes(name="norm_gt_boxes")([gt_boxes, image]), gt_masks])

    pyramid = feature_maps[:4]  # P6 is for the proposals alone
    mrcnn_class_logits, mrcnn_class, mrcnn_bbox = box_head(rois, pyramid, image_meta, config)
    mask_rois, mask_class_ids, target_mask = PositiveRois(name="positive_rois")(
        [rois, target_class_ids, target_mask]
    )
    mrcnn_mask = mask_head(mask_rois, pyramid, image_meta, config)
    active_class_ids = image_meta[:, 12:]
    losses = [
        Loss("rpn_class_loss")([rpn_match, rpn_class_logits]),
        Loss("rpn_bbox_loss")([target_rpn_bbox, rpn_match, rpn_bbox]),
        Loss("mrcnn_class_loss")([target_class_ids, mrcnn_class_logits, active_class_ids]),
        Loss("mrcnn_bbox_loss")([target_bbox, target_class_ids, mrcnn_bbox]),
        Loss("mrcnn_mask_loss")([target_mask, mask_class_ids, mrcnn_mask]),
    ]
    predictions = [rpn_class_logits, rpn_class, rpn_bbox]
    predictions += [mrcnn_class_logits, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rois]
    return TrainingModel(inputs, predictions + losses, name="mask_rcnn")


def build_features_and_rpn(
    image: keras.KerasTensor, config: Config
) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    """What both modes share: ([P2..P6], [rpn_class_logits, rpn_class, rpn_bbox])."""
    stages = build_backbone(image, config)
    feature_maps = fpn_graph(stages, config.TOP_DOWN_PYRAMID_SIZE)
    rpn = build_rpn_model(
        config.RPN_ANCHOR_STRIDE,
        len(config.RPN_ANCHOR_RATIOS),
        config.TOP_DOWN_PYRAMID_SIZE,
        config.RPN_CONV_CHANNELS,
    )
    return feature_maps, rpn_over_pyramid(feature_maps, rpn)


class MaskRCNN(Exporting, DetectsTiles):
    """The network with everything that is done with it.

    mode: "inference" or "training"; the graph differs, the weights are the same.
    config: a `Config`, or an object of a subclass of it.
    model_dir: the folder of the training logs and checkpoints.

    `keras_model` is the Keras model. Its inference form takes [images, image_metas, anchors] and
    gives [detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox].

    Raises ConfigError (a ValueError) where the config can't be built into a network.
    """

    def __init__(self, mode: str, config: Config, model_dir: str | os.PathLike) -> None:
        check_arguments(mode, config)
        require_eager()
        self.mode = mode
        self.config = config
        self.model_dir = os.fspath(model_dir)
        self.class_names: list[str] | None = None  # by class id, from weights or training data
        self.anchors: np.ndarray | None = None  # pixels, of the picture size last computed
        self._forward = Forward()
        self._anchor_cache = self._forward.anchor_cache  # the last few sizes
        self._validator: MaskRCNN | None = None
        self.set_log_dir()
        self.keras_model = outside_graphs(self.build, mode, config)
        self._describe()

    def build(self, mode: str, config: Config) -> KerasModel:
        """Wire the graph for one mode."""
        with precision(config.MIXED_PRECISION), distribution.spread(mode, config):
            return build_inference(config) if mode == "inference" else build_training(config)

    # -- Weights and logs -------------------------------------------------------------------

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike,
        mode: str = "inference",
        model_dir: str | os.PathLike = "logs",
        **settings: Any,
    ) -> Self:
        """A model for a weight file, with the config that it was trained with.

        path: a file; nucleus, coco, balloon; or last, best: of the newest run under model_dir.
        settings: values of the config to have otherwise, such as DETECTION_MIN_CONFIDENCE=0.5.
        Raises WeightsError, DownloadError, or UsageError (a ValueError).
        """
        path = find_weights(path, model_dir)
        config, names = configs.of_file(path, mode == "training", settings)
        model = cls(mode, config, model_dir)
        model.load_weights(path, by_name=True)
        model.class_names = model.class_names or names
        return model

    def load_weights(
        self,
        filepath: str | os.PathLike,
        by_name: bool = False,
        exclude: Sequence[str] | str | None = None,
    ) -> layout.LoadReport:
        """Read weights from a `.h5` file, each by the name of its layer.

        filepath: a file of Matterport's code, of its TF2 forks, of this package, of Keras
            (`.weights.h5`), or an ImageNet ResNet without its top.
        by_name: True allows a file that holds only part of the model; without it every layer of
            the model must be in the file.
        exclude: names of layers, or regular expressions that match a whole name, to leave out:
            to train on other classes, ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox",
            "mrcnn_mask"].

        Returns what was loaded, missing, unused and mismatched. Raises WeightsError, leaving the
        model untouched, where the file is no such file, nothing in it fits, or a shape differs.
        """
        load, some = layout.load_weights, bool(by_name or exclude)
        report = outside_graphs(load, self.keras_model, filepath, exclude, some, self.config)
        self.class_names = report.class_names or self.class_names
        self.set_log_dir(filepath)
        return report

    def save_weights(self, filepath: str | os.PathLike) -> None:
        """Write all weights to a `.h5` file in Matterport's layout, whole or not at all."""
        self._describe()
        self.keras_model.save_weights(filepath)

    def _describe(self) -> None:
        config = self.config.hyper_parameters()
        self.keras_model.description = {"config": config, "class_names": self.class_names}

    def get_imagenet_weights(self) -> str:
        """Path of Keras's ImageNet weights for the backbone, downloaded where they aren't yet."""
        backbone = self.config.BACKBONE
        return download.weights_path("imagenet", "resnet50" if callable(backbone) else backbone)

    def find_last(self) -> str:
        """The path of the last checkpoint of the newest run of config.NAME that has one.

        Raises FileNotFoundError where there is none.
        """
        return checkpoints.find_last(self.model_dir, self.config)

    def set_log_dir(self, model_path: str | os.PathLike | None = None) -> None:
        """Set log_dir, checkpoint_path and epoch.

        model_path: a checkpoint written by training: its run goes on in its own folder, after its
        epoch. Any other path begins a new run, named by the time.
        """
        self._run_dir = run = checkpoints.log_dir(self.model_dir, self.config, model_path)
        self.log_dir, self.checkpoint_path, self.epoch = run.folder, run.checkpoint, run.epoch

    # -- Detecting --------------------------------------------------------------------------

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[Instances]:
        """Find the instances in any number of pictures of any sizes.

        images: a list of [height, width, channels] arrays, 0..255. Grey pictures become RGB, an
            alpha channel is dropped, and what `mold_image` did before is undone with a warning;
            others of another range or channel count are refused.
        verbose: 1 prints the arrays on their way.

        Returns `Instances` for each picture, a dict of arrays over its n instances, best first:
            rois         int32 [n, (y1, x1, y2, x2)], pixels of the picture as given
            class_ids    int32 [n]
            scores       float32 [n]
            masks        bool [height, width, n]

        Raises ValueError, naming the picture, before any picture is worked on. `BATCH_SIZE`
        pictures go through the network at a time; the last batch may be smaller.
        """
        self._require("inference", "detect")
        images = check_pictures(images, self.config)
        if verbose:
            log(f"Processing {len(images)} images")
        results = []
        for batch in molded_batches(images, self.config, self.mold_inputs):
            found = self._forward(self.keras_model, self.config, batch, verbose)
            results += unmold_batch(batch, *found, self.class_names, self.unmold_detections)
        return results

    def detect_molded(
        self, molded_images: np.ndarray, image_metas: np.ndarray, verbose: int = 0
    ) -> list[Instances]:
        """As `detect`, for pictures that are molded already; results in molded pixels.

        molded_images: [batch, height, width, channels]; image_metas: [batch, 12 + num_classes].
        """
        self._require("inference", "detect_molded")
        molded_images, image_metas = np.asarray(molded_images), np.asarray(image_metas)
        if verbose:
            log(f"Processing {len(molded_images)} images")
        shapes = [image.shape for image in molded_images]
        windows = np.array([(0, 0, height, width) for height, width, *_ in shapes])
        batch = Molded(shapes, molded_images, image_metas, windows)
        found = self._forward(self.keras_model, self.config, batch, verbose)
        return unmold_batch(batch, *found, self.class_names, self.unmold_detections)

    def _require(self, mode: str, what: str) -> None:
        if self.mode != mode:
            raise RuntimeError(
                f'{what}() needs MaskRCNN(mode="{mode}", ...), and this one was made with '
                f'mode="{self.mode}". Build one for {mode} and load the same weights into it.'
            )

    # -- Training ---------------------------------------------------------------------------

    def compile(self, learning_rate: Any, momentum: float) -> None:
        """Get the model ready to train: optimiser, losses and their weights.

        learning_rate: a number or a Keras schedule. A second call begins anew; nothing adds up.
        """
        self._require("training", "compile")
        config = self.config
        self.keras_model.prepare(config.LOSS_WEIGHTS, config.WEIGHT_DECAY, config.MEAN_PIXEL)
        optimizer = optimiser.make_optimizer(config, learning_rate, momentum)
        self.keras_model.compile(optimizer=optimizer, jit_compile=False)

    def set_trainable(
        self,
        layer_regex: str,
        keras_model: keras.Model | None = None,
        indent: int = 0,
        verbose: int = 1,
    ) -> None:
        """Let the layers train whose whole name matches a regular expression, freeze the rest."""
        layers = optimiser.set_trainable(keras_model or self.keras_model, layer_regex)
        if verbose:
            log("Selecting layers to train")
            for layer in layers:
                log(f"{' ' * indent}{layer.name:20}   ({type(layer).__name__})")

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: float,
        epochs: int,
        layers: str,
        augmentation: Any = None,
        custom_callbacks: Sequence[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Sequence[str] | None = None,
    ) -> keras.callbacks.History:
        """Train up to an epoch, writing a checkpoint after each.

        train_dataset, val_dataset: prepared datasets; val_dataset may be None.
        epochs: the number of the last epoch, counted from the first run on: after stages of 20
            and 20 epochs, a third one of 10 is asked for with epochs=50.
        layers: heads | 3+ | 4+ | 5+ | all, where 4+ is the heads and the backbone from stage 4
            on; or a regular expression of whole layer names.
        augmentation: see `mrcnn.data.augment`; imgaug and albumentations work too.
        no_augmentation_sources: pictures of these sources stay as they are.

        Returns Keras's History. Ctrl-C, SIGTERM and SIGHUP save first. Raises ValueError for data
        that don't fit, naming the picture; TrainingStopped, or TrainingDiverged at a loss of NaN.
        """
        self._require("training", "train")
        self.set_trainable(optimiser.LAYERS.get(layers, layers), verbose=0)
        agreement.warn_of_other_classes(self.class_names, train_dataset.class_names)
        self.class_names = list(train_dataset.class_names)
        self._describe()
        check(train_dataset, val_dataset, self.config)
        with begun(self) as run:
            history = fit(
                self.keras_model,
                self.config,
                run,
                lambda rate: self.compile(rate, self.config.LEARNING_MOMENTUM),
                train_dataset,
                val_dataset,
                learning_rate,
                epochs,
                augmentation,
                custom_callbacks,
                no_augmentation_sources,
                measure=lambda: self._validation_ap(val_dataset),
            )
        self.epoch = max(self.epoch, epochs)
        return history

    def _validation_ap(self, dataset: Dataset) -> dict[str, float]:
        """COCO's mask AP of the weights as they are, on whole pictures."""
        if self._validator is None:
            config = measuring_config(self.config)
            self._validator = MaskRCNN("inference", config, self.model_dir)
        layout.copy_weights(self.keras_model, self._validator.keras_model)
        most = self.config.DETECTION_MAX_INSTANCES
        measured = evaluate_dataset(self._validator, dataset, max_detections=most, verbose=0)
        return {f"val_{name}": measured[name] for name in ("AP", "AP50")}


# -- Names that scripts import from here ----------------------------------------------------
# Matterport's code had all of them in this file.

# fmt: off
# isort: off
from mrcnn.data.generator import DataGenerator, data_generator
from mrcnn.data.images import (
    compose_image_meta, mold_image, parse_image_meta, resize_image, unmold_image
)
from mrcnn.data.inputs import build_rpn_targets, load_image_gt
from mrcnn.data.roi_targets import build_detection_targets, generate_random_rois
from mrcnn.geometry.anchors import compute_backbone_shapes
from mrcnn.nn.backbone import conv_block, identity_block, resnet_graph
from mrcnn.nn.boxes import (
    apply_box_deltas_graph, batch_pack_graph, clip_boxes_graph, denorm_boxes_graph, log2_graph,
    norm_boxes_graph, overlaps_graph, parse_image_meta_graph, trim_zeros_graph
)
from mrcnn.nn.detection import refine_detections_graph
from mrcnn.nn.heads import build_fpn_mask_graph, fpn_classifier_graph
from mrcnn.nn.layers import BatchNorm
from mrcnn.nn.losses import (
    mrcnn_bbox_loss_graph, mrcnn_class_loss_graph, mrcnn_mask_loss_graph, rpn_bbox_loss_graph,
    rpn_class_loss_graph, smooth_l1_loss
)
from mrcnn.nn.roi_align import PyramidROIAlign
from mrcnn.nn.rpn import rpn_graph
from mrcnn.nn.targets import detection_targets_graph

if TYPE_CHECKING:  # type checkers let scripts take these alone; `import *` takes all, as ever
    __all__ = ["BatchNorm", "DataGenerator", "DetectionLayer", "DetectionTargetLayer", "MaskRCNN",
        "ProposalLayer", "PyramidROIAlign", "apply_box_deltas_graph", "batch_pack_graph",
        "build_detection_targets", "build_fpn_mask_graph", "build_inference", "build_rpn_model",
        "build_rpn_targets", "build_training", "clip_boxes_graph", "compose_image_meta",
        "compute_backbone_shapes", "conv_block", "data_generator", "denorm_boxes_graph",
        "detection_targets_graph", "fpn_classifier_graph", "generate_random_rois", "identity_block",
        "load_image_gt", "log", "log2_graph", "mold_image", "mrcnn_bbox_loss_graph",
        "mrcnn_class_loss_graph", "mrcnn_mask_loss_graph", "norm_boxes_graph", "overlaps_graph",
        "parse_image_meta", "parse_image_meta_graph", "refine_detections_graph", "resize_image",
        "resnet_graph", "rpn_bbox_loss_graph", "rpn_class_loss_graph", "rpn_graph",
        "smooth_l1_loss", "trim_zeros_graph", "unmold_image"]
