"""Whether two fingerprints show the same scene: quick candidates for all pairs, then a careful look at each.

Candidates: a fingerprint is compared with windows of every other one (whole, and 84 % and 70 % of each axis at several
places) by the correlation of their 8 × 8 lowest cosine waves, whitened by what is usual in the data. Whitening matters
in medicine, where all frames share the scope's dark rim.
A glance at half the size, without what is smooth, drops most of them.
Confirmation: one is brought onto the other (affine, by maximising their correlation, Evangelidis & Psarakis 2008), then
what counts is the mean local correlation where there is texture. A picture of something else that is merely alike
in its large areas fails there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from segtune.data.fingerprints import SIDE, Fingerprint
from segtune.data.picture_file import PictureFile

Floats = npt.NDArray[np.float32]
Pictures = PictureFile | npt.NDArray[np.uint8]

SAME_SCENE = 0.75
"""Local correlation from which on two pictures show the same scene. Frames of one endoscopy seconds apart reach .72,
neighbours on a production line .73, true pairs of a crop .75 to .99."""

_WAVES = 8
_WINDOWS = ((1.0, 1), (0.84, 3), (0.70, 4))
"""Share of an axis that a window spans, and at how many places."""

_CANDIDATE = 0.5
_MOST_CANDIDATES = 6
"""Candidates looked at per fingerprint, the likeliest: bounds the work on video, where everything is alike."""

_BLOCK = 256
_WINDOWS_OF = 64
"""Fingerprints in memory at a time, and those whose windows are: 16 KB each, several times that while they are made."""

_USUAL = 50.0
"""Weight, in images, of what is usual anywhere against what is usual in the data."""

_WORTH_ALIGNING = 0.42
_SHIFT = 4
"""A glance allows for shifts of so many pixels of 32."""

_NOISE = 1.5**2
"""Variance, in grey levels, that counts as noise."""
_TEXTURE = 3.0**2
_DARK = 14
_LEAST_TEXTURE = 80
"""Fewest textured pixels of 4,096 that can confirm anything."""
_SPREAD = 2.0
_LEAST_OVERLAP = 0.4
_MOST_TURN = 0.12
"""Largest off-diagonal of the warp: a turn or a shear that crops and exports do not make."""
_SCALES = (0.45, 2.2)
_EVERYWHERE = np.ones((SIDE, SIDE), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair that may be alike.

    Attributes:
        row: in the first set.
        column: in the second set, seen through a window.
        window: (top, left, height, width) of it as shares of the whole.
        flipped: the window lies in the first's fingerprint instead.
    """

    row: int
    column: int
    window: tuple[float, float, float, float]
    flipped: bool = False


def candidates(first: Pictures, second: Pictures | None = None) -> Iterator[Candidate]:
    """Yield the pairs of fingerprints worth a careful look, in bounded memory.

    Args:
        first: uint8 [N, 64, 64].
        second: uint8 [M, 64, 64], or None for pairs within `first`, each then in one order or both.
    """
    if not len(first) or (second is not None and not len(second)):
        return
    waves = _Waves.usual(first) if second is None else _Waves.usual(first, second)
    if second is None:
        for row, column, window in _likely(waves, first, first, within=True):
            yield Candidate(row, column, window)
        return
    for row, column, window in _likely(waves, first, second):
        yield Candidate(row, column, window)
    for row, column, window in _likely(waves, second, first):
        yield Candidate(column, row, window, flipped=True)


def likeness(first: Fingerprint, second: Fingerprint, window: tuple[float, float, float, float] | None = None) -> float:
    """Return how much two fingerprints show the same scene, -1 to 1; -1 where they cannot be brought together.

    Args:
        first: uint8 [64, 64].
        second: uint8 [64, 64].
        window: (top, left, height, width) of `second`, in shares, where `first` is looked for; the whole without it.
    """
    fixed, moving = first.astype(np.float32), second.astype(np.float32)
    warp = _start(window or (0.0, 0.0, 1.0, 1.0))
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    roughly = np.asarray(cv2.warpAffine(moving, warp, (SIDE, SIDE), flags=how), dtype=np.float32)
    if _glance(fixed, roughly) < _WORTH_ALIGNING:
        return -1.0
    try:
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
        # 5: the Gaussian by which OpenCV smooths both pictures before it aligns them.
        _, found = cv2.findTransformECC(fixed, moving, warp, cv2.MOTION_AFFINE, stop, _EVERYWHERE, 5)
        warp = np.asarray(found, dtype=np.float32)
    except cv2.error:  # it does not converge, which is an answer
        return -1.0
    if not _plausible(warp):
        return -1.0
    brought = np.asarray(cv2.warpAffine(moving, warp, (SIDE, SIDE), flags=how), dtype=np.float32)
    # Below 1 the warp has mixed in what lies beyond the picture.
    inside = cv2.warpAffine(np.ones_like(moving), warp, (SIDE, SIDE), flags=how) > 0.99
    if inside.mean() < _LEAST_OVERLAP:
        return -1.0
    return local_correlation(fixed, brought, inside)


