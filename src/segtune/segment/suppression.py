"""Non-maximum suppression: of boxes that overlap much the best one stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def without_doubles(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.int64]:
    """Return which masks stay, the best first: `suppress`, on tight boxes of masks as everything mode has them.

    Args:
        boxes: float32 [n, 4], x0, y0 and the column and row past the last.
        scores: float32 [n].
        threshold: IoU of boxes above which the lesser of two is a double.

    Returns:
        int64 [k], rows of `boxes`.
    """
    # As published: to the last row and column, not past them.
    return suppress(boxes - np.array([0, 0, 1, 1], dtype=np.float32), scores, threshold)


def suppress(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.int64]:
    """Return which boxes stay, the best first: each drops those below it whose IoU with it is above `threshold`.

    Equal scores keep their order. A box without area overlaps nothing.

    Args:
        boxes: float32 [n, 4], x0, y0, x1, y1.
        scores: float32 [n].
        threshold: IoU up to which two boxes may overlap.

    Returns:
        int64 [k], rows of `boxes`.
    """
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        corner = np.maximum(boxes[best, :2], boxes[rest, :2])
        sides = np.maximum(np.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner, 0)  # [r, 2]
        shared = sides[:, 0] * sides[:, 1]
        union = areas[best] + areas[rest] - shared
        # In float32, as torchvision divides: an IoU of exactly the threshold must fall on the same side.
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        order = rest[iou.astype(np.float64) <= threshold]
    return np.array(kept, dtype=np.int64)
