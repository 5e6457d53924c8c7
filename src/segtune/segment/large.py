"""Images of any size among many: each read by window, everything mode in tiles, prompts zoomed on their objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from segtune.core.errors import SegtuneError
from segtune.data.formats.regions import OBJECT
from segtune.data.images import UNLIMITED
from segtune.data.reading import Reading
from segtune.data.window_files import open_windows
from segtune.data.windows import Windows
from segtune.models.family import PromptableModel
from segtune.segment.everything import EverythingSettings
from segtune.segment.inputs import InputImage
from segtune.segment.outputs import Failed, Found, Result
from segtune.segment.stopping import StoppedError
from segtune.segment.tiles import TileSettings, segment_everything_tiled
from segtune.segment.wishes import Wishes
from segtune.segment.zoom import ZoomSettings, segment_all_zoomed


def segment_large(
    model: PromptableModel,
    images: Sequence[InputImage],
    wishes: Wishes,
    everything: EverythingSettings | None,
    settings: TileSettings,
    *,
    reading: Reading,
    batch: int,
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[list[Result | Failed]]:
    """Yield what comes of one image after another; an image in the midst of which somebody asks to stop gives nothing.

    Args:
        model: any promptable model.
        images: to segment.
        wishes: what is asked of each.
        everything: find all masks instead, with these settings in each tile.
        settings: of the tiles; their side is also that of the window around clicks that is looked at first.
        reading: how image files are read.
        batch: windows around objects that are encoded at once.
        stop: asked after each tile and each prompt.
        note: hears how far an image has come.
    """

    def told(done: int, total: int, what: str) -> None:
        note(f"{what} {done} of {total}")
        # An image that is finished is not thrown away.
        if done < total and stop():
            raise StoppedError

    for image in images:
        try:
            image.check()
            with open_windows(image.path, reading) as windows:
                if everything is None:
                    found = _prompted(model, windows, image, wishes, settings, batch, told)
                else:
                    masks = segment_everything_tiled(
                        model, windows, settings, everything, on_tile=lambda done, total: told(done, total, "tile")
                    )
                    found = [Found(mask.mask, OBJECT, mask.told_quality(model)) for mask in masks]
                yield [Result(image.name, image.stem, windows.size, tuple(found))]
        except StoppedError:
            yield []
        except SegtuneError as error:
            yield [Failed(image.name, str(error))]


def _prompted(
    model: PromptableModel,
    windows: Windows,
    image: InputImage,
    wishes: Wishes,
    settings: TileSettings,
    batch: int,
    told: Callable[[int, int, str], None],
) -> list[Found]:
    asked = wishes.of(image)
    # One after another: a mask prompt is as large as the image.
    prompts = (wish.prompt(windows.size, wishes.folder, UNLIMITED) for wish in asked)
    masks = segment_all_zoomed(model, windows, prompts, ZoomSettings(first=settings.side), batch=batch)
    found = []
    for number, (wish, mask) in enumerate(zip(asked, masks, strict=True), 1):
        found.append(Found(mask.mask, wish.label, mask.quality))
        told(number, len(asked), "prompt")
    return found
