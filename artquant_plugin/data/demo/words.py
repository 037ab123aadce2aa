"""The words for demo paintings: three levels that tell the attributes, never the score."""

import numpy as np

# For each attribute, worst first, phrases that mean the same.
PHRASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "composition": (
        ("is crammed against the edge", "is pushed into the corner"),
        ("stands too near the edge", "sits off balance"),
        ("is placed with some care", "is fairly well placed"),
        ("rests on a point of thirds", "is placed in fine balance"),
    ),
    "color": (
        ("the colours clash", "the hues fight each other"),
        ("the colours sit uneasily together", "the palette is restless"),
        ("the colours mostly agree", "the palette holds together"),
        ("the colours are in harmony", "the palette is of one mind"),
    ),
    "light": (
        ("the light is flat", "there is no light to speak of"),
        ("the light is weak", "the light is faint"),
        ("light falls from one side", "the light has direction"),
        ("strong light models the forms", "dramatic light fills the picture"),
    ),
    "texture": (
        ("coarse blotches cover the surface", "the surface is gritty and coarse"),
        ("the brush is uneven", "the surface is patchy"),
        ("the brush is fairly even", "the strokes are mostly calm"),
        ("fine strokes follow one direction", "the brush is led with control"),
    ),
    "subject": (
        ("its outline wavers and breaks", "its shape falls apart"),
        ("its outline is unsure", "its shape is vague"),
        ("its outline is mostly clear", "its shape is readable"),
        ("its outline is sure and clear", "its shape is drawn with a firm hand"),
    ),
}
SUBJECTS = {"landscape": "tree", "portrait": "sitter", "still life": "vase", "abstract": "figure"}
FEELINGS = (
    ("it leaves one cold", "it feels careless"),
    ("it feels unsettled", "it hardly moves the viewer"),
    ("it has a quiet charm", "it is pleasant to look at"),
    ("it is moving and serene", "it holds the viewer in wonder"),
)


def describe(category: str, attributes: dict[str, float], rng: np.random.Generator) -> dict[str, str]:
    """Three-level description of a demo painting.

    Args:
        category: one of the demo's categories.
        attributes: values in [0, 1] by name.
        rng: chooses among phrases of one meaning.

    Returns:
        Texts for perception (colour, light, texture), cognition (subject, composition) and emotion (the whole).
    """
    said = {name: _phrase(PHRASES[name], value, rng) for name, value in attributes.items()}
    whole = float(np.mean(list(attributes.values())))
    perception = f"{said['color']}, {said['light']} and {said['texture']}."
    cognition = f"in this {category} the {SUBJECTS[category]} {said['composition']} and {said['subject']}."
    emotion = f"{_phrase(FEELINGS, whole, rng)}."
    return {
        "perception": perception[0].upper() + perception[1:],
        "cognition": cognition[0].upper() + cognition[1:],
        "emotion": emotion[0].upper() + emotion[1:],
    }


def _phrase(levels: tuple[tuple[str, ...], ...], value: float, rng: np.random.Generator) -> str:
    level = min(int(value * len(levels)), len(levels) - 1)
    return levels[level][rng.integers(len(levels[level]))]
