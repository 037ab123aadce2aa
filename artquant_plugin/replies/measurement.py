"""The reply of a model that measures in a unit of its own: an image quality metric, or another scorer's scale."""

import json
import math
from dataclasses import dataclass
from typing import Any

from artquant_plugin.common.json_text import only_object

_FURTHER = ("levels", "checkpoint")  # what may stand beside the measurement in a reply


@dataclass(frozen=True, slots=True)
class Measurement:
    """The value of an image quality metric for one image, or a score on another scale than the dataset's.

    Args:
        metric: the name of the metric, as pyiqa calls it ("piqe"), or of the scoring preset ("q-align").
        value: the value in the metric's own unit and range; finite.
        lower_better: whether a lower value means a better image.
        levels: the probability of each level word; None for a metric that has no level words.
        checkpoint: the identity of the weights that gave the value; None for a metric without a checkpoint of ours.
    """

    metric: str
    value: float
    lower_better: bool
    levels: dict[str, float] | None = None
    checkpoint: dict[str, Any] | None = None

    @property
    def prediction(self) -> float:
        """The value, with its sign turned where lower is better, so that correlations have the usual sign."""
        return -self.value if self.lower_better else self.value

    @property
    def record(self) -> dict[str, Any]:
        """Metric, value and direction, as a samples file keeps them."""
        return {"metric": self.metric, "value": self.value, "lower_better": self.lower_better}

    def to_reply(self) -> str:
        """The measurement as JSON: ``{"measurement": {"metric": "piqe", "value": 31.2, "lower_better": true}}``.

        Levels and checkpoint stand beside it under their names, where they are known.
        """
        further = {"levels": self.levels, "checkpoint": self.checkpoint}
        return json.dumps({"measurement": self.record} | {name: value for name, value in further.items() if value})

    @classmethod
    def from_reply(cls, text: str | None) -> "Measurement | None":
        """The measurement that `to_reply` wrote.

        Args:
            text: a reply; None where there is none.

        Returns:
            None for any other text, also for one that holds something else besides, and for a value that is not
            finite.

        Example:
            >>> Measurement.from_reply(Measurement("piqe", 31.2, True).to_reply()).prediction
            -31.2
            >>> Measurement.from_reply("Score: 7") is None
            True
        """
        try:
            content = only_object(text or "")
        except ValueError:
            return None
        further = {name: content.pop(name) for name in _FURTHER if name in content}
        if set(content) != {"measurement"} or not all(isinstance(value, dict) for value in further.values()):
            return None
        inner: Any = content["measurement"]
        if not isinstance(inner, dict) or set(inner) != {"metric", "value", "lower_better"}:
            return None
        value = inner["value"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return cls(str(inner["metric"]), float(value), bool(inner["lower_better"]), **further)
