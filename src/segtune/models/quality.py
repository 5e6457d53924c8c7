"""From the quality that a model predicts to the IoU that its masks have: a monotone map of two numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from segtune.core.errors import ModelError

_EDGE = 1e-3
"""Predictions are held so far from 0 and 1, where the logit is infinite; a quality head may say 1.02."""


@dataclass(frozen=True)
class QualityMap:
    """The refitted quality, σ(scale · logit(predicted) + bias): never falling, so that no order among masks changes.

    A temperature with a bias on the logit (Platt 1999; Guo et al. 2017, section 4). Which of three masks is chosen, and
    the thresholds of everything mode, stay with what the model itself predicts; what is told to people goes through
    here.

    Attributes:
        scale: 0 or more; 0 says the same of every mask.
        bias: added after it.
    """

    scale: float
    bias: float

    def __call__(self, predicted: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the quality to tell, float64 in 0 to 1 of the same shape; what is no number stays none."""
        z = self.scale * logit(predicted) + self.bias
        result: npt.NDArray[np.float64] = 0.5 * (1 + np.tanh(z / 2))  # the sigmoid, without overflow
        return result

    def to_json(self) -> dict[str, float]:
        """Return it for segtune.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, float]) -> QualityMap:
        """Return the map that `to_json` described.

        Raises:
            ModelError: the entry is damaged.
        """
        try:
            found = cls(float(told["scale"]), float(told["bias"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The entry 'quality' of a model's segtune.json has a scale and a bias, but it is {told!r}. Run "
                "segtune calibrate again, or take the entry out."
            ) from error
        if not (found.scale >= 0 and np.isfinite([found.scale, found.bias]).all()):
            raise ModelError(
                f"The entry 'quality' of a model's segtune.json has a finite scale of 0 or more and a finite bias, but "
                f"it is {told!r}. Run segtune calibrate again, or take the entry out."
            )
        return found


def logit(quality: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ln(q / (1 − q)) of qualities, held off 0 and 1 first."""
    held = np.clip(np.asarray(quality, dtype=np.float64), _EDGE, 1 - _EDGE)
    result: npt.NDArray[np.float64] = np.log(held / (1 - held))
    return result


def tell_quality(quality_map: QualityMap | None, predicted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return what people are told of a predicted quality: the refitted one where there is a map, else just that."""
    return np.asarray(predicted, dtype=np.float64) if quality_map is None else quality_map(predicted)
