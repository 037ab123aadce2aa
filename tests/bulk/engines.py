"""A scripted engine: scores by an image's own pixels, counts what it is asked, stops where it is told."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from artquant_plugin.bulk.rows import ScoreColumns
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import open_image


@dataclass
class Brightness:
    """Score = mean pixel value; level `light` = score / 255.

    Args:
        stop_after: raise KeyboardInterrupt at this image of this engine's life.
        name: what the record calls the model.
    """

    stop_after: int | None = None
    name: str = "brightness"
    asked: int = field(default=0, init=False)

    columns = ScoreColumns(("light", "dark"))
    options = {"engine": "brightness"}

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def results(self, images):
        for image in images:
            if self.asked == self.stop_after:
                raise KeyboardInterrupt
            self.asked += 1
            try:
                picture = open_image(image)
            except ArtQuantError as error:
                yield error
                continue
            score = float(np.asarray(picture).mean())
            yield {
                "score": score,
                "levels": {"light": score / 255, "dark": 1 - score / 255},
                "entropy": 0.5,
                "extras": {},
            }
