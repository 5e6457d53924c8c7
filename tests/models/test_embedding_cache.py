"""The embedding cache: found by content, checked, bounded, shared, and whole whenever a process dies."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segtune.core.errors import ResourceError
from segtune.models import embedding_cache as module
from segtune.models.embedding_cache import EmbeddingCache, bytes_per_view
from segtune.models.prefix import FrozenPrefix
from segtune.models.sam.model import Sam

ENTRY = 2 * 8 * 32 * 32 + 512


def open_cache(folder: Path, limit: int | None = None) -> EmbeddingCache:
    return EmbeddingCache(folder, "encoder", bytes_per_view=ENTRY, limit_bytes=limit)


def draw(seed: int) -> dict[str, torch.Tensor]:
    return {"features": torch.randn(8, 32, 32, generator=torch.Generator().manual_seed(seed))}


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def use_long_ago(path: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


def test_what_is_put_is_got(tmp_path: Path) -> None:
    """An entry comes back in half precision, the same as `put` returned; it lies in a folder of two digits."""
    cache = open_cache(tmp_path)
    key = cache.key("image", "view")
    assert cache.get(key) is None
    stored = cache.put(key, draw(0))
    read = cache.get(key)
    assert read is not None
    assert read["features"].dtype == torch.float16
    assert torch.equal(read["features"], stored["features"])
    torch.testing.assert_close(read["features"].float(), draw(0)["features"], rtol=1e-3, atol=1e-3)
    assert [path.relative_to(tmp_path).as_posix() for path in entries(tmp_path)] == [f"{key[:2]}/{key}.safetensors"]
    assert cache.size_bytes == entries(tmp_path)[0].stat().st_size


def test_keys_tell_apart_whatever_differs(tmp_path: Path) -> None:
    """Another image, view or encoder is another entry; parts do not run into each other."""
    cache = open_cache(tmp_path)
    other = EmbeddingCache(tmp_path, "encoder 2", bytes_per_view=ENTRY)
    keys = {cache.key("a"), cache.key("a", "b"), cache.key("ab"), cache.key("b", "a"), other.key("a")}
    assert len(keys) == 5
    assert cache.key("a") == open_cache(tmp_path / "elsewhere").key("a")


def test_several_maps(tmp_path: Path) -> None:
    """All maps of an image come back by name, each of its own shape."""
    cache = open_cache(tmp_path)
    stored = cache.put(cache.key("a"), draw(0) | {"fine": torch.randn(2, 8, 8)})
    read = cache.get(cache.key("a"))
    assert read is not None
    assert read.keys() == {"features", "fine"}
    assert all(torch.equal(read[name], value) for name, value in stored.items())


def test_numbers_too_large_for_half_precision_are_kept(tmp_path: Path) -> None:
    """A map that half precision would turn to infinity is stored whole."""
    cache = open_cache(tmp_path)
    maps = {"features": torch.tensor([1.0, 1e6])}
    assert torch.equal(cache.put("0" * 64, maps)["features"], maps["features"])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "rubbish", "no checksum"])
def test_a_damaged_entry_is_dropped_and_made_again(tmp_path: Path, damage: str) -> None:
    """Whatever happened to a file, it is not returned, it is removed, and the next `put` heals it."""
    cache = open_cache(tmp_path)
    key = cache.key("image")
    stored = cache.put(key, draw(0))
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-10]
    elif damage == "flip":
        content[-20] ^= 1
    elif damage == "empty":
        content = bytearray()
    elif damage == "rubbish":
        content = bytearray(b"x" * 2000)
    else:
        from safetensors.torch import save

        content = bytearray(save(load_file(path)))
    path.write_bytes(content)
    assert cache.get(key) is None
    assert not path.exists()
    cache.put(key, draw(0))
    healed = cache.get(key)
    assert healed is not None
    assert torch.equal(healed["features"], stored["features"])


def test_the_longest_unused_make_room(tmp_path: Path) -> None:
    """At the limit entries of earlier runs go, the one used the longest ago first; reading counts as use."""
    earlier = open_cache(tmp_path)
    keys = [earlier.key(str(number)) for number in range(4)]
    for hours, key in enumerate(keys):
        earlier.put(key, draw(0))
        use_long_ago(earlier._path(key), hours=10 - hours)
    cache = open_cache(tmp_path, limit=4 * ENTRY)
    assert cache.get(keys[0]) is not None
    cache.put(cache.key("new"), draw(1))
    there = [cache.get(key) is not None for key in [*keys, cache.key("new")]]
    assert there == [True, False, True, True, True]
    assert cache.size_bytes <= cache.limit_bytes


def test_a_run_never_evicts_what_it_uses(tmp_path: Path) -> None:
    """When all room is taken by entries of this run, new embeddings are not stored, and the old ones stay."""
    cache = open_cache(tmp_path, limit=3 * ENTRY)
    keys = [cache.key(str(number)) for number in range(6)]
    for _ in range(3):
        for key in keys:
            if cache.get(key) is None:
                assert cache.put(key, draw(0))["features"].dtype == torch.float16
    assert [cache.get(key) is not None for key in keys] == [True] * 3 + [False] * 3
    assert cache.size_bytes <= cache.limit_bytes


def test_a_put_of_what_is_there_writes_nothing(tmp_path: Path) -> None:
    """Two runs that encode the same view at once leave one entry."""
    cache = open_cache(tmp_path)
    cache.put(cache.key("a"), draw(0))
    (path,) = entries(tmp_path)
    before = path.stat().st_mtime_ns
    cache.put(cache.key("a"), draw(0))
    assert path.stat().st_mtime_ns == before


def test_stale_temporary_files_are_cleaned(sam: Sam, tmp_path: Path) -> None:
    """What a killed writer left is removed when the next run opens the cache; a live writer's file is not."""
    (tmp_path / "ab").mkdir()
    stale, fresh = (tmp_path / "ab" / f".{name}.0123456789ab.tmp.safetensors" for name in ("stale", "fresh"))
    stale.write_bytes(b"half")
    fresh.write_bytes(b"half")
    use_long_ago(stale, hours=1)
    cache = EmbeddingCache.for_model(sam, tmp_path)
    assert entries(tmp_path) == [fresh]
    assert cache.get("ab" + "0" * 62) is None


