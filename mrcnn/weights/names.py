"""Names in weight files: what a layer or a tensor is called, and where it stands.

A tensor is known by (layer, weight), for instance ("conv1", "kernel"). Every rule here works on
strings alone, so that one look at this page tells how a name in a file finds its layer.
"""

import re
import string

# Order of the tensors of one layer, as Keras 2 wrote them; others follow in their own order.
WEIGHT_ORDER = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")

# Layers whose shapes depend on NUM_CLASSES. `mrcnn_bbox` is a reshape without weights, but every
# tutorial lists it, so it stays in what we tell people to write.
CLASS_DEPENDENT = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")

_HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
# Layers that train together, by the words for them.
LAYER_PATTERNS = {
    "heads": _HEADS,
    "3+": rf"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "4+": rf"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "5+": rf"(res5.*)|(bn5.*)|{_HEADS}",
    "all": ".*",
}

# The attribute in which this package keeps the config and the class names, as pieces of JSON.
DESCRIPTION = "mrcnn_description"

# In it: the least scores by class that were chosen for these weights, and on which pictures.
CLASS_CONFIDENCE = "class_confidence"

RPN_MODEL = "rpn_model"
RPN_LAYERS = ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")

# What a file may list beside layers: TensorFlow 2 forks save their anchors as a variable, Keras 3
# the state of a dropout layer. Neither is a weight.
NOT_LAYERS = ("anchors", "seed_generator")

# Epsilon of batch norm in keras.applications; Matterport's is Keras's default, 1e-3.
APPLICATIONS_EPSILON = 1.001e-5

