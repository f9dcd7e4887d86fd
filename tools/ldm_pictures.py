"""Training pictures of the inpainting model: crops of synthetic streets and of random shapes, each with a hole."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.ground import to_bytes
from pipeline.synthetic.light import Light, Sensor
from pipeline.synthetic.render import compose
from pipeline.synthetic.scene import make_scene
from pipeline.synthetic.script import Stage

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

FIRST_SCENE = 1000  # seeds below are left to those who evaluate with the generator
HEIGHT, WIDTH, FPS = 240, 320, 25
SPACING = 25  # frames between two pictures of a scene: one second


@dataclass(frozen=True, kw_only=True)
class Street:
    """Pictures of one scene: ``pictures_NHWC`` uint8 RGB; ``owner_NHW`` number of the walker at a pixel, -1 = none."""

    pictures_NHWC: Picture
    owner_NHW: NDArray[np.int16]


def render_street(seed: int, count: int) -> Street:
    """Render ``count`` pictures of scene ``seed``, walkers only: the model never sees the anomalies of the test split."""
    rng = np.random.default_rng([seed, 77])
    frames = count * SPACING
    scene = make_scene(seed, HEIGHT, WIDTH)
    stage = Stage(rng, scene, frames, FPS)
    walkers = stage.walkers() + stage.walkers()  # twice the usual crowd: more to learn from per picture
    light, sensor = Light(rng, frames, FPS, HEIGHT, WIDTH), Sensor(rng, HEIGHT, WIDTH)
    pictures, owners = [], []
    for frame in range(0, frames, SPACING):
        picture_HWC, owner_HW = compose(scene, walkers, frame, light.field(frame))
        pictures.append(to_bytes(sensor.expose(picture_HWC)))
        owners.append(owner_HW)
    return Street(pictures_NHWC=np.stack(pictures), owner_NHW=np.stack(owners))


def shapes_picture(rng: Rng, size: int) -> Picture:
    """Return a "dead leaves" picture (H, W, 3) uint8: random shapes over each other, with the edges of photographs."""
    picture_HWC = np.full((size, size, 3), rng.uniform(30, 220, 3), np.float32)
    for _ in range(int(rng.integers(20, 90))):
        radius = int(min(4 / rng.uniform(0.06, 1), size / 2))
        centre = (int(rng.integers(size)), int(rng.integers(size)))
        axes = (radius, max(1, int(radius * rng.uniform(0.2, 1))))
        colour = tuple(float(c) for c in rng.uniform(10, 245) + rng.normal(0, 25, 3))
        cv2.ellipse(picture_HWC, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    texture_HW = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), float(rng.uniform(0.5, 3)))
    picture_HWC += rng.uniform(0, 25) * (texture_HW / texture_HW.std())[..., None]
    return to_bytes(picture_HWC)


def crop_street(rng: Rng, street: Street, size: int) -> tuple[Picture, NDArray[np.int16]]:
    """Return a crop (size, size, 3) and its owners, at 0.35 to 0.9 of the rendered scale, mostly around a walker."""
    number = int(rng.integers(len(street.pictures_NHWC)))
    picture_HWC, owner_HW = street.pictures_NHWC[number], street.owner_NHW[number]
    height = min(round(size / rng.uniform(0.35, 0.9)), HEIGHT)
    width = min(round(height * rng.uniform(0.9, 1.1)), WIDTH)
    rows, columns = np.nonzero(owner_HW >= 0)
    top, left = rng.uniform(0, HEIGHT - height), rng.uniform(0, WIDTH - width)
    if len(rows) and rng.random() < 0.8:
        pixel = int(rng.integers(len(rows)))
        top = np.clip(rows[pixel] - height * rng.uniform(0.2, 0.8), 0, HEIGHT - height)
        left = np.clip(columns[pixel] - width * rng.uniform(0.2, 0.8), 0, WIDTH - width)
    window = np.s_[int(top) : int(top) + height, int(left) : int(left) + width]
    crop_HWC = cv2.resize(picture_HWC[window], (size, size), interpolation=cv2.INTER_AREA)
    owner_crop_HW = cv2.resize(owner_HW[window], (size, size), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        crop_HWC, owner_crop_HW = crop_HWC[:, ::-1], owner_crop_HW[:, ::-1]
    return np.ascontiguousarray(crop_HWC, np.uint8), np.ascontiguousarray(owner_crop_HW, np.int16)


def as_filmed(rng: Rng, picture_HWC: Picture) -> Picture:
    """Return the picture as another camera might have taken it: half of them grey, other contrast, blur, noise, JPEG."""
    changed = picture_HWC.astype(np.float32)
    if rng.random() < 0.5:
        changed[:] = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY)[..., None]
    level = changed.mean()
    changed = (changed - level) * rng.uniform(0.6, 1.35) + level + rng.uniform(-35, 35)
    if rng.random() < 0.25:
        changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), float(rng.uniform(0.3, 0.8))), np.float32)
    if rng.random() < 0.5:
        changed += rng.normal(0, rng.uniform(0, 5), (*changed.shape[:2], 1))
    result: Picture = to_bytes(np.asarray(changed, np.float32))
    if rng.random() < 0.2:
        _, code = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 95))])
        result = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return result


def silhouette(rng: Rng, owner_HW: NDArray[np.int16]) -> Mask:
    """Return the pixels of one walker, grown by 0 to 3 pixels: the hole is where an object is."""
    owners = np.unique(owner_HW[owner_HW >= 0])
    if not len(owners):
        return np.zeros(owner_HW.shape, np.bool_)
    return _grown(rng, owner_HW == rng.choice(owners))


def shifted_silhouette(rng: Rng, owner_HW: NDArray[np.int16]) -> Mask:
    """Return the shape of a walker somewhere else and at another size: background and parts of objects are hidden."""
    shape_HW = silhouette(rng, owner_HW).astype(np.uint8)
    height, width = owner_HW.shape
    rows, columns = np.nonzero(shape_HW)
    if not len(rows):
        return np.zeros(owner_HW.shape, np.bool_)
    zoom = float(rng.uniform(0.7, 1.8))
    x, y = rng.uniform(0.1, 0.9, 2) * (width, height)
    side = zoom * float(rng.choice([-1, 1]))
    matrix = np.array([[side, 0, x - side * columns.mean()], [0, zoom, y - zoom * rows.mean()]], np.float64)
    return np.asarray(cv2.warpAffine(shape_HW, matrix, (width, height), flags=cv2.INTER_NEAREST) > 0)


def strokes(rng: Rng, owner_HW: NDArray[np.int16]) -> Mask:
    """Return a thick polygonal line (LaMa, WACV 2022)."""
    size = min(owner_HW.shape)
    mask_HW = np.zeros(owner_HW.shape, np.uint8)
    edge = np.array(owner_HW.shape[::-1]) - 1
    point, angle = rng.uniform(0.1, 0.9, 2) * (edge + 1), float(rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.integers(1, 5))):
        angle += float(rng.uniform(-1.5, 1.5))
        end = np.clip(point + rng.uniform(0.05, 0.3) * size * np.array([np.cos(angle), np.sin(angle)]), 0, edge)
        first, last = (tuple(int(v) for v in p) for p in (point, end))
        cv2.line(mask_HW, first, last, 1, int(rng.integers(3, size // 6)))
        point = end
    return mask_HW > 0


def boxes(rng: Rng, owner_HW: NDArray[np.int16]) -> Mask:
    """Return one to three rectangles."""
    mask_HW = np.zeros(owner_HW.shape, np.bool_)
    for _ in range(int(rng.integers(1, 4))):
        height, width = (rng.uniform(0.06, 0.38, 2) * min(owner_HW.shape)).astype(int)
        top, left = int(rng.integers(owner_HW.shape[0] - height)), int(rng.integers(owner_HW.shape[1] - width))
        mask_HW[top : top + height, left : left + width] = True
    return mask_HW


HOLES: dict[Callable[[Rng, NDArray[np.int16]], Mask], float] = {
    silhouette: 0.35,
    shifted_silhouette: 0.35,
    strokes: 0.15,
    boxes: 0.15,
}


def draw_hole(rng: Rng, owner_HW: NDArray[np.int16]) -> Mask:
    """Return a hole of 0.4 to 40 % of the crop."""
    kinds = list(HOLES)
    while True:
        mask_HW = kinds[int(rng.choice(len(kinds), p=list(HOLES.values())))](rng, owner_HW)
        if 0.004 < mask_HW.mean() < 0.4:
            return mask_HW


def make_pictures(folder: Path, *, seed: int, scenes: int, per_scene: int, crops_per_scene: int, size: int) -> None:
    """Write ``pictures.npy`` (N, size, size, 3) uint8 and ``masks.npy`` (N, size, size) bool; one crop in 8 shows shapes."""
    count = scenes * crops_per_scene
    shape = (count, size, size)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.lib.format.open_memmap(folder / "pictures.part.npy", "w+", np.uint8, (*shape, 3))
    masks = np.lib.format.open_memmap(folder / "masks.part.npy", "w+", np.bool_, shape)
    for scene in range(scenes):
        rng = np.random.default_rng([seed, 78, scene])
        street = render_street(FIRST_SCENE + seed * 100_000 + scene, per_scene)
        for crop in range(crops_per_scene):
            picture_HWC, owner_HW = crop_street(rng, street, size)
            if rng.random() < 1 / 8:
                picture_HWC = shapes_picture(rng, size)  # holes keep the shape of the walkers of the crop
            pictures[scene * crops_per_scene + crop] = as_filmed(rng, picture_HWC)
            masks[scene * crops_per_scene + crop] = draw_hole(rng, owner_HW)
    order = np.random.default_rng([seed, 79]).permutation(count)
    for array, name in ((pictures, "pictures"), (masks, "masks")):
        np.save(folder / f"{name}.npy", array[order])
        (folder / f"{name}.part.npy").unlink()


def _grown(rng: Rng, mask_HW: Mask) -> Mask:
    reach = int(rng.integers(0, 4))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), kernel) > 0)