def _glance(fixed: Floats, roughly: Floats) -> float:
    """Return the highest correlation of the details of two pictures over small shifts, at half the size."""
    half = SIDE // 2
    details = [picture - cv2.GaussianBlur(picture, (0, 0), 3) for picture in (
        cv2.resize(fixed, (half, half), interpolation=cv2.INTER_AREA),
        cv2.resize(roughly, (half, half), interpolation=cv2.INTER_AREA),
    )]  # fmt: skip
    inner = np.ascontiguousarray(details[0][_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    return float(cv2.matchTemplate(details[1], inner, cv2.TM_CCOEFF_NORMED).max())  # of [9, 9] shifts


def local_correlation(first: Floats, second: Floats, inside: npt.NDArray[np.bool_]) -> float:
    """Return the mean local correlation of two pictures [H, W] where they have texture; -1 where there is too little.

    Pixels dark in both are left out: the rim of a scope and black bars are the same on all images.
    """
    lit = (first > _DARK) | (second > _DARK)
    counted = (inside & lit).astype(np.float32)
    # Means over the counted pixels alone: each blur is divided by that of the counts.
    weight = np.maximum(_blur(counted), 1e-6)
    mean_1, mean_2 = _blur(first * counted) / weight, _blur(second * counted) / weight
    # A difference of near equals may round to less than 0.
    variance_1 = np.maximum(_blur(first * first * counted) / weight - mean_1**2, 0)
    variance_2 = np.maximum(_blur(second * second * counted) / weight - mean_2**2, 0)
    covariance = _blur(first * second * counted) / weight - mean_1 * mean_2
    # Texture in either counts: where only one has it, they differ.
    textured = (counted > 0) & (np.maximum(variance_1, variance_2) > _TEXTURE)
    if textured.sum() < _LEAST_TEXTURE:
        return -1.0
    correlation = covariance / np.sqrt((variance_1 + _NOISE) * (variance_2 + _NOISE))
    return float(correlation[textured].mean())


def _start(window: tuple[float, float, float, float]) -> Floats:
    top, left, height, width = window
    # Pixel centres lie at + 0.5, in both pictures.
    across, down = left * SIDE + 0.5 * width - 0.5, top * SIDE + 0.5 * height - 0.5
    return np.array([[width, 0, across], [0, height, down]], dtype=np.float32)


def _plausible(warp: Floats) -> bool:
    turned = max(abs(float(warp[0, 1])), abs(float(warp[1, 0]))) > _MOST_TURN
    low, high = _SCALES
    return not turned and all(low < float(scale) < high for scale in (warp[0, 0], warp[1, 1]))


def _blur(picture: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), _SPREAD), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Waves:
    """Fingerprints, or windows of them, as unit vectors [N, 63] of their lowest cosine waves, whitened."""

    mean: Floats
    deviation: Floats

    @classmethod
    def usual(cls, *sets: Pictures) -> _Waves:
        """Learn what is usual from fingerprints [N, 64, 64]; few of them are trusted little."""
        plain = cls(np.zeros(1, np.float32), np.ones(1, np.float32))
        blocks = (block for one in sets for _, block in _blocks(one, step=_step(one)))
        raw = np.concatenate([plain.raw(block, _spans()[:1])[:, 0, 0] for block in blocks])
        raw = raw[:: _step(raw)]
        trust = len(raw) / (len(raw) + _USUAL)
        mean = (raw.mean(axis=0) * trust).astype(np.float32)
        variance = trust * np.square(raw - mean).mean(axis=0) + (1 - trust) * _falling()
        return cls(mean, np.sqrt(variance + 1e-6).astype(np.float32))

    def raw(self, pictures: npt.NDArray[np.uint8], spans: list[tuple[float, float]]) -> Floats:
        """Return [N, S, S, 63]: the waves of each window of `spans` down × `spans` across."""
        reduce = np.concatenate([_reduction(start, length) for start, length in spans])  # [S * 8, 64]
        count = len(spans)
        small = reduce @ pictures.astype(np.float32) @ reduce.T  # [N, S * 8, S * 8]
        windows = small.reshape(-1, count, _WAVES, count, _WAVES).transpose(0, 1, 3, 2, 4)  # [N, S, S, 8, 8]
        windows = windows - windows.mean(axis=(3, 4), keepdims=True)
        windows = windows / np.maximum(windows.std(axis=(3, 4), keepdims=True), 1.0)
        # Without the flag the transform is of both axes, which leaves the unit matrix as it is.
        basis = cv2.dct(np.eye(_WAVES, dtype=np.float32), flags=cv2.DCT_ROWS).T  # [wave, cell]
        waves = basis @ windows @ basis.T  # [N, S, S, 8, 8]
        return np.asarray(waves.reshape(*waves.shape[:3], -1)[..., 1:], dtype=np.float32)

    def __call__(self, pictures: npt.NDArray[np.uint8], spans: list[tuple[float, float]]) -> Floats:
        """Return [N, S, S, 63], whitened and of unit length."""
        white = (self.raw(pictures, spans) - self.mean) / self.deviation  # [N, S, S, 63]
        return np.asarray(white / np.maximum(np.linalg.norm(white, axis=-1, keepdims=True), 1e-6), dtype=np.float32)


def _likely(
    waves: _Waves, first: Pictures, second: Pictures, *, within: bool = False
) -> Iterator[tuple[int, int, tuple[float, float, float, float]]]:
    spans = _spans()
    places = [(top, left, height, width) for (top, height), (left, width) in product(spans, spans)]
    whole = np.concatenate([waves(block, spans[:1])[:, 0, 0] for _, block in _blocks(first)])  # [N, 63]
    for offset, block in _blocks(second, _WINDOWS_OF):
        windows = waves(block, spans).reshape(len(block), len(places), -1)  # [M, S * S, 63]
        rows, columns, which = _hits(whole, windows, offset if within else None)
        for row, column, place in zip(rows.tolist(), columns.tolist(), which.tolist(), strict=True):
            yield row, offset + column, places[place]


def _hits(whole: Floats, windows: Floats, own: int | None) -> tuple[npt.NDArray[np.intp], ...]:
    """Return rows, columns and windows of the likeliest pairs, at most a few per column.

    Args:
        whole: [N, 63], the waves of whole pictures.
        windows: [M, S * S, 63], of the windows of others.
        own: row of the first of the others where they are among the N, or None.
    """
    tiles = []
    for start in range(0, len(whole), _BLOCK):
        best, which = _best_window(whole[start : start + _BLOCK], windows)  # [n, M] each
        if own is not None:
            # A picture is no candidate for itself.
            itself = np.arange(best.shape[1]) + own - start
            among = (itself >= 0) & (itself < len(best))
            best[itself[among], among] = -1
        tiles.append(_likeliest(best, which, start))
    scores, rows, places = (np.concatenate(part) for part in zip(*tiles, strict=True))
    kept = np.argsort(-scores, axis=0, kind="stable")[:_MOST_CANDIDATES]
    order, columns = np.nonzero(np.take_along_axis(scores, kept, axis=0) > _CANDIDATE)
    chosen = kept[order, columns]
    return rows[chosen, columns], columns, places[chosen, columns]


def _best_window(block: Floats, windows: Floats) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Return the highest score of each pair [n, M] and the window that has it."""
    best = np.full((len(block), len(windows)), -1, dtype=np.float32)
    # There are 64 windows, which a byte holds.
    which = np.zeros(best.shape, dtype=np.uint8)
    # Window by window: all at once would take 64 times the memory.
    for place in range(windows.shape[1]):
        scores = block @ windows[:, place].T  # [n, M]
        better = scores > best
        np.copyto(best, scores, where=better)
        np.copyto(which, place, where=better)
    return best, which


def _likeliest(
    best: Floats, which: npt.NDArray[np.uint8], start: int
) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return scores, rows and windows of the few best of each column, [k, M] each."""
    count = min(_MOST_CANDIDATES, len(best))
    top = np.argpartition(-best, count - 1, axis=0)[:count]
    return np.take_along_axis(best, top, axis=0), top + start, np.take_along_axis(which, top, axis=0)


def _spans() -> list[tuple[float, float]]:
    """Return (start, length) of the windows along one axis, the whole first."""
    return [(float(start), length) for length, places in _WINDOWS for start in np.linspace(0, 1 - length, places)]


def _reduction(start: float, length: float) -> Floats:
    """Return float32 [8, 64]: each row averages the pixels under one eighth of a window, shares of pixels counted."""
    edges = (start + length * np.linspace(0, 1, _WAVES + 1)) * SIDE  # [9]
    pixels = np.arange(SIDE)
    covered = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])  # [8, 64]
    return np.asarray(np.clip(covered, 0, None) / (edges[1] - edges[0]), dtype=np.float32)


def _falling() -> Floats:
    """Variance of the waves of pictures in general: it falls with the square of the frequency."""
    down, across = np.mgrid[:_WAVES, :_WAVES]
    falling = 1.0 / np.maximum(down**2 + across**2, 1)
    falling = falling.reshape(-1)[1:]
    return np.asarray(falling / falling.sum() * _WAVES**2, dtype=np.float32)


def _step(rows: Pictures | Floats) -> int:
    """Return the step that leaves at most 2,048 rows: enough to learn what is usual."""
    return max(1, -(-len(rows) // 2048))


def _blocks(pictures: Pictures, size: int = _BLOCK, *, step: int = 1) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    for offset in range(0, len(pictures), size * step):
        yield offset, pictures[offset : offset + size * step : step]
