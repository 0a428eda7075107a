"""Mask R-CNN (He et al. 2017) as a Keras graph.

    model = MaskRCNN(mode="inference", config=config, model_dir="logs")
    model.load_weights("mask_rcnn_coco.h5", by_name=True)
    result = model.detect([image])[0]          # rois, class_ids, scores, masks

A picture walks through `build_inference`: backbone, pyramid, proposals, regions, heads,
detections. This file holds the wiring and the names that scripts import from it; each piece of
the graph lives in `mrcnn.nn`.
"""

import os

# Grappler warns eight times a graph that it can't price crop_and_resize, in lines of 1,000 letters.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as KL

from mrcnn.config import PRECISIONS, Config
from mrcnn.data.dataset import Dataset
from mrcnn.data.generator import DataGenerator, data_generator
from mrcnn.data.images import (
    compose_image_meta,
    mold_image,
    molded_shape,
    parse_image_meta,
    resize_image,
    unmold_image,
)
from mrcnn.data.inputs import build_rpn_targets, load_image_gt
from mrcnn.data.roi_targets import build_detection_targets, generate_random_rois
from mrcnn.geometry.anchors import anchors_of_picture, compute_backbone_shapes
from mrcnn.geometry.boxes import norm_boxes
from mrcnn.nn.anchors import Anchors
from mrcnn.nn.backbone import build_backbone, conv_block, identity_block, resnet_graph
from mrcnn.nn.boxes import (
    apply_box_deltas_graph,
    batch_pack_graph,
    clip_boxes_graph,
    denorm_boxes_graph,
    log2_graph,
    norm_boxes_graph,
    overlaps_graph,
    parse_image_meta_graph,
    trim_zeros_graph,
)
from mrcnn.nn.detection import (
    DetectionLayer,
    PadInstances,
    RealDetections,
    refine_detections_graph,
)
from mrcnn.nn.fpn import fpn_graph
from mrcnn.nn.heads import build_fpn_mask_graph, fpn_classifier_graph
from mrcnn.nn.layers import BatchNorm, NormBoxes
from mrcnn.nn.losses import (
    Loss,
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
    mrcnn_mask_loss_graph,
    rpn_bbox_loss_graph,
    rpn_class_loss_graph,
    smooth_l1_loss,
)
from mrcnn.nn.proposals import ProposalLayer
from mrcnn.nn.roi_align import PyramidROIAlign
from mrcnn.nn.rpn import build_rpn_model, rpn_graph, rpn_over_pyramid
from mrcnn.nn.targets import DetectionTargetLayer, PositiveRois, detection_targets_graph
from mrcnn.run import checkpoints, infer, inside, train
from mrcnn.run.coco_eval import evaluate_dataset
from mrcnn.run.keras_model import KerasModel, TrainingModel
from mrcnn.weights import download, layout


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a text and, where an array is given, its shape, least and greatest value and type."""
    if array is not None:
        array = np.asarray(array)
        low, high = (f"{array.min():10.5f}", f"{array.max():10.5f}") if array.size else ("", "")
        text = f"{text.ljust(25)}shape: {array.shape!s:20}  min: {low:>10}  max: {high:>10}"
        text += f"  {array.dtype}"
    print(text)


class MaskRCNN:
    """The network with everything that is done with it.

    mode: "inference" or "training"; the graph differs, the weights are the same.
    config: a `Config`, or an object of a subclass of it.
    model_dir: the folder of the training logs and checkpoints.

    `keras_model` is the Keras model. Its inference form takes [images, image_metas, anchors] and
    gives [detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox].

    Raises ConfigError (a ValueError) where the config can't be built into a network.
    """

    def __init__(self, mode: str, config: Config, model_dir: str) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f'mode is {mode!r}: it must be "training" or "inference".')
        if isinstance(config, type):
            raise TypeError(f"config is the class {config.__name__}: give an object of it.")
        if not infer.outside_graphs(tf.executing_eagerly):
            raise RuntimeError(
                "TensorFlow runs without eager execution: delete the line with "
                "disable_v2_behavior() or disable_eager_execution(); nothing here needs it."
            )
        config.validate(mode)
        self.mode = mode
        self.config = config
        self.model_dir = os.fspath(model_dir)
        self.anchors: np.ndarray | None = None  # pixels, of the picture size last computed
        self._anchor_cache: dict[tuple, np.ndarray] = {}
        self._forward: tuple | None = None
        self._validator: MaskRCNN | None = None
        self.set_log_dir()
        self.keras_model = infer.outside_graphs(self.build, mode, config)
        self.class_names: list[str] | None = None  # by class id, from weights or training data
        self._describe()

    # -- The graph --------------------------------------------------------------------------

    def build(self, mode: str, config: Config) -> KerasModel:
        """Wire the graph for one mode."""
        policy = keras.config.dtype_policy()
        if mixed := PRECISIONS[config.MIXED_PRECISION]:
            keras.config.set_dtype_policy(mixed)
        try:
            return build_inference(config) if mode == "inference" else build_training(config)
        finally:
            keras.config.set_dtype_policy(policy)

    # -- Weights ----------------------------------------------------------------------------

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
        report = infer.outside_graphs(
            layout.load_weights, self.keras_model, filepath, exclude, bool(by_name or exclude)
        )
        self.class_names = report.class_names or self.class_names
        self.set_log_dir(filepath)
        return report

    def save_weights(self, filepath: str | os.PathLike) -> None:
        """Write all weights to a `.h5` file in Matterport's layout, whole or not at all."""
        self._describe()
        self.keras_model.save_weights(filepath)

    def _describe(self) -> None:
        self.keras_model.description = {
            "config": self.config.hyper_parameters(),
            "class_names": self.class_names,
        }

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
        log = checkpoints.log_dir(self.model_dir, self.config, model_path)
        self.log_dir, self.checkpoint_path, self.epoch = log.folder, log.checkpoint, log.epoch

    def get_imagenet_weights(self) -> str:
        """Path of Keras's ImageNet weights for the backbone, downloaded where they aren't yet."""
        backbone = self.config.BACKBONE
        return download.weights_path("imagenet", "resnet50" if callable(backbone) else backbone)

    # -- Training ---------------------------------------------------------------------------

    def compile(self, learning_rate: Any, momentum: float) -> None:
        """Get the model ready to train: optimiser, losses and their weights.

        learning_rate: a number or a Keras schedule. A second call begins anew; nothing adds up.
        """
        self._require("training", "compile")
        config = self.config
        self.keras_model.prepare(config.LOSS_WEIGHTS, config.WEIGHT_DECAY, config.MEAN_PIXEL)
        optimizer = train.make_optimizer(self.config, learning_rate, momentum)
        self.keras_model.compile(optimizer=optimizer, jit_compile=False)

    def set_trainable(
        self,
        layer_regex: str,
        keras_model: keras.Model | None = None,
        indent: int = 0,
        verbose: int = 1,
    ) -> None:
        """Let the layers train whose whole name matches a regular expression, freeze the rest."""
        layers = train.set_trainable(keras_model or self.keras_model, layer_regex)
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

        Returns Keras's History. Raises TrainingDiverged at a loss that is no number, ValueError
        for data that don't fit together, naming the picture. Ctrl-C and SIGTERM save first.
        """
        self._require("training", "train")
        if not tf.executing_eagerly():
            raise RuntimeError(
                "train() was called inside a graph or a session of TensorFlow 1: take it out of "
                "the `with graph.as_default():` or `with session.as_default():` around it."
            )
        self.set_trainable(train.LAYERS.get(layers, layers), verbose=0)
        self.class_names = list(train_dataset.class_names)
        self._describe()
        log(f"\nStarting at epoch {self.epoch}. LR={learning_rate}\n")
        log(f"Checkpoint Path: {self.checkpoint_path}")
        history = train.fit(
            self.keras_model,
            self.config,
            checkpoints.LogDir(self.log_dir, self.checkpoint_path, self.epoch),
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
        config = copy.copy(self.config)
        config.GPU_COUNT = config.IMAGES_PER_GPU = config.BATCH_SIZE = 1
        config.DETECTION_MIN_CONFIDENCE = 0.05  # AP weighs unsure detections by itself
        if config.IMAGE_RESIZE_MODE == "crop":
            config.IMAGE_RESIZE_MODE = "pad64"
        if self._validator is None:
            self._validator = MaskRCNN("inference", config, self.model_dir)
        layout.copy_weights(self.keras_model, self._validator.keras_model)
        most = config.DETECTION_MAX_INSTANCES
        measured = evaluate_dataset(self._validator, dataset, max_detections=most, verbose=0)
        return {f"val_{name}": measured[name] for name in ("AP", "AP50")}

    # -- Inference --------------------------------------------------------------------------

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[dict]:
        """Find the instances in any number of pictures of any sizes.

        images: a list of [height, width, channels] arrays, 0..255. Grey pictures become RGB, an
            alpha channel is dropped, and what `mold_image` did before is undone with a warning;
            others of another range or channel count are refused.
        verbose: 1 prints the arrays on their way.

        Returns, for each picture, a dict of arrays over its n instances, best first:
            rois         int32 [n, (y1, x1, y2, x2)], pixels of the picture as given
            class_ids    int32 [n]
            scores       float32 [n]
            masks        bool [height, width, n]

        Raises ValueError, naming the picture, before any picture is worked on. `BATCH_SIZE`
        pictures go through the network at a time; the last batch may be smaller.
        """
        self._require("inference", "detect")
        images = infer.check_pictures(infer.before_molding(images, self.config), self.config)
        shapes = [molded_shape(image.shape, self.config) for image in images]
        for i, shape in enumerate(shapes, start=1):
            infer.check_molded_shape(shape, self.config, f"picture {i} of {len(images)}")
        if verbose:
            log(f"Processing {len(images)} images")

        results = []
        for indices in infer.batches(shapes, self.config.BATCH_SIZE):
            batch = [images[i] for i in indices]
            molded_images, image_metas, windows = self.mold_inputs(batch)
            detections, mrcnn_mask = self._run_batch(molded_images, image_metas, verbose)
            results += self._unmold_batch(
                [image.shape for image in batch], molded_images, windows, detections, mrcnn_mask
            )
        return results

    def detect_molded(
        self, molded_images: np.ndarray, image_metas: np.ndarray, verbose: int = 0
    ) -> list[dict]:
        """As `detect`, for pictures that are molded already; results in molded pixels.

        molded_images: [batch, height, width, channels]; image_metas: [batch, 12 + num_classes].
        """
        self._require("inference", "detect_molded")
        molded_images, image_metas = np.asarray(molded_images), np.asarray(image_metas)
        if verbose:
            log(f"Processing {len(molded_images)} images")
        detections, mrcnn_mask = self._run_batch(molded_images, image_metas, verbose)
        shapes = [image.shape for image in molded_images]
        windows = [(0, 0, height, width) for height, width, *_ in shapes]
        return self._unmold_batch(shapes, molded_images, windows, detections, mrcnn_mask)

    def mold_inputs(
        self, images: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resize, pad and centre pictures that end in one size.

        Returns molded_images float32 [batch, height, width, channels], image_metas
        [batch, 12 + num_classes], windows [batch, (y1, x1, y2, x2)] in pixels of the molded
        pictures: the part that is not padding.
        """
        config = self.config
        molded_images, image_metas, windows = [], [], []
        for image in images:
            molded, window, scale, _, _ = resize_image(
                image,
                min_dim=config.IMAGE_MIN_DIM,
                min_scale=config.IMAGE_MIN_SCALE,
                max_dim=config.IMAGE_MAX_DIM,
                mode=config.IMAGE_RESIZE_MODE,
            )
            no_class_is_inactive = np.zeros([config.NUM_CLASSES], dtype=np.int32)
            image_metas.append(
                compose_image_meta(
                    0, image.shape, molded.shape, window, scale, no_class_is_inactive
                )
            )
            molded_images.append(mold_image(molded, config))
            windows.append(window)
        return np.stack(molded_images), np.stack(image_metas), np.stack(windows)

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One picture's (boxes, class_ids, scores, masks): see `run.infer.unmold_detections`."""
        return infer.unmold_detections(
            detections, mrcnn_mask, original_image_shape, image_shape, window
        )

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Normalised anchors [num_anchors, (y1, x1, y2, x2)] for a molded picture's shape."""
        key = tuple(int(side) for side in image_shape)
        if key not in self._anchor_cache:
            self.anchors = anchors_of_picture(self.config, key)
            self._anchor_cache[key] = norm_boxes(self.anchors, key[:2])
        return self._anchor_cache[key]

    def _anchors_of_batch(self, molded_images: np.ndarray) -> np.ndarray:
        """The same anchors for each picture: [batch, num_anchors, 4], without copies."""
        anchors = self.get_anchors(molded_images.shape[1:])
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))

    def _run_batch(self, molded_images, image_metas, verbose: int):
        anchors = self._anchors_of_batch(molded_images)
        if verbose:
            for name, array in [
                ("molded_images", molded_images),
                ("image_metas", image_metas),
                ("anchors", anchors),
            ]:
                log(name, array)
        inputs = [molded_images, image_metas, anchors]
        detections, _, _, mrcnn_mask, *_ = infer.outside_graphs(self._call, inputs)
        return detections.numpy(), mrcnn_mask.numpy()

    def _call(self, inputs: list[np.ndarray]) -> list[tf.Tensor]:
        if self._forward is None or self._forward[0] is not self.keras_model:
            self._forward = (self.keras_model, infer.compiled_forward(self.keras_model))
        return self._forward[1](*[tf.cast(x, tf.float32) for x in inputs])

    def _unmold_batch(self, shapes, molded_images, windows, detections, mrcnn_mask) -> list[dict]:
        results = []
        for i, shape in enumerate(shapes):
            rois, class_ids, scores, masks = self.unmold_detections(
                detections[i], mrcnn_mask[i], shape, molded_images[i].shape, windows[i]
            )
            results.append({"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks})
        return results

    def _require(self, mode: str, what: str) -> None:
        if self.mode != mode:
            raise RuntimeError(
                f'{what}() needs MaskRCNN(mode="{mode}", ...), and this one was made with '
                f'mode="{self.mode}". Build one for {mode} and load the same weights into it.'
            )

    # -- Looking inside ---------------------------------------------------------------------

    def run_graph(
        self,
        images: Sequence[np.ndarray],
        outputs: Sequence[tuple[str, keras.KerasTensor]],
        image_metas: np.ndarray | None = None,
    ) -> OrderedDict[str, np.ndarray]:
        """Run pictures as far as any tensors of the graph.

        images: as for `detect`, ending in one molded size; with image_metas given, molded already.
        outputs: (name, tensor) pairs, e.g.
            ("P2", model.keras_model.get_layer("fpn_p2").output).
        Returns the arrays by name, in that order.
        """
        if image_metas is None:
            images = infer.check_pictures(images, self.config)
            images, image_metas, _ = self.mold_inputs(images)
        images = np.asarray(images)
        anchors = self._anchors_of_batch(images)
        inputs = [images, image_metas, anchors]
        results = infer.outside_graphs(inside.run_to, self.keras_model, inputs, outputs)
        for name, array in results.items():
            log(name, array)
        return results

    def ancestor(
        self, tensor: keras.KerasTensor, name: str, checked: list | None = None
    ) -> keras.KerasTensor:
        """A tensor that `tensor` is computed from, by the name of its layer.

        name: a layer ("res4a_out"), or a step inside the proposal layer: "ROI/pre_nms_anchors",
            "ROI/refined_anchors", "ROI/refined_anchors_clipped". An old ":0" at its end is ignored.
        Raises ValueError where there is no such layer or step.
        """
        return inside.tensor_named(self.keras_model, name)

    def find_trainable_layer(self, layer: KL.Layer) -> KL.Layer:
        """The layer that holds the weights: a wrapper's inner layer, else the layer itself."""
        if isinstance(layer, KL.Wrapper):
            return self.find_trainable_layer(layer.layer)
        return layer

    def get_trainable_layers(self) -> list[KL.Layer]:
        """The layers that own weights, wrappers opened."""
        layers = [self.find_trainable_layer(layer) for layer in self.keras_model.layers]
        return [layer for layer in layers if layer.weights]


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


def box_head(
    rois: keras.KerasTensor,
    pyramid: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    config: Config,
) -> list[keras.KerasTensor]:
    """[mrcnn_class_logits, mrcnn_class, mrcnn_bbox] of regions, with the sizes of a config."""
    return fpn_classifier_graph(
        rois,
        pyramid,
        image_meta,
        config.POOL_SIZE,
        config.NUM_CLASSES,
        train_bn=config.TRAIN_BN,
        fc_layers_size=config.FPN_CLASSIF_FC_LAYERS_SIZE,
    )


def mask_head(
    rois: keras.KerasTensor,
    pyramid: list[keras.KerasTensor],
    image_meta: keras.KerasTensor,
    config: Config,
) -> keras.KerasTensor:
    """mrcnn_mask of regions, with the sizes of a config."""
    return build_fpn_mask_graph(
        rois,
        pyramid,
        image_meta,
        config.MASK_POOL_SIZE,
        config.NUM_CLASSES,
        train_bn=config.TRAIN_BN,
        channels=config.MASK_CONV_CHANNELS,
    )
