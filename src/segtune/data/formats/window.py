"""Which values of a medical image are shown as black and as white."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Window = tuple[float, float]
"""Centre and width, in the image's own values (Hounsfield units in CT)."""


def show_window(values: npt.NDArray[np.generic], window: Window) -> npt.NDArray[np.uint8]:
    """Bring values to uint8: linear inside the window, cut off outside (DICOM PS3.3, C.11.2.1.2.1); NaN becomes 0."""
    centre, width = window
    real = np.asarray(values, dtype=np.float32)
    shown = ((real - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5) * 255
    return np.asarray(np.nan_to_num(np.clip(np.rint(shown), 0, 255), copy=False), dtype=np.uint8)


def window_of(values: npt.NDArray[np.generic], low: float = 0.5, high: float = 99.5) -> Window:
    """Return the window between two percentiles of the finite values, for an image that names none."""
    real = np.asarray(values, dtype=np.float32)
    real = real[np.isfinite(real)]
    if not real.size:
        return 0.5, 1.0
    first, last = (float(value) for value in np.percentile(real, (low, high)))
    return (first + last + 1) / 2, last - first + 1
