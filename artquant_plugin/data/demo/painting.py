"""Procedural paintings with known attributes: a small dataset that anyone can make, train on and be scored on.

Each painting has five attributes between 0 and 1 that its picture shows: where the subject stands (composition),
how its hues relate (colour), how light models it (light), how the brush was led (texture) and how surely the subject
is drawn (subject). The score is a weighted sum of them as seen by a panel of noisy raters; the description tells the
same attributes in words. Colours themselves carry no value: hue and brightness of the palette are free.
"""

import colorsys
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.common.progress import progress
from artquant_plugin.common.workers import process_pool
from artquant_plugin.data.dataset import DEMO, INFO_FILE, Dataset, Painting, only_dataset_writer, write_dataset
from artquant_plugin.data.demo import words as demo_words
from artquant_plugin.data.task_names import check_task_name, is_in_data_home

ROOTS, IMAGES = ("set-1", "set-2"), "images"  # folders of a set's pictures; the rows name them from their root
PICTURE = re.compile(r"\d{5,}\.png|\.\d{5,}\.png\..*\.tmp")  # those of `atomic_write` before they are whole, too
SIZE = 128  # pixels, both sides
CATEGORIES = ("landscape", "portrait", "still life", "abstract")
WEIGHTS = {"composition": 0.18, "color": 0.18, "light": 0.24, "texture": 0.24, "subject": 0.16}
SKILL = 0.6  # share of each attribute that is the painter's own, and so the same in all five
SPREAD = 13.0  # score points over the full range of the weighted attributes; the ends of [0, 10] are reached
RATERS, RATER_SD = 9, 1.0
LEVEL_VALUES = (10.0, 7.5, 5.0, 2.5, 0.0)
THIRDS = np.array([[1 / 3, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1 / 3], [2 / 3, 2 / 3]])

Canvas = NDArray[np.float64]  # (SIZE, SIZE, 3) in [0, 1]
Mask = NDArray[np.float64]  # (SIZE, SIZE) in [0, 1]


@dataclass(frozen=True, slots=True)
class DemoPainting:
    """One generated painting.

    Args:
        image: an RGB picture of SIZE × SIZE pixels.
        category: the painting's category, one of `CATEGORIES`.
        score: the mean score of the raters, in [0, 10].
        attributes: a value in [0, 10] for each name in WEIGHTS.
        description: the texts for perception, cognition and emotion, by these names.
    """

    image: Image.Image
    category: str
    score: float
    attributes: dict[str, float]
    description: dict[str, str]


def paint(seed: int, index: int) -> DemoPainting:
    """Paint one picture.

    Args:
        seed: of the dataset, from 0.
        index: the painting's number in the dataset, from 0. Seed and index together decide everything.
    """
    rng = np.random.default_rng((seed, index))
    category = CATEGORIES[rng.integers(len(CATEGORIES))]
    attributes = chosen_attributes(rng)
    image = _render(category, attributes, rng)
    return DemoPainting(
        image=image,
        category=category,
        score=panel_score(attributes, rng),
        attributes={name: round(10 * value, 2) for name, value in attributes.items()},
        description=demo_words.describe(category, attributes, rng),
    )


def chosen_attributes(rng: np.random.Generator) -> dict[str, float]:
    """The attributes of a painting: values in [0, 1] by name, each partly of its own and partly the painter's skill.

    Args:
        rng: the painting's generator of random numbers, from which six are taken.
    """
    skill = rng.random()
    return {name: float(SKILL * skill + (1 - SKILL) * rng.random()) for name in WEIGHTS}


def panel_score(attributes: Mapping[str, float], rng: np.random.Generator) -> float:
    """The mean score that the panel of raters gives, in [0, 10], to three decimals.

    Args:
        attributes: the painting's values in [0, 1] by name.
        rng: the painting's generator of random numbers, from which each rater's deviation is taken.
    """
    quality = sum(WEIGHTS[name] * value for name, value in attributes.items())
    raters = 5 + SPREAD * (quality - 0.5) + RATER_SD * rng.standard_normal(RATERS)
    return round(float(raters.clip(0, 10).mean()), 3)


def _render(category: str, attributes: dict[str, float], rng: np.random.Generator) -> Image.Image:
    palette = _palette(attributes["color"], rng)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    centre = _place(attributes["composition"], rng)
    ground, masks = SCENES[category](x, y, centre, 1 - attributes["subject"], rng)
    canvas = palette[0] * (1 - ground[..., None]) + palette[1] * ground[..., None]
    for mask, colour in zip(masks, palette[2:], strict=False):
        canvas = canvas * (1 - mask[..., None]) + colour * mask[..., None]
    canvas = _light(canvas, masks, attributes["light"], x, y, rng)
    canvas = _brush(canvas, attributes["texture"], rng)
    return Image.fromarray((canvas.clip(0, 1) * 255).round().astype(np.uint8))


