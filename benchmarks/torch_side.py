"""torchvision's Mask R-CNN under the conditions of ours. Started by inference.py and training.py.

Needs torch and torchvision (benchmarks/requirements.txt) and nothing of mrcnn.

What is made alike: classes, picture size, anchors, numbers of proposals, detections and training
regions, NMS thresholds, batch norm with frozen statistics, gradient clipping, weight decay.
What is not: see README.md, "What differs between the two networks".
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from common import WARM_UP, anchor_scales, answer, candidates, peak_mb, scene, timed
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone


def build(backbone: str, side: int, classes: int, **options: Any) -> MaskRCNN:
    """A network whose transform leaves pictures of side x side pixels at their size."""
    anchors = AnchorGenerator(tuple((s,) for s in anchor_scales(side)), ((0.5, 1.0, 2.0),) * 5)
    options = {"rpn_anchor_generator": anchors, "min_size": side, "max_size": side, **options}
    if backbone == "resnet50":
        model = maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=classes, **options
        )
    else:
        body = resnet_fpn_backbone(
            backbone_name=backbone,
            weights=None,
            trainable_layers=5,
            norm_layer=torch.nn.BatchNorm2d,
        )
        model = MaskRCNN(body, num_classes=classes, **options)
    _fill(model)
    return model


@torch.no_grad()
def _fill(model: MaskRCNN) -> None:
    """Weights that keep every stage busy, as `networks.BUSY` does for ours."""
    for module in model.backbone.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            module.bn3.weight.fill_(0.25)  # keeps the residual sum from growing
        elif isinstance(module, torchvision.models.resnet.BasicBlock):
            module.bn2.weight.fill_(0.25)
    predictor = model.roi_heads.box_predictor
    for layer in (model.rpn.head.bbox_pred, predictor.bbox_pred):
        layer.weight.zero_()
        layer.bias.zero_()


def inference(
    backbone: str,
    side: int,
    batch: int,
    calls: int,
    proposals: int,
    instances: int,
    stages: bool,
) -> dict[str, Any]:
    """The whole call, from uint8 pictures to bool masks of full size in NumPy."""
    model = build(
        backbone,
        side,
        classes=81,
        rpn_post_nms_top_n_test=proposals,
        box_detections_per_img=instances,
        box_nms_thresh=0.3,
    ).eval()
    with torch.no_grad():
        scores = model.roi_heads.box_predictor.cls_score
        scores.weight.mul_(1000)  # one clear class for each region
        scores.bias[0] = -1e4  # which is not the background
    pictures = [scene(side, 20, seed)[0] for seed in range(batch)]
    counts: list[int] = []
    clock = Clock(model)
    counting = model.rpn.register_forward_hook(lambda m, i, out: counts.extend(map(len, out[0])))

    @torch.inference_mode()
    def detect() -> list[dict[str, Any]]:
        with clock.part("molding"):
            tensors = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in pictures]
        found = model(tensors)
        with clock.part("paste"):
            masks = [(result["masks"][:, 0] > 0.5).numpy() for result in found]
        rest = ("boxes", "labels", "scores")
        return [{"masks": m, **{k: r[k].numpy() for k in rest}} for m, r in zip(masks, found)]

    found = min(len(result["scores"]) for result in detect())
    counting.remove()
    result = {"proposals": min(counts), "detections": found}
    if not stages:
        seconds = timed(detect, calls, WARM_UP - 1)
        return {**result, "seconds": seconds, "peak MB": peak_mb()}
    clock.start()
    total = sum(timed(detect, calls, warm_up=0))
    return {**result, "stages": {k: v / calls for k, v in clock.stages(total).items()}}


class Clock:
    """Time by module, from hooks around their forward passes; exact, for they run one by one."""

    def __init__(self, model: MaskRCNN) -> None:
        self.model = model
        self.spent: dict[str, float] = defaultdict(float)

    def start(self) -> None:
        self.spent.clear()
        heads = self.model.roi_heads
        for name, module in [
            ("molding", self.model.transform),
            ("backbone", self.model.backbone.body),
            ("FPN", self.model.backbone.fpn),
            ("RPN", self.model.rpn.head),
            ("all of RPN", self.model.rpn),
            ("ROIAlign", heads.box_roi_pool),
            ("ROIAlign", heads.mask_roi_pool),
            ("heads", heads.box_head),
            ("heads", heads.box_predictor),
            ("heads", heads.mask_head),
            ("heads", heads.mask_predictor),
            ("all of ROI", heads),
        ]:
            part = self.part(name)
            module.register_forward_pre_hook(lambda *_, part=part: part.__enter__())
            module.register_forward_hook(lambda *_, part=part: part.__exit__())

    def part(self, name: str) -> "_Part":
        return _Part(self.spent, name)

    def stages(self, total: float) -> dict[str, float]:
        """Seconds by stage; what torchvision has no module for is what remains of its parent."""
        s = self.spent
        known = ("molding", "backbone", "FPN", "all of RPN", "all of ROI")
        return {
            **{name: s[name] for name in ("molding", "backbone", "FPN", "RPN")},
            "proposals": s["all of RPN"] - s["RPN"],
            "ROIAlign": s["ROIAlign"],
            "heads": s["heads"],
            "NMS": s["all of ROI"] - s["ROIAlign"] - s["heads"],
            "paste": total - sum(s[name] for name in known),
        }


class _Part:
    def __init__(self, spent: dict[str, float], name: str) -> None:
        self.spent, self.name = spent, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self.spent[self.name] += time.perf_counter() - self.began


def training(
    backbone: str, side: int, batch: int, classes: int, layers: str, rois: int, calls: int
) -> dict[str, Any]:
    """One step: forward, backward, clipping, SGD; the batch is made before."""
    model = build(
        backbone,
        side,
        classes,
        box_batch_size_per_image=rois,
        box_positive_fraction=0.33,
        rpn_post_nms_top_n_train=2000,
    ).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # stored statistics; scale and shift are trained, as in ours
    model.backbone.body.requires_grad_(layers == "all")

    scenes = [scene(side, 10, seed) for seed in range(batch)]
    images = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p, _, _ in scenes]
    targets = [
        {
            "boxes": torch.from_numpy(boxes[:, [1, 0, 3, 2]]).float(),
            "labels": torch.arange(len(boxes)) % (classes - 1) + 1,
            "masks": torch.from_numpy(masks.transpose(2, 0, 1).copy()).to(torch.uint8),
        }
        for _, boxes, masks in scenes
    ]
    proposals = [
        torch.from_numpy(candidates(boxes, 2000, side, seed)[:, [1, 0, 3, 2]])
        for seed, (_, boxes, _) in enumerate(scenes)
    ]
    # The RPN and its NMS have run when these take the place of what they found.
    model.rpn.register_forward_hook(lambda m, i, out: ([p.clone() for p in proposals], out[1]))
    chosen = _record_regions(model.roi_heads)

    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1e-5, momentum=0.9, weight_decay=1e-4)
    losses: list[float] = []

    def step() -> None:
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        losses.append(loss.item())

    seconds = timed(step, calls)
    return {**chosen, "loss": losses[-1], "seconds": seconds, "peak MB": peak_mb()}


def _record_regions(roi_heads: torch.nn.Module) -> dict[str, int]:
    """How many regions train the heads, and how many of them are positive, of a whole batch."""
    chosen: dict[str, int] = {}
    select: Callable = roi_heads.select_training_samples

    def recording(*args: Any) -> Any:
        found = select(*args)
        labels = torch.cat(found[2])
        chosen.update(rois=len(labels), positives=int((labels > 0).sum()))
        return found

    roi_heads.select_training_samples = recording
    return chosen


def measure(task: str, threads: int, **setting: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(threads)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    return {**{"inference": inference, "training": training}[task](**setting), "versions": versions}


if __name__ == "__main__":
    answer(measure)
