"""The reply of a model that measures instead of answering: a number in a unit of its own."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from artquant_plugin.common.json_text import only_object


@dataclass(frozen=True, slots=True)
class Measurement:
    """One image's value of an image quality metric.

    Args:
        metric: its name.
        value: in the metric's own unit and range, finite.
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
        """As JSON text: ``{"measurement": {"metric": "piqe", "value": 31.2, "lower_better": true}}``."""
        return json.dumps({"measurement": asdict(self)})

    @classmethod
    def from_reply(cls, text: str | None) -> "Measurement | None":
        """What `to_reply` wrote and nothing else; None for any other text.

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