def _palette(harmony: float, rng: np.random.Generator) -> Canvas:
    """Five colours: one hue, its neighbours or its complement in a harmonious palette, any hues in a clashing one."""
    base = rng.random()
    scheme = np.array([[0, 0.03, 0.06, 0.09, -0.05], [0, 0.04, 0.5, 0.53, 0.02]][rng.integers(2)])
    clash = np.array([0, 0.28, 0.61, 0.37, 0.83])[rng.permutation(5)]
    hues = base + harmony * scheme + (1 - harmony) * clash
    # Saturations lie close together in a harmonious palette; their level is free, so that it tells nothing by itself.
    saturation = rng.uniform(0.35, 0.75) + (1 - harmony) * rng.uniform(-0.3, 0.3, 5)
    value = rng.uniform(0.45, 0.75) + rng.permutation([-0.25, -0.12, 0.0, 0.12, 0.25])
    triples = zip(hues % 1, saturation.clip(0.05, 1), value.clip(0.15, 0.95), strict=True)
    return np.array([colorsys.hsv_to_rgb(*triple) for triple in triples])


def _place(composition: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The subject's centre (x, y): on a point of thirds at best, crammed into a corner or an edge at worst."""
    third = THIRDS[rng.integers(4)]
    corner = np.where(third < 0.5, 0.02, 0.98)
    if rng.random() < 0.4:
        corner[rng.integers(2)] = rng.uniform(0.2, 0.8)
    return composition * third + (1 - composition) * corner + rng.normal(0, 0.01, 2)


def _blob(x: Mask, y: Mask, centre: tuple[float, float], radii: tuple[float, float], wobble: Mask) -> Mask:
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]) + wobble
    return 1 / (1 + np.exp(np.clip((distance - 1) * 25, -50, 50)))


def _wobble(doubt: float, rng: np.random.Generator) -> Mask:
    """An unsure hand: outlines that waver and break, from smooth noise."""
    noise = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 3.5, mode="wrap")
    return 0.75 * doubt**1.2 * noise / noise.std()


Scene = Callable[[Mask, Mask, NDArray[np.float64], float, np.random.Generator], tuple[Mask, list[Mask]]]


def _landscape(
    x: Mask, y: Mask, centre: NDArray[np.float64], doubt: float, rng: np.random.Generator
) -> tuple[Mask, list[Mask]]:
    horizon = rng.uniform(0.5, 0.7) + 0.05 * np.sin(6 * x + rng.uniform(0, 6))
    ground = 1 / (1 + np.exp(np.clip((horizon - y) * 60, -50, 50)))
    cx, cy = centre
    crown = _blob(x, y, (cx, cy - 0.06), (0.15, 0.14), _wobble(doubt, rng))
    trunk = _blob(x, y, (cx, cy + 0.14), (0.03, 0.14), 0.5 * _wobble(doubt, rng))
    return ground, [trunk, crown]


def _portrait(
    x: Mask, y: Mask, centre: NDArray[np.float64], doubt: float, rng: np.random.Generator
) -> tuple[Mask, list[Mask]]:
    ground = np.clip(x * rng.uniform(-0.5, 0.5) + 0.3, 0, 1)
    cx, cy = centre
    shoulders = _blob(x, y, (cx, cy + 0.3), (0.22, 0.17), 0.6 * _wobble(doubt, rng))
    hair = _blob(x, y, (cx, cy - 0.04), (0.15, 0.18), _wobble(doubt, rng))
    face = _blob(x, y, (cx, cy), (0.105, 0.14), _wobble(doubt, rng))
    return ground, [shoulders, hair, face]


def _still_life(
    x: Mask, y: Mask, centre: NDArray[np.float64], doubt: float, rng: np.random.Generator
) -> tuple[Mask, list[Mask]]:
    table = 1 / (1 + np.exp(np.clip((rng.uniform(0.55, 0.75) - y) * 80, -50, 50)))
    cx, cy = centre
    side = rng.choice([-1, 1])
    vase = _blob(x, y, (cx, cy), (0.09, 0.2), _wobble(doubt, rng))
    fruit = _blob(x, y, (cx + side * 0.17, cy + 0.12), (0.09, 0.085), _wobble(doubt, rng))
    second = _blob(x, y, (cx - side * 0.13, cy + 0.14), (0.07, 0.065), _wobble(doubt, rng))
    return table, [vase, fruit, second]


def _abstract(
    x: Mask, y: Mask, centre: NDArray[np.float64], doubt: float, rng: np.random.Generator
) -> tuple[Mask, list[Mask]]:
    angle = rng.uniform(0, np.pi)
    ground = 1 / (1 + np.exp(np.clip(((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)) * 40, -50, 50)))
    cx, cy = centre
    shapes = []
    for radius in (0.2, 0.14, 0.07):
        wobble = _wobble(doubt, rng)
        if rng.random() < 0.5:
            shapes.append(_blob(x, y, (cx, cy), (radius, radius), wobble))
        else:
            distance = np.maximum(abs(x - cx), abs(y - cy)) / radius + wobble
            shapes.append(1 / (1 + np.exp(np.clip((distance - 1) * 25, -50, 50))))
    return ground, shapes


