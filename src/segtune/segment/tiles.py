"""Everything mode on images of any size: tile by tile, objects cut by a seam made whole, in bounded memory.

Tiles overlap, and each is segmented like an image. What two tiles made of the part that both see tells which masks are
the same object (`segment.seams`). Of the image only the tile at hand is held, of each mask only its run lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from segtune.core.errors import UsageError
from segtune.data.windows import Windows
from segtune.models.family import PromptableModel
from segtune.segment.everything import AutomaticMask, EverythingSettings, segment_everything, settings_for
from segtune.segment.grid import Crop
from segtune.segment.seams import Seams

_SMALLEST_SIDE = 16


@dataclass(frozen=True)
class TileSettings:
    """How a large image is cut into tiles and its masks are joined.

    Attributes:
        side: of a tile, in pixels of the image.
        overlap: what neighbouring tiles share at least, as a share of the side. Objects smaller than that are whole in
            some tile; larger ones are joined from pieces.
        agreement: IoU, in the part that two tiles share, from which on their masks are of one object.

    Raises:
        UsageError: a value out of its range.
    """

    side: int = 1024
    overlap: float = 0.25
    agreement: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.side, bool) or not isinstance(self.side, int) or self.side < _SMALLEST_SIDE:
            raise UsageError(
                f"A tile's side must be a whole number of {_SMALLEST_SIDE} pixels or more, but is {self.side!r}. "
                "Choose a larger one; 1024 suits most images."
            )
        if not 0 < self.overlap <= 0.5:
            raise UsageError(
                f"Tiles must overlap by a share of their side above 0 and up to 0.5, but overlap={self.overlap!r} was "
                "given. Without an overlap nothing tells which masks belong together; 0.25 suits most images."
            )
        if not 0 < self.agreement <= 1:
            raise UsageError(
                f"agreement is an IoU above 0 and up to 1, but is {self.agreement!r}. Lower joins more, 0.5 suits most "
                "images."
            )


def cut_tiles(size: tuple[int, int], settings: TileSettings) -> tuple[Crop, ...]:
    """Return tiles that cover an image of `size` (height, width), row by row.

    All are of the same size, spread evenly, and neighbours share at least the overlap asked for. An image that is no
    larger than a tile is one tile.
    """
    down, across = (_starts(length, settings) for length in size)
    height, width = (min(length, settings.side) for length in size)
    return tuple(Crop(0, (x, y, x + width, y + height)) for y in down for x in across)


def segment_everything_tiled(
    model: PromptableModel,
    windows: Windows,
    settings: TileSettings | None = None,
    everything: EverythingSettings | None = None,
    *,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[AutomaticMask, ...]:
    """Return the masks of an image of any size that grids of clicks find, by predicted IoU, the highest first.

    An object that several tiles saw comes once: as the tile saw it that saw it whole, else as all its pieces together,
    but for what a tile alone says of a place at its edge that another sees well. Predicted IoU and stability are then
    means weighted by area. `crop_box` spans the tiles it comes from. A mask cut off by its tile that lies in full view
    of another, which found nothing of the kind, is dropped.

    Args:
        model: any model that understands clicks.
        windows: the image.
        settings: of the tiles.
        everything: of everything mode in each tile; `min_mask_area` and `max_mask_share` are of the whole image.
            Without it as for `segment_everything`.
        on_tile: hears after each tile how many are done, and of how many.

    Raises:
        ModelError: the model does not understand clicks.
        UnreadableError: the image's file is damaged.
    """
    settings, everything = settings or TileSettings(), everything or settings_for(model)
    # A piece may be small and its object large, or fill its tile and yet be a small part of the image.
    of_tile = replace(everything, min_mask_area=0, max_mask_share=1.0)
    tiles = cut_tiles(windows.size, settings)
    seams = Seams(windows.size, settings.agreement)
    for number, tile in enumerate(tiles, 1):
        seams.add(tile, segment_everything(model, windows.read(tile.rows, tile.columns), of_tile))
        on_tile(number, len(tiles))
    largest = everything.max_mask_share * windows.size[0] * windows.size[1]
    return tuple(
        one
        for one in seams.joined(doubles=everything.crop_nms_thresh)
        if everything.min_mask_area <= one.area <= largest
    )


def _starts(length: int, settings: TileSettings) -> list[int]:
    """Return where tiles begin along an axis."""
    side = settings.side
    if length <= side:
        return [0]
    shared = math.ceil(side * settings.overlap)
    count = math.ceil((length - shared) / (side - shared))
    return [round(number * (length - side) / (count - 1)) for number in range(count)]
