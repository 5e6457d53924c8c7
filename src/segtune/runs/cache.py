"""What a run keeps of its images on disk: of which part of the encoder, how many views, and whether they fit."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segtune.core.errors import ResourceError, UsageError
from segtune.core.files import read_json
from segtune.core.progress import SILENT, Progress
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.family import PromptableModel
from segtune.models.prefix import FrozenPrefix, frozen_prefix
from segtune.runs.folder import RunFolder
from segtune.runs.settings import CacheSettings
from segtune.training.processes import Processes

_GIB: Final = 1 << 30

_SPARE_BYTES: Final = _GIB
"""Of the disk's free space left to checkpoints, the result and other programs."""


@dataclass(frozen=True)
class CachePlan:
    """What is kept.

    Attributes:
        cache: where, and of which part of the encoder.
        views: of each training image.
    """

    cache: EmbeddingCache
    views: int


def plan_cache(
    settings: CacheSettings,
    model: PromptableModel,
    folder: RunFolder,
    processes: Processes,
    *,
    images: int,
    others: int,
    begun: bool,
    progress: Progress = SILENT,
) -> CachePlan | None:
    """Decide what is kept of the images, and write it into the run's record.

    Of a frozen image encoder it is the embeddings, as many views as there is room for. Where late layers train it is
    what comes in front of them, and only with room for all the views asked for: without the cache every epoch would
    see fresh ones, and time is not bought with fewer.

    Args:
        settings: folder, limit and views.
        model: frozen as the run wants it.
        folder: of the run.
        processes: the first one decides for all.
        images: how many images train.
        others: further images of one view each, as those of the validation.
        begun: training has begun before: then it goes on as it was, whatever room there is now.
        progress: hears what is kept, how large it is and where.

    Returns:
        None where every image is encoded anew.

    Raises:
        UsageError: the limit has no room for one view of each image with a frozen encoder.
        ResourceError: the disk has none.
    """
    if begun:
        plan = _planned(settings, model, folder)
        if plan is not None and processes.is_first:
            progress.say(tell_views(plan.cache, images, plan.views, settings.views))
        return plan
    prefix = frozen_prefix(model)
    if prefix is None or (prefix.stages is not None and not settings.prefix):
        return None
    cache = open_cache(settings, model, prefix)
    if prefix.stages is None:
        views = affordable_views(cache, images, settings.views, others=others, limit=_limit_bytes(settings))
    else:
        views = settings.views if _room(cache, images, others) >= settings.views else 0
    # Disks fill meanwhile, and all processes must see the same views.
    views = processes.share(views)
    if processes.is_first:
        progress.say(tell_views(cache, images, views, settings.views))
        kept = {"views": views, "asked": settings.views, "stages": prefix.stages}
        size = {"bytes_per_view": cache.bytes_per_view, "bytes": views * images * cache.bytes_per_view}
        folder.write_record(cache=kept | size)
    return CachePlan(cache, views) if views else None


def recorded_cache(settings: CacheSettings, model: PromptableModel, folder: RunFolder) -> EmbeddingCache | None:
    """Return the cache a run trained from, for scoring a model alike in what it holds; None where it had none."""
    plan = _planned(settings, model, folder)
    return None if plan is None else plan.cache


def open_cache(settings: CacheSettings, model: PromptableModel, prefix: FrozenPrefix) -> EmbeddingCache:
    """Open the cache of what `prefix` of a model makes, limited by the settings and by what the disk has free."""
    place = Path(settings.folder).expanduser()
    cache = EmbeddingCache.for_model(model, place, limit_bytes=_limit_bytes(settings), prefix=prefix)
    there = next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())
    # Entries in the folder make room for new ones, so they count as free.
    free = max(0, shutil.disk_usage(there).free - _SPARE_BYTES) + cache.size_bytes
    cache.limit_bytes = min(cache.limit_bytes, free)
    return cache


def affordable_views(cache: EmbeddingCache, images: int, asked: int, *, others: int = 0, limit: int = 0) -> int:
    """Return how many views of each image the cache has room for, at most as many as asked for.

    Args:
        cache: with its limit.
        images: how many images train.
        asked: views of each.
        others: further images of one view, as those of the validation.
        limit: in bytes as the settings have it, where the cache's own is less for want of disk.

    Raises:
        UsageError: the settings have no room for a single one.
        ResourceError: the disk has none.
    """
    if room := _room(cache, images, others):
        return min(room, asked)
    needed = images * cache.bytes_per_view / _GIB
    what = f"One embedding of each of the {images} training images takes {needed:.1f} GiB"
    if limit > cache.limit_bytes:
        raise ResourceError(
            f"{what}, but the disk of {cache.folder} has room for {cache.limit_bytes / _GIB:.1f} GiB alone. Free some "
            "of it, or name a folder on another disk: --set cache.folder=FOLDER."
        )
    raise UsageError(
        f"{what}, above the cache limit of {cache.limit_bytes / _GIB:.1f} GiB. Raise it: "
        f"--set cache.limit_gib={math.ceil(needed * 11) / 10:g}."
    )


def tell_views(cache: EmbeddingCache, images: int, views: int, asked: int) -> str:
    """Return in words what is kept, how large it is, and where; or that there is no room for it (no views)."""
    size = (views or asked) * images * cache.bytes_per_view / _GIB
    limit = cache.limit_bytes / _GIB
    what = "Embeddings" if cache.prefix.stages is None else "Activations in front of the layers that train"
    text = f"{what}: {views or asked} view{'s' if (views or asked) > 1 else ''} of each of {images} images take "
    text += f"{size:.2f} GiB"
    if not views:
        return (
            f"{text}, above the {limit:.1f} GiB that limit and disk leave, so every image is encoded anew each time. "
            "Raise cache.limit_gib or lower cache.views to keep them."
        )
    text += f" in {cache.folder} (in use {cache.size_bytes / _GIB:.2f} of {limit:.1f} GiB)"
    return f"{text}; {asked} were asked for, for which the limit has no room." if views < asked else f"{text}."


def _planned(settings: CacheSettings, model: PromptableModel, folder: RunFolder) -> CachePlan | None:
    kept: dict[str, Any] | None = read_json(folder.record).get("cache") if folder.record.is_file() else None
    if not kept or not kept["views"]:
        return None
    # Runs from before there were prefixes kept embeddings alone.
    return CachePlan(open_cache(settings, model, FrozenPrefix(kept.get("stages"))), kept["views"])


def _limit_bytes(settings: CacheSettings) -> int:
    return int(settings.limit_gib * _GIB)


def _room(cache: EmbeddingCache, images: int, others: int) -> int:
    """Return how many views of each of `images` there is room for."""
    entries = cache.limit_bytes // cache.bytes_per_view
    # One view of every training image comes first, even where the validation's then find no room.
    return max((entries - others) // max(1, images), min(1, entries // max(1, images)))
