"""The lmms-eval model `pyiqa`: no-reference metrics of the pyiqa library as baselines."""

import inspect
import json
import math
from importlib import metadata
from typing import Any

import numpy as np
import torch
from lmms_eval.api.instance import Instance

from artquant_plugin import __version__
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.common.text import did_you_mean, one_line
from artquant_plugin.data.images import open_image
from artquant_plugin.harness.base import HarnessModel
from artquant_plugin.harness.plugin import PYIQA_ID, REQUEST, SCORE_REQUEST
from artquant_plugin.replies import Measurement

LICENCE = "PolyForm Noncommercial 1.0.0"  # the licence of pyiqa 0.1.16
# pyiqa lists these as no-reference metrics; the first four measure sets of images, and the last needs a caption.
NOT_OF_ONE_IMAGE = ("fid", "fid_dinov2", "sfid", "inception_score", "clipscore")


class PyIQA(HarnessModel):
    """Measures paintings with one metric, for tasks that ask for a score; it answers no questions.

    Images are measured one by one at their own size, because paintings differ in size and metrics depend on it.

    Args:
        metric: the name of a no-reference metric, as `pyiqa.list_models("NR")` lists it.
        task: ``quality`` or ``aesthetic``, for metrics that know both (qalign, qrealign); None for their default.
        batch_size: an argument that lmms-eval always passes; it must be 1.
        max_batch_size: an argument that lmms-eval always passes; it must be None.
        device: torch's name of a device, such as ``cuda:1`` or ``cpu``; None for the process's own GPU, or the CPU
            where there is none. On a Mac the CPU is used unless ``mps`` is named.

    Raises:
        ArtQuantError: pyiqa or the metric is missing, its weights cannot be fetched, or an argument does not suit it.
    """

    REQUIRED = "metric"
    MISSING = "metric; give metric=NAME, such as laion_aes"

    def __init__(
        self,
        metric: str,
        task: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        if str(batch_size) != "1" or max_batch_size is not None:
            raise ArtQuantError(f"batch size {batch_size}: model 'pyiqa' takes images one by one; leave it out")
        super().__init__(device)
        if self._device.type == "mps" and device != "mps":
            self._device = torch.device("cpu")  # many metrics compute in float64, which MPS lacks
        self.metric = _load(str(metric), self._device)
        if task is not None and "task_" not in inspect.signature(self.metric.net.forward).parameters:
            raise ArtQuantError(f"metric {metric!r} of pyiqa has one task only; leave task={task} out")
        self._options = {} if task is None else {"task_": task}
        self._name = metric if task is None else f"{metric}:{task}"

    @property
    def response_identity(self) -> str:
        """The versions of pyiqa, which decides on a metric's weights, and of ours, as it reads the images."""
        return f"{metadata.version('pyiqa')} {__version__}"

    def clean(self) -> None:
        """Free the metric's memory; lmms-eval calls this after the last request."""
        self.__dict__.pop("metric", None)
        super().clean()

    def answer(self, requests: list[Instance]) -> list[str]:
        """Measure the paintings of requests, in the order given.

        Args:
            requests: requests of tasks that ask for a score.

        Returns:
            One reply in JSON per request.

        Raises:
            ArtQuantError: a task asks for something else than a score.
        """
        for request in requests:
            if request.metadata.get(REQUEST) != SCORE_REQUEST:
                raise ArtQuantError(
                    f"model 'pyiqa' answers no questions, as task {request.task_name!r} asks them; use --tasks apdd, "
                    "baid, vaps, artquant_demo or the name of a dataset of your own"
                )
        replies = []
        with ProgressBar(self._name, "image", len(requests), show=self.rank == 0, in_files=True) as bar:
            for request in requests:
                replies.append(self._measure(request))
                bar.advance()
        return replies

    def _measure(self, request: Instance) -> str:
        """The reply to one request; for a painting that cannot be measured, a null score with the reason."""
        _, _, _, doc_id, task, split = request.args
        try:
            pixels = np.asarray(open_image(self.task_dict[task][split][doc_id]["image"]))
            image = torch.tensor(pixels, dtype=torch.float32, device=self._device).permute(2, 0, 1)[None] / 255
            value = self._value(image)
        except ArtQuantError as error:
            return json.dumps({"score": None, "reason": str(error)})
        return Measurement(self._name, value, bool(self.metric.lower_better)).to_reply()

    def _value(self, image: torch.Tensor) -> float:
        """The metric's value of an image of shape (1, 3, H, W) with pixels in [0, 1]; an error where it has none."""
        try:
            value = float(torch.as_tensor(self.metric(image, **self._options)).detach().reshape(-1).item())
        # Metrics raise different errors for an image that they cannot measure, most often one that is too small. A
        # TypeError is what float64 raises on MPS.
        except (RuntimeError, ValueError, AssertionError, IndexError, ArithmeticError, TypeError) as error:
            detail = one_line(error)
            raise ArtQuantError(
                f"{self._name} failed on {image.shape[3]} x {image.shape[2]} pixels: {detail}"
            ) from error
        if not math.isfinite(value):
            raise ArtQuantError(f"{self._name} gave {value}")
        return value

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered, because a metric has no likelihoods."""
        raise NotImplementedError("pyiqa measures images; it has no likelihoods")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered, because a metric answers no questions."""
        raise NotImplementedError("pyiqa measures images; it does not talk")


def _load(name: str, device: torch.device) -> Any:
    """Load a metric by its name.

    Raises:
        ArtQuantError: pyiqa is not installed, has no such no-reference metric, or cannot fetch its weights.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise ArtQuantError(
            f"model '{PYIQA_ID}' needs the package pyiqa ({error}), whose licence, {LICENCE}, allows no commercial "
            "use: pip install 'artquant-plugin[pyiqa]'"
        ) from error
    known = [metric for metric in pyiqa.list_models("NR") if metric not in NOT_OF_ONE_IMAGE]
    if name not in known:
        hint = did_you_mean(name, known) or 'see pyiqa.list_models("NR")'
        raise ArtQuantError(f"pyiqa has no no-reference metric {name!r}; {hint}")
    try:
        return pyiqa.create_metric(name, device=device)
    except ImportError as error:
        raise ArtQuantError(f"metric {name!r} of pyiqa needs another package ({error}); install it") from error
    except OSError as error:  # urllib's errors are subclasses of it
        detail = one_line(error)
        raise ArtQuantError(
            f"weights of metric {name!r} are not there and could not be fetched ({detail}); try again when connected"
        ) from error