SCENES: dict[str, Scene] = {
    "landscape": _landscape,
    "portrait": _portrait,
    "still life": _still_life,
    "abstract": _abstract,
}


def _light(canvas: Canvas, masks: list[Mask], strength: float, x: Mask, y: Mask, rng: np.random.Generator) -> Canvas:
    """Light from one side: a gradient over the picture and modelling on the subject; none of it when flat."""
    angle = rng.uniform(0, 2 * np.pi)
    slope = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    subject = np.maximum.reduce(masks)
    shade = 1 + strength * (0.95 * slope + 0.5 * slope * subject)
    return canvas * shade[..., None]


def _brush(canvas: Canvas, control: float, rng: np.random.Generator) -> Canvas:
    """Fine strokes that follow one direction at best, coarse blotches and grit at worst."""
    strokes = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.permutation([0.6, 6.0]), mode="wrap")
    blotches = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1.3, mode="wrap")
    layer = 0.06 * control * strokes / strokes.std() + 0.17 * (1 - control) ** 1.1 * blotches / blotches.std()
    return canvas + layer[..., None]


def write_demo(
    folder: Path, *, seed: int, train: int, validation: int, test: int, workers: int | None = None
) -> Dataset:
    """Paint a whole dataset and write it in the dataset form.

    A set that is there already stays whole until the new one is: the new pictures go to the one of two folders,
    ``set-1`` and ``set-2``, that its dataset.json does not name. The other one is removed at the end.

    Args:
        folder: of the dataset, made when absent.
        seed: of every painting, from 0.
        train: number of paintings of the training split, from 0.
        validation: number of paintings of the validation split, from 0.
        test: number of paintings of the test split, from 0.
        workers: number of processes that paint; 1 paints in this process, None takes one per core.

    Raises:
        ArtQuantError: another process is writing the folder, it holds a dataset that is no set of demo paintings, or
            it lies in `data_home` under a name that is taken.
    """
    if is_in_data_home(folder):
        check_task_name(folder.absolute().name)
    sizes = {"train": train, "validation": validation, "test": test}
    with only_dataset_writer(folder):
        before = _root_before(folder)
        root = next(name for name in ROOTS if name != before)
        _remove_pictures(folder / root)  # of a run that was interrupted
        (folder / root / IMAGES).mkdir(parents=True, exist_ok=True)
        dataset = _write_demo(folder, root, seed, sizes, workers)
        if before is not None:
            _remove_pictures(folder / before)
    return dataset


def _root_before(folder: Path) -> str | None:
    """Where the pictures of the set are that a folder holds; None where it holds none.

    Raises:
        ArtQuantError: the folder holds another dataset.
    """
    if not (folder / INFO_FILE).is_file():
        return None
    try:
        info = Dataset.load(folder).info
    except ArtQuantError:  # not readable, so that there is nothing to be kept
        return None
    if info.name != DEMO:
        raise ArtQuantError(f"'{folder}' holds the dataset {info.name!r}; pass another --out")
    return info.image_root


def _remove_pictures(root: Path) -> None:
    """Remove the pictures of a set, and nothing that somebody else put there."""
    if root.is_symlink() or (root / IMAGES).is_symlink():
        return
    for path in (root / IMAGES).glob("*"):
        if PICTURE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    for emptied in (root / IMAGES, root):
        with suppress(OSError):  # it is not there, or something else is in it
            emptied.rmdir()


def _write_demo(folder: Path, root: str, seed: int, sizes: Mapping[str, int], workers: int | None) -> Dataset:
    total = sum(sizes.values())
    paint_one = partial(_paint_file, folder / root, seed)
    with nullcontext() if workers == 1 else process_pool(workers) as pool:
        painted = map(paint_one, range(total)) if pool is None else pool.map(paint_one, range(total), chunksize=32)
        rows = iter(list(progress(painted, "paint", "image", total)))
    return write_dataset(
        folder,
        name=DEMO,
        score_range=(0.0, 10.0),
        splits={split: list(_take(rows, count)) for split, count in sizes.items()},
        image_root=root,
        source="procedural paintings of artquant-plugin (artquant data demo)",
        license="Apache-2.0",
        level_values=LEVEL_VALUES,
        split_method="by index",
        split_seed=seed,
    )


def _take(rows: Iterator[Painting], count: int) -> Iterator[Painting]:
    for _ in range(count):
        yield next(rows)


def _paint_file(folder: Path, seed: int, index: int) -> Painting:
    painted = paint(seed, index)
    name = f"{IMAGES}/{index:05d}.png"
    buffer = BytesIO()
    painted.image.save(buffer, "PNG")
    with atomic_write(folder / name, "wb") as file:
        file.write(buffer.getvalue())
    return Painting(
        id=f"{index:05d}",
        image=name,
        sha256=sha256_file(folder / name),
        score=painted.score,
        category=painted.category,
        attributes={**painted.attributes},
        description=painted.description,
    )
