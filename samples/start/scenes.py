"""Pictures of made-up things: lit and textured shapes that lie over one another on any ground.

    dataset = Scenes(count=4000, side=448, seed=1)     # prepared; each picture is drawn on demand
    image, masks = dataset.load_image(7), dataset.load_mask(7)[0]

What a thing is doesn't matter here: one class, "object". What matters is that it ends somewhere.
Textures and grounds are crops of free photographs that scikit-image brings, and noise.
"""

import functools
from collections.abc import Callable

import numpy as np
import skimage.color
import skimage.data
import skimage.transform
from scipy import ndimage

from mrcnn.data.dataset import Dataset

# In the public domain or CC0; see the README in skimage/data.
PHOTOGRAPHS = (
    *("astronaut", "brick", "cell", "chelsea", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "moon", "rocket"),
)
LEAST_SHOWN = 0.3  # of a thing's area; what is hidden more is left unlabelled, and taken out
SMALLEST = 40  # pixels of a thing that is labelled


class Scenes(Dataset):
    """`count` pictures of side x side pixels. Number i of a seed always looks the same."""

    def __init__(self, count: int, side: int = 448, seed: int = 0) -> None:
        super().__init__()
        self.side, self.seed = side, seed
        self.add_class("scenes", 1, "object")
        for i in range(count):
            self.add_image("scenes", image_id=i, path=None)
        self.prepare()
        self._draw = functools.lru_cache(maxsize=4)(self._drawn)

    def load_image(self, image_id: int) -> np.ndarray:
        """[side, side, 3] uint8."""
        return self._draw(int(image_id))[0]

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """bool [side, side, things], int32 [things] of ones."""
        masks = self._draw(int(image_id))[1]
        return masks, np.ones(masks.shape[2], np.int32)

    def image_reference(self, image_id: int) -> str:
        """How to draw the picture again."""
        return f"scene {image_id} of seed {self.seed}"

    def _drawn(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return scene(np.random.default_rng([self.seed, number]), self.side)


def scene(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [side, side, 3], and masks bool [side, side, things] of what shows."""
    picture = ground(rng, side)
    light = _direction(rng)
    owner = np.zeros((side, side), np.int32)  # number of the uppermost thing
    areas = [0]
    alike = rng.random() < 0.5  # many of one kind, as in most people's pictures
    kind = Kind(rng)
    biggest = side * rng.choice([0.08, 0.15, 0.3, 0.6])
    count = int(rng.integers(1, 5 + int(40 * (1 - biggest / side) ** 3)))
    for _ in range(count):
        kind = kind if alike else Kind(rng)
        size = biggest * rng.uniform(0.4, 1) if not alike else biggest * rng.uniform(0.75, 1)
        mask = _placed(rng, kind.outline(rng, size), side)
        if mask is None or mask.sum() < SMALLEST:
            continue
        paint(rng, picture, mask, kind, light)
        areas.append(int(mask.sum()))
        owner[mask] = len(areas) - 1
    shown = np.bincount(owner.ravel(), minlength=len(areas))
    kept = [i for i in range(1, len(areas)) if shown[i] >= max(SMALLEST, LEAST_SHOWN * areas[i])]
    masks = np.stack([owner == i for i in kept], -1) if kept else np.zeros((side, side, 0), bool)
    return photographed(rng, picture), masks


# -- Things ---------------------------------------------------------------------------------


class Kind:
    """What things of one kind share: how they are bounded, coloured and lit."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.form = str(rng.choice(["blob", "ellipse", "polygon", "box", "limbs"]))
        self.aspect = rng.uniform(0.3, 1)
        self.corners = int(rng.integers(3, 8))
        self.wobble = rng.uniform(0, 0.35)
        self.colour = skimage.color.hsv2rgb(rng.uniform([0, 0, 0.15], [1, 0.95, 1]))
        self.texture = str(rng.choice(["plain", "noise", "photograph", "stripes"]))
        self.strength = rng.uniform(0.1, 0.9)
        self.dome = rng.uniform(0, 1)  # 0: flat as paper, 1: round as a ball
        self.gloss = rng.uniform(0, 0.8) * (rng.random() < 0.4)
        self.edge = rng.uniform(-0.5, 0.3) * (rng.random() < 0.4)  # a darker or lighter rim
        self.shadow = rng.uniform(0, 0.6) * (rng.random() < 0.6)
        self.clear = rng.uniform(0.75, 1)

    def outline(self, rng: np.random.Generator, size: float) -> np.ndarray:
        """bool [height, width], a mask of about `size` pixels across, turned at random."""
        reach = int(np.ceil(size * 0.75)) + 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        return self._inside(rng, u / (size / 2), v / (size / 2 * self.aspect))

    def _inside(self, rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        radius, theta = np.hypot(u, v), np.arctan2(v, u)
        if self.form == "box":
            return np.maximum(abs(u), abs(v)) < 0.8
        if self.form == "polygon":
            step = 2 * np.pi / self.corners
            return radius * np.cos((theta % step) - step / 2) < np.cos(step / 2)
        bound = np.ones_like(theta)
        if self.form != "ellipse":
            for k in range(2, 7):
                swing = self.wobble * rng.normal() / k
                bound += swing * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
        inside = radius < np.clip(bound, 0.3, 1.4)
        if self.form == "limbs":
            for at in rng.uniform(0, 2 * np.pi, rng.integers(2, 8)):
                along = u * np.cos(at) + v * np.sin(at)
                across = v * np.cos(at) - u * np.sin(at)
                inside |= (along > 0) & (along < 1.4) & (abs(across) < rng.uniform(0.05, 0.15))
        return inside


def paint(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, kind: Kind, light: np.ndarray
) -> None:
    """Draw a thing into a float picture [side, side, 3] of 0..1, with its shadow."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[part]
    if kind.shadow:
        away = np.round(-light[:2] * 0.06 * max(inside.shape)).astype(int)
        shade = np.roll(mask, away, (0, 1)) & ~mask
        shade = ndimage.gaussian_filter(shade.astype(np.float32), 0.02 * max(inside.shape) + 1)
        picture *= 1 - kind.shadow * np.where(mask, 0, shade)[..., None]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    rise = np.sqrt(1 - (1 - np.clip(depth / max(depth.max(), 1), 0, 1)) ** 2) * depth.max()
    rise = ndimage.gaussian_filter(rise, max(depth.max() / 6, 0.5)) * kind.dome
    dy, dx = np.gradient(rise) if min(rise.shape) > 1 else (rise * 0, rise * 0)
    normal = np.stack([-dy, -dx, np.ones_like(dy)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lit = np.clip(normal @ light, 0, 1)[..., None]
    colour = kind.colour * (1 - kind.strength) + kind.strength * _textures(rng, kind, inside.shape)
    colour = colour * (0.35 + 0.75 * lit) + kind.gloss * lit**20
    rim = np.exp(-depth / max(0.08 * depth.max(), 1))[..., None]
    colour = np.clip(colour * (1 + kind.edge * rim), 0, 1)
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.6)
    alpha = (np.where(inside, np.maximum(soft, 0.5), 0) * kind.clear)[..., None]
    picture[part] = picture[part] * (1 - alpha) + colour * alpha


def _textures(rng: np.random.Generator, kind: Kind, shape: tuple[int, int]) -> np.ndarray:
    if kind.texture == "photograph":
        return crop(rng, *shape)
    if kind.texture == "stripes":
        y, x = np.mgrid[: shape[0], : shape[1]]
        turn, width = rng.uniform(0, np.pi), rng.uniform(2, max(shape) / 3 + 3)
        wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / width)
        return (0.5 + 0.5 * wave)[..., None] * rng.uniform(0.3, 1, 3)
    if kind.texture == "noise":
        return kind.colour * (0.4 + 1.2 * noise(rng, shape))[..., None]
    return np.broadcast_to(kind.colour, (*shape, 3))


def _placed(rng: np.random.Generator, outline: np.ndarray, side: int) -> np.ndarray | None:
    """An outline somewhere in the picture, perhaps cut by its border."""
    half = np.array(outline.shape) // 2
    center = rng.integers(0, side, 2)
    mask = np.zeros((side, side), bool)
    low, high = np.maximum(center - half, 0), np.minimum(center - half + outline.shape, side)
    if (high <= low).any():
        return None
    start, end = low - (center - half), high - (center - half)
    mask[low[0] : high[0], low[1] : high[1]] = outline[start[0] : end[0], start[1] : end[1]]
    return mask


def _direction(rng: np.random.Generator) -> np.ndarray:
    light = np.array([*rng.normal(size=2), rng.uniform(0.6, 2)])
    return light / np.linalg.norm(light)


# -- Grounds, and the camera ----------------------------------------------------------------


def ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """What things lie on: float [side, side, 3] of 0..1."""
    colour = skimage.color.hsv2rgb(rng.uniform([0, 0, 0.05], [1, 0.7, 1]))
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: crop(rng, side, side),
        lambda: colour * (0.5 + noise(rng, (side, side)))[..., None],
        lambda: np.broadcast_to(colour, (side, side, 3)),
    ]
    picture = np.array(kinds[rng.choice(3, p=[0.6, 0.25, 0.15])](), np.float32)
    slope = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.9, 1.2), side)
    picture *= (slope[:, None] if rng.random() < 0.5 else slope[None, :])[..., None]
    return np.clip(picture, 0, 1)


@functools.cache
def photographs() -> list[np.ndarray]:
    """The free photographs, float32 [height, width, 3] of 0..1."""
    found = []
    for name in PHOTOGRAPHS:
        picture = getattr(skimage.data, name)()
        picture = skimage.color.gray2rgb(picture) if picture.ndim == 2 else picture[..., :3]
        found.append(picture.astype(np.float32) / 255)
    return found


def crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A piece of a photograph, mirrored, enlarged and coloured at random: [height, width, 3]."""
    photograph = photographs()[rng.integers(len(photographs()))]
    share = rng.uniform(0.15, 0.8)
    rows, columns = (max(int(share * n), 8) for n in photograph.shape[:2])
    y = rng.integers(0, photograph.shape[0] - rows + 1)
    x = rng.integers(0, photograph.shape[1] - columns + 1)
    piece = photograph[y : y + rows, x : x + columns]
    piece = piece[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    piece = piece.transpose(1, 0, 2) if rng.random() < 0.5 else piece
    piece = piece[..., rng.permutation(3)] * rng.uniform(0.6, 1.3, 3)
    return np.clip(skimage.transform.resize(piece, (height, width, 3)), 0, 1)


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Clouds: noise of several sizes added up, 0..1."""
    total = np.zeros(shape, np.float32)
    for octave in range(2, 6):
        cells = tuple(max(n >> (7 - octave), 2) for n in shape)
        total += skimage.transform.resize(rng.random(cells), shape, order=1) / octave
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


def photographed(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What a camera makes of it: blur, noise, another exposure. uint8 of the same shape."""
    if rng.random() < 0.5:
        blur = rng.uniform(0.3, 1.5)
        picture = ndimage.gaussian_filter(picture, (blur, blur, 0))
    picture = picture ** rng.uniform(0.7, 1.4) * rng.uniform(0.75, 1.15)
    picture = picture + rng.normal(0, rng.uniform(0, 0.04), picture.shape)
    if rng.random() < 0.15:  # a grey camera, a microscope
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, axis=-1)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)
