"""Where a command's Config comes from: a Python file or module, and `--set`.

load_config("cells.py:CellsConfig")
apply_setting(config, "DETECTION_MAX_INSTANCES=20")
"""

import ast
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.config import PRECISIONS, Config
from mrcnn.errors import UsageError

# -- From Python ----------------------------------------------------------------------------


def load_config(spec: str) -> Config:
    """The Config that `spec` names: FILE.py:CLASS or MODULE:CLASS.

    Without CLASS the file must define exactly one subclass of Config. The file is run, so that it
    may import what lies beside it. Raises UsageError.
    """
    source, separator, name = spec.rpartition(":")
    if not separator or not name.isidentifier():  # C:\cells.py has a colon too
        source, name = spec, ""
    module = _import(source)
    found = getattr(module, name, None) if name else _only_config(module, source)
    if found is None:
        near = difflib.get_close_matches(name, dir(module), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"--config: {source} has nothing named {name}.{hint}")
    try:
        config = found() if isinstance(found, type) and issubclass(found, Config) else found
    except Exception as error:
        raise UsageError(f"--config: {spec} can't be made: {_kind(error)}.") from error
    if not isinstance(config, Config):
        raise UsageError(f"--config: {name} in {source} is no subclass of mrcnn.config.Config.")
    return config


def _import(source: str) -> ModuleType:
    path = Path(source).expanduser()
    is_file = path.suffix == ".py" or path.is_file()
    if is_file and not path.is_file():
        raise UsageError(f"--config: there is no file {path}.")
    # As Python does for a script: what lies beside it, or in this folder, can be imported.
    folder = str(path.resolve().parent) if is_file else ""
    sys.path.insert(0, folder)
    try:
        return _run_file(path) if is_file else importlib.import_module(source)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == source
        reason = "there is no such file or module" if missing else _kind(error)
        raise UsageError(f"--config: can't import {source}: {reason}.") from error
    finally:
        sys.path.remove(folder)


def _run_file(path: Path) -> ModuleType:
    # A name that nothing else has: the user's `config.py` must not stand in for another one.
    spec = importlib.util.spec_from_file_location(f"mrcnn_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--config: {path} is no Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _only_config(module: ModuleType, source: str) -> type[Config]:
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Config)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise UsageError(
            f"--config: which subclass of Config in {source}? It defines {names}: write "
            f"{source}:CLASS."
        )
    return classes[0]


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# -- From --set -----------------------------------------------------------------------------

_FOLLOW = {
    "BATCH_SIZE": "IMAGES_PER_GPU and GPU_COUNT",
    "IMAGE_SHAPE": "IMAGE_MIN_DIM, IMAGE_MAX_DIM and IMAGE_CHANNEL_COUNT",
    "IMAGE_META_SIZE": "NUM_CLASSES",
}
_MAY_BE_NONE = ("IMAGE_MIN_DIM", "IMAGE_MIN_SCALE", "TRAIN_BN", "GRADIENT_CLIP_NORM")
# Values of the kind that belongs where the default is None.
_LIKE = {"NAME": "cells", "SEED": 0, "WORKERS": 0, "IMAGE_CHANNELS": (2, 1, 0), "IMAGE_PLANE": 0}


def apply_setting(config: Config, setting: str) -> str:
    """Set one attribute of `config` from the text NAME=VALUE; returns its name.

    VALUE is a Python literal; what is none is taken as text. Raises UsageError for a name that
    the Config doesn't have, and for a value of another kind than the default's.
    """
    name, separator, text = (part.strip() for part in setting.partition("="))
    if not separator:
        raise UsageError(f"--set {setting}: write NAME=VALUE, such as IMAGE_MAX_DIM=512.")
    known = [known for known in dir(config) if known.isupper() and not known.startswith("_")]
    if name not in known:
        near = difflib.get_close_matches(name.upper(), known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"--set {setting}: the Config has no {name}.{hint}")
    if name in _FOLLOW:
        raise UsageError(f"--set {setting}: {name} follows from {_FOLLOW[name]}; set those.")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if name == "NAME" and value is not None and not isinstance(value, str):  # cells of 2026
        value = text
    setattr(config, name, _of_kind(config, name, value, setting))
    return name


def _of_kind(config: Config, name: str, value: Any, setting: str) -> Any:
    # What the package ships says the kind: a user's BACKBONE may be a function.
    default = getattr(Config, name, getattr(config, name))
    if value is None and (default is None or name in _MAY_BE_NONE):
        return None
    if name == "COMPUTE_BACKBONE_SHAPE" or callable(default):
        raise UsageError(f"--set {setting}: {name} is a function; write it into a --config file.")
    if default is None and name not in _LIKE:  # the user's own
        return value
    whole, default = default is None, _LIKE.get(name, default)
    if name == "IMAGE_RANGE" and isinstance(value, (list, tuple)):  # its words are checked later
        wanted, fits = "two numbers, auto or type", len(value) == 2 and all(map(_is_number, value))
    elif name == "MIXED_PRECISION":
        wanted, fits = "False, True or bfloat16", value in tuple(PRECISIONS)
    elif isinstance(default, bool):
        wanted, fits = "True or False", isinstance(value, bool)
    elif whole and isinstance(default, int):
        wanted, fits = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, (int, float, np.number)):
        wanted, fits = "a number", _is_number(value)
    elif name == "MEAN_PIXEL" and _is_number(value):  # the same for all channels
        return value
    elif isinstance(default, (list, tuple, np.ndarray)):
        wanted = f"a list of numbers, such as {np.asarray(default).tolist()}"
        fits = isinstance(value, (list, tuple)) and all(_is_number(item) for item in value)
    elif isinstance(default, dict):
        wanted, fits = f"a dict such as {default}", isinstance(value, dict)
    else:
        wanted, fits = "text", isinstance(value, str)
    if not fits:
        raise UsageError(f"--set {setting}: {name} is {wanted}, not {value!r}.")
    if isinstance(default, np.ndarray):
        return np.array(value, dtype=default.dtype)
    return type(default)(value) if isinstance(default, (list, tuple)) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
