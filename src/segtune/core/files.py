"""Files that survive a crash: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from segtune.core.errors import ResourceError

RUN_SETTINGS: Final = "settings.yaml"
"""By this file a fit's folder is told from others."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def is_half_written(path: Path) -> bool:
    """Say whether a file is one that `replacing` left behind where its process was killed."""
    return re.fullmatch(r"\..+\.[0-9a-f]{12}\.tmp(\.[^.]*)?", path.name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, on failure removed.

    A reader sees the old file or the whole new one, never a part, whenever the process dies.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # The name keeps the suffix: some writers choose their format by it. Its random part keeps two writers of one
    # file apart.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        with storage_errors(path):
            # What the caller's own writing raises comes out of this yield, so it is turned into words here too.
            yield temporary
            # Before the rename, which may reach the disk ahead of the bytes and leave an empty file in its place.
            sync(temporary)
            temporary.replace(path)
            # The rename itself is an entry of the folder.
            sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's storage errors into a `ResourceError` that names `path` and the remedy."""
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number in _NO_ROOM:
            raise ResourceError(
                f"The disk is full while writing {path}. Nothing that was complete is lost: "
                "free some space and run the same command again."
            ) from error
        if number in _NOT_ALLOWED:
            raise ResourceError(
                f"{path} cannot be written ({os.strerror(number)}). Choose another folder or change its permissions."
            ) from error
        raise


def _system_error(error: Exception) -> int | None:
    """Return the operating system's number of an error; safetensors tells it in words only."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, durably and all at once."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, durably and all at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, durably. NaN and infinities are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return what JSON knows of nested values: mappings, lists and scalars, None for a figure that is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    # A scalar of numpy, which JSON does not know.
    if hasattr(value, "item"):
        value = value.item()
    # JSON has no NaN, though Python would write one.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: Path) -> Any:
    """Return the value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def hash_text(text: str) -> str:
    """Return the SHA-256 of `text`, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)  # enough for fsync, and all that a folder allows
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