# Keras 1 named a tensor `<layer>_W`; its running_std holds the variance, whatever the name says.
_KERAS_1 = {
    "W": "kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
_KERAS_1_WEIGHT = re.compile(r".*_(W|b|gamma|beta|running_mean|running_std)")
_UNIQUE_RPN_LAYER = re.compile(f"({'|'.join(RPN_LAYERS)})_\\d+")
_APPLICATIONS_LAYER = re.compile(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)")
_RESNET_LAYER = re.compile(r"(res|bn)([2-5])([a-z]+)_branch(1|2a|2b|2c)")
_STAGE_BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet18_half": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
_LITE0_BLOCKS = {1: 1, 2: 2, 3: 2, 4: 6, 5: 5}  # of EfficientNet-Lite0's stages
_BRANCHES = ("branch1", "branch2a", "branch2b", "branch2c")

_FPN = ("fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2", "fpn_p5", "fpn_p2", "fpn_p3", "fpn_p4")
_CLASS_HEAD = (
    *("mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_class_conv2", "mrcnn_class_bn2"),
    *("mrcnn_class_logits", "mrcnn_bbox_fc"),
)
_MASK_HEAD = (
    *("mrcnn_mask_conv1", "mrcnn_mask_bn1", "mrcnn_mask_conv2", "mrcnn_mask_bn2"),
    *("mrcnn_mask_conv3", "mrcnn_mask_bn3", "mrcnn_mask_conv4", "mrcnn_mask_bn4"),
    *("mrcnn_mask_deconv", "mrcnn_mask"),
)
# NOTE: Keras 2 ordered layers by their distance from the outputs. In a training model the two
# heads end in losses of equal depth and therefore interleave; in an inference model the mask head
# hangs on the detections and comes last. Keras 2 without by_name reads in this order.
_HEADS_INFERENCE = (*_CLASS_HEAD, *_MASK_HEAD)
_HEADS_TRAINING = (
    *("mrcnn_mask_conv1", "mrcnn_mask_bn1", "mrcnn_mask_conv2", "mrcnn_mask_bn2"),
    *("mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_mask_conv3", "mrcnn_mask_bn3"),
    *("mrcnn_class_conv2", "mrcnn_class_bn2", "mrcnn_mask_conv4", "mrcnn_mask_bn4"),
    *("mrcnn_bbox_fc", "mrcnn_mask_deconv", "mrcnn_class_logits", "mrcnn_mask"),
)
# The shortcut's convolution runs beside the last one of its block, and so does its batch norm.
_BLOCK = ("res2a", "bn2a", "res2b", "bn2b", "res2c", "res1", "bn2c", "bn1")


def part_of(layer: str) -> str:
    """Part of the network a layer belongs to.

    One of "FPN", "RPN", "class and box head", "mask head" and, for all others, "encoder": a
    backbone may name its layers as it likes.
    """
    if layer.startswith("fpn_"):
        return "FPN"
    if layer.startswith("rpn_"):
        return "RPN"
    if layer.startswith("mrcnn_mask"):
        return "mask head"
    return "class and box head" if layer.startswith("mrcnn_") else "encoder"


def layer_names(backbone: str) -> list[str] | None:
    """The layers with weights of a Mask R-CNN on a backbone of the package.

    None for another backbone, whose layers have names of their own.
    """
    if backbone == "efficientnet_lite0":
        encoder = _lite0_layers()
    elif backbone in _STAGE_BLOCKS:
        encoder = _resnet_layers(backbone)
    else:
        return None
    return ["conv1", "bn_conv1", *encoder, *_FPN, *RPN_LAYERS, *_CLASS_HEAD, *_MASK_HEAD]


def _resnet_layers(backbone: str) -> list[str]:
    branches = ("2a", "2b") if backbone.startswith("resnet18") else ("2a", "2b", "2c")
    names = []
    for stage, count in enumerate(_STAGE_BLOCKS[backbone], start=2):
        for block in string.ascii_lowercase[:count]:
            widens = block == "a" and (stage > 2 or len(branches) == 3)
            for branch in (*branches, *(["1"] if widens else [])):
                names += [f"{kind}{stage}{block}_branch{branch}" for kind in ("res", "bn")]
    return names


def _lite0_layers() -> list[str]:
    names = []
    for stage, count in _LITE0_BLOCKS.items():
        for block in string.ascii_lowercase[:count]:
            for part in ("expand", "depthwise", "project")[stage == 1 :]:
                names += [f"{kind}{stage}{block}_{part}" for kind in ("res", "bn")]
    return names


def file_order(layer: str, training: bool) -> tuple:
    """Sort key that puts layers in the order of Matterport's files.

    training: whether the model is a training model, whose heads interleave.
    A layer that is not Matterport's sorts to the front, among the encoder's.
    """
    layer = RPN_MODEL if layer in RPN_LAYERS else layer
    heads = _HEADS_TRAINING if training else _HEADS_INFERENCE
    tail = (*_FPN, RPN_MODEL, *heads)
    if layer in tail:
        return (3, tail.index(layer))
    if layer in ("conv1", "bn_conv1"):
        return (1, ("conv1", "bn_conv1").index(layer))
    block = _RESNET_LAYER.fullmatch(layer)
    if block:
        kind, stage, letter, branch = block.groups()
        return (2, int(stage), letter, _BLOCK.index(kind + branch))
    return (0,)


def weight_order(weight: str) -> int:
    """Sort key for the tensors of one layer: kernel, bias / gamma, beta, mean, variance."""
    return WEIGHT_ORDER.index(weight) if weight in WEIGHT_ORDER else len(WEIGHT_ORDER)


def matterport_layer(layer: str) -> str:
    """Matterport's name for a layer of keras.applications' ResNet; other names come back as is.

    conv1_conv -> conv1, conv1_bn -> bn_conv1, conv4_block23_3_bn -> bn4w_branch2c. Blocks beyond
    the alphabet (ResNet-152) have no name in Matterport's scheme and keep a number.
    """
    if layer in ("conv1_conv", "conv1_bn"):
        return "conv1" if layer == "conv1_conv" else "bn_conv1"
    match = _APPLICATIONS_LAYER.fullmatch(layer)
    if not match:
        return layer
    stage, block, branch, kind = match.groups()
    index = int(block) - 1
    letter = string.ascii_lowercase[index] if 0 <= index < 26 else f"block{block}"
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{letter}_{_BRANCHES[int(branch)]}"


def matterport_weight(weight: str) -> str:
    """Today's name for a tensor: a Keras 1 name like `conv1_W` becomes `kernel`."""
    match = _KERAS_1_WEIGHT.fullmatch(weight)
    return _KERAS_1[match.group(1)] if match else weight


def split_group(group: str, weight_names: list[str]) -> list[tuple[str, str]]:
    """(layer, weight) of every tensor of one layer group, in the order of `weight_names`.

    A group is a layer, a wrapper around one (`outer/inner/kernel`) or a nested model
    (`rpn_model` with `rpn_conv_shared/kernel`, `rpn_class_raw/kernel` ...). It is a nested model
    if its tensors name several layers and none of them is the group itself.
    """
    paths = [re.sub(r":\d+$", "", name).strip("/").split("/") for name in weight_names]
    if group == RPN_MODEL:
        paths = [path[1:] if path[0] == RPN_MODEL else path for path in paths]
    first = {path[0] for path in paths if len(path) > 1}
    if group in first or len(first) <= 1:
        # TensorFlow 1 wrote `conv1_1/kernel` for the second model of a process: the group counts.
        return list(
            zip([group] * len(paths), _weights_of_layer([path[1:] or path for path in paths]))
        )

    by_layer = {}
    for path in paths:
        by_layer.setdefault(path[0] if len(path) > 1 else group, []).append(path[1:] or path)
    named = {layer: iter(_weights_of_layer(tails)) for layer, tails in by_layer.items()}
    keys = [path[0] if len(path) > 1 else group for path in paths]
    return [(_UNIQUE_RPN_LAYER.sub(r"\1", layer), next(named[layer])) for layer in keys]


def _weights_of_layer(tails: list[list[str]]) -> list[str]:
    """Names of one layer's tensors: the last part where that is enough to tell them apart."""
    last = [matterport_weight(tail[-1]) for tail in tails]
    return last if len(set(last)) == len(last) else ["/".join(tail) for tail in tails]


def positional_weights(shapes: list[tuple[int, ...]]) -> list[str]:
    """Names of tensors that a file only numbers, from their shapes.

    A kernel is followed by its bias; four vectors are a batch norm. Anything else keeps its
    number, and the model's own layer says what that stands for.
    """
    ranks = [len(shape) for shape in shapes]
    if ranks == [1, 1, 1, 1]:
        return ["gamma", "beta", "moving_mean", "moving_variance"]
    if ranks and ranks[0] > 1 and ranks[1:] in ([], [1]):
        return ["kernel", "bias"][: len(ranks)]
    return [str(index) for index in range(len(ranks))]
