"""The reply of a model that computes an image quality metric, which has a unit of its own and no level words."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from artquant_plugin.common.json_text import only_object


@dataclass(frozen=True, slots=True)
class Measurement:
    """The value of an image quality metric for one image.

    Args:
        metric: the name of the metric, as pyiqa calls it ("piqe").
        value: the value in the metric's own unit and range; finite.
        lower_better: whether a lower value means a better image.
    """

    metric: str
    value: float
    lower_better: bool

    @property
    def prediction(self) -> float:
        """The value, with its sign turned where lower is better, so that correlations have the usual sign."""
        return -self.value if self.lower_better else self.value

    def to_reply(self) -> str:
        """The measurement as JSON: ``{"measurement": {"metric": "piqe", "value": 31.2, "lower_better": true}}``."""
        return json.dumps({"measurement": asdict(self)})

    @classmethod
    def from_reply(cls, text: str | None) -> "Measurement | None":
        """The measurement that `to_reply` wrote.

        Args:
            text: a reply; None where there is none.

        Returns:
            None for any other text, also for one that holds more than a measurement, and for a value that is not
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
        if set(content) != {"measurement"}:
            return None
        inner: Any = content["measurement"]
        if not isinstance(inner, dict) or set(inner) != {"metric", "value", "lower_better"}:
            return None
        value = inner["value"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return cls(str(inner["metric"]), float(value), bool(inner["lower_better"]))