@pytest.mark.parametrize("stages", [None, 2])
def test_the_size_of_an_entry_is_known_before(sam: Sam, tmp_path: Path, stages: int | None) -> None:
    """A plan can be said before the start: bytes a view, of embeddings and of activations, found without running."""
    prefix = FrozenPrefix(stages)
    cache = EmbeddingCache.for_model(sam, tmp_path, prefix=prefix)
    with torch.no_grad():
        made = prefix.encode(sam, torch.zeros(1, 3, sam.side, sam.side), (sam.frame((64, 64)),))
    cache.put(cache.key("a"), {name: value[0] for name, value in made.items()})
    assert 0 <= bytes_per_view(sam, prefix) - cache.size_bytes < 512


def test_it_travels_to_worker_processes(tmp_path: Path) -> None:
    """A worker's copy finds what was put, with the same keys and the same start of the run."""
    cache = open_cache(tmp_path, limit=10 * ENTRY)
    cache.put(cache.key("a"), draw(0))
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get(copy.key("a")) is not None
    assert (copy.limit_bytes, copy.bytes_per_view) == (cache.limit_bytes, cache.bytes_per_view)


def _fill(folder: Path, first: int) -> None:
    torch.set_num_threads(1)
    cache = open_cache(folder)
    for number in range(40):
        key = cache.key(str((first + number) % 40))
        if cache.get(key) is None:
            cache.put(key, draw((first + number) % 40))


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Two writers of the same entries in another order leave each entry once and whole."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(tmp_path, first)) for first in (0, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    cache = open_cache(tmp_path)
    assert len(entries(tmp_path)) == 40
    for number in range(40):
        read = cache.get(cache.key(str(number)))
        assert read is not None
        assert torch.equal(read["features"], draw(number)["features"].half())


def test_killed_while_filling_leaves_no_half_entry(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, every entry there is, is whole; the rest is made again."""
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1);"
        "from segtune.models.embedding_cache import EmbeddingCache;"
        "cache = EmbeddingCache(Path(sys.argv[1]), 'encoder', bytes_per_view=1);"
        "[(cache.put(cache.key(str(n)), {'features': torch.full((64, 64, 64), float(n % 9))}), print(n, flush=True))"
        " for n in range(100000)]"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    said = 5 + len(writer.stdout.readlines())
    cache = open_cache(tmp_path)
    whole = [path for path in entries(tmp_path) if not path.name.startswith(".")]
    assert len(whole) >= said
    for number in range(len(whole)):
        read = cache.get(cache.key(str(number)))
        assert read is not None
        assert bool((read["features"] == number % 9).all())


def test_a_full_disk_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space the error says so, and the cache holds what it held."""
    cache = open_cache(tmp_path)
    cache.put(cache.key("a"), draw(0))

    def save_file(tensors, path: Path, note) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", save_file)
    with pytest.raises(ResourceError, match="disk is full"):
        cache.put(cache.key("b"), draw(0))
    assert len(entries(tmp_path)) == 1
    assert cache.get(cache.key("a")) is not None
