"""Pictures that are arrays of numbers: which axis holds the channels, and what the numbers mean."""

from typing import Any

import numpy as np
from PIL import Image

from artquant_plugin.common.text import one_line
from artquant_plugin.data.picture_files import ImageError

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def array_picture(array: np.ndarray) -> Image.Image:
    """A picture of an array's numbers.

    Args:
        array: one picture, of uint8 values from 0 to 255, or of floating-point values from 0 to 1. Its shape is
            (height, width) for grey, (height, width, channels) or (channels, height, width); the channels are 1 for
            grey, 3 for RGB in sRGB, 4 for RGBA, whose last channel is the opacity. Of the first and the last axis,
            the one that is 1, 3 or 4 long holds the channels. A floating-point value is rounded to the nearest of the
            256 steps; one that lies outside of [0, 1] by less than half a step counts as 0 or 1.

    Returns:
        A picture of the mode L, RGB or RGBA.

    Raises:
        ImageError: the array is empty; it has another shape, or both axes could hold the channels; its numbers are of
            another type, not finite, or outside of the range.

    Example:
        >>> array_picture(np.zeros((3, 20, 10), np.uint8)).size
        (10, 20)
    """
    name = array_name(array)
    if not array.size:
        raise ImageError(f"{name} is empty; leave it out", "broken")
    return Image.fromarray(np.ascontiguousarray(_channels_last(_bytes(array, name), name)))


def array_name(array: np.ndarray) -> str:
    """What messages call an array: ``the array of 3 x 20 x 10 uint8``."""
    return f"the array of {' x '.join(map(str, array.shape)) or 'no axis'} {array.dtype}"


def _bytes(array: np.ndarray, name: str) -> np.ndarray:
    """The same numbers as uint8, 0 to 255."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        remedy = "convert it with .astype('uint8') if its values are 0 to 255"
        raise ImageError(f"{name} is neither uint8 (0 to 255) nor floating-point (0 to 1); {remedy}", "broken")
    if not np.isfinite(array).all():
        raise ImageError(f"{name} holds NaN or infinite values; find out which step made them", "broken")
    steps = np.rint(array.astype(np.float64) * 255)
    low, high = float(array.min()), float(array.max())
    if steps.min() < 0 or steps.max() > 255:
        remedy = "divide it by 255" if low >= 0 and 1 < high <= 255 else "undo its normalisation"
        raise ImageError(f"{name} has values from {low:g} to {high:g}, outside of [0, 1]; {remedy}", "broken")
    return steps.astype(np.uint8)


def _channels_last(array: np.ndarray, name: str) -> np.ndarray:
    """The same picture with the shape (height, width), (height, width, 3) or (height, width, 4)."""
    if array.ndim == 2:
        return array
    shapes = "(height, width), (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels"
    if array.ndim != 3:
        raise ImageError(f"{name} is not one picture, {shapes}; a batch of 4 axes stands alone, in no list", "broken")
    first, last = array.shape[0] in CHANNELS, array.shape[-1] in CHANNELS
    if first and last:
        raise ImageError(
            f"{name} may have its channels first or last; pass a PIL image, as Image.fromarray makes it", "broken"
        )
    if not first and not last:
        raise ImageError(f"{name} is not one picture, {shapes}; transpose it, or give batches 4 axes", "broken")
    array = np.moveaxis(array, 0, -1) if first else array
    return array[..., 0] if array.shape[-1] == 1 else array


def picture_array(value: Any) -> np.ndarray:
    """The numbers of a torch tensor as an array of numpy.

    Args:
        value: a `torch.Tensor` on any device, with or without gradients. What numpy has no type for, such as bfloat16,
            becomes float32.

    Raises:
        ImageError: its numbers cannot be copied, as those of a tensor without data cannot.
    """
    try:
        tensor = value.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        name = f"the tensor of {' x '.join(map(str, value.shape))} {value.dtype}"
        raise ImageError(f"{name} cannot be copied ({one_line(error)}); pass an array of numpy", "broken") from error
