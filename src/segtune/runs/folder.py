"""What a run leaves on disk, and the record of how it was made."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from segtune.core.errors import ModelError, UsageError
from segtune.core.files import RUN_SETTINGS, is_half_written, read_json, write_json
from segtune.core.spec import part_phrase

_LATE_SECONDS = 60
"""A network disk may show a file to another host so much later: what it has not found it remembers for a while."""

_RECORDED = ("segtune", "torch", "numpy", "opencv-python-headless", "pillow", "scipy", "safetensors", "peft")


@dataclass(frozen=True)
class RunFolder:
    """The places in a run folder."""

    path: Path

    @property
    def settings(self) -> Path:
        """Every setting with its origin, YAML."""
        return self.path / RUN_SETTINGS

    @property
    def pretraining(self) -> Path:
        """Every setting of a pretraining, which is no fit, with its origin, YAML."""
        return self.path / "pretraining.yaml"

    @property
    def split(self) -> Path:
        """Which image trains, validates and tests."""
        return self.path / "split.json"

    @property
    def sources(self) -> Path:
        """Of a pretraining: which images of its folders are kept out of training, and which cannot be read."""
        return self.path / "sources.json"

    @property
    def check(self) -> Path:
        """What the data doctor found."""
        return self.path / "check.json"

    @property
    def fingerprints(self) -> Path:
        """Fingerprints of what the run and its base learned from, or rehearsed, to keep their like out of tests."""
        return self.path / "fingerprints.safetensors"

    @property
    def checkpoints(self) -> Path:
        """State to resume from and the best weights."""
        return self.path / "checkpoints"

    @property
    def masked_start(self) -> Path:
        """State and log of a pretraining's self-supervised start."""
        return self.path / "mae"

    @property
    def model(self) -> Path:
        """The result, which opens like any model; of a SAM, by transformers' SamModel too."""
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        """Of a run that trained one: the adapter alone."""
        return self.path / "adapter"

    @property
    def metrics(self) -> Path:
        """The prompt matrix as JSON."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The page that people read, written last."""
        return self.path / "report.html"

    @property
    def record(self) -> Path:
        """Command, versions, machine, hashes."""
        return self.path / "run.json"

    @property
    def holds_a_run(self) -> bool:
        """Whether a fit or a pretraining has begun here: what it has written is nobody else's to replace."""
        return self.settings.exists() or self.pretraining.exists()

    @property
    def reads_text(self) -> bool:
        """Whether the model that came of it looks for a phrase."""
        from segtune.models.save import PHRASE, RECORD  # brings torch with it

        records = [folder / RECORD for folder in (self.model, self.adapter) if (folder / RECORD).is_file()]
        return any(PHRASE in read_json(record) for record in records)

    @property
    def is_fit(self) -> bool:
        """Whether it is the folder of a fit, which has a split and a base; a pretraining has neither."""
        return self.settings.is_file()

    @property
    def is_prepared(self) -> bool:
        """Whether data was split for it, and what it learns from is remembered."""
        return self.split.is_file() and self.fingerprints.is_file()

    @property
    def is_unbegun(self) -> bool:
        """Whether a run in this folder was cut off before its data was split: nothing is there to go on from."""
        if not self.path.is_dir() or self.holds_a_run:
            return False
        # Killed while it wrote one of them, what was half written is still there beside it.
        whole = {each.name for each in self.path.iterdir() if not is_half_written(each)}
        return whole <= {self.check.name, self.split.name, self.fingerprints.name, self.record.name}

    def require_free(self) -> None:
        """Refuse a folder for a new run that holds one.

        Raises:
            UsageError: it holds a run already.
        """
        if self.holds_a_run:
            raise UsageError(
                f"{self.path} already holds a run. Go on with it by --resume, or give --out another folder; "
                "nothing in it was touched."
            )

    def start(self) -> None:
        """Make the folder for a new run.

        Raises:
            UsageError: it holds a run already.
        """
        self.require_free()
        self.path.mkdir(parents=True, exist_ok=True)

    def require(self) -> None:
        """Refuse a folder that holds no run.

        Raises:
            ModelError: it is not a run folder.
        """
        if not self.is_fit:
            raise ModelError(
                f"{self.path} is not a run folder: it has no settings.yaml. Give the --out of a segtune fit."
            )

    def require_shared(self, *files: Path) -> None:
        """Wait for files that the first process has written, and refuse a folder that it has to itself.

        Raises:
            UsageError: a file is not to be seen here.
        """
        for file in files:
            for _ in range(_LATE_SECONDS):
                if file.is_file():
                    break
                time.sleep(1)
            else:
                raise UsageError(
                    f"{file} is not to be seen by this process, number {os.environ.get('RANK', '?')}, though the first "
                    f"one has written it. Processes that train together need one run folder, on whatever hosts they "
                    "are: give --out a folder on a disk that all of these hosts share, by the same path."
                )

    def write_record(self, **fields: Any) -> None:
        """Add fields to the record."""
        # Read again each time: a run adds to it in several steps, a resumed one after a crash.
        known = read_json(self.record) if self.record.is_file() else {}
        write_json(self.record, known | fields)


def run_of(spec: str | Path) -> RunFolder | None:
    """Return the run that a model came of, a fit or a pretraining, or None.

    Args:
        spec: what names the model: the run folder, its model/ or adapter/, a file in one of them; or anything else that
            names one.
    """
    if str(spec) == "nano":
        return None  # the built-in one, also where a folder of that name lies
    name, phrase = part_phrase(spec)
    path = Path(name).expanduser().absolute()
    for run in map(RunFolder, (path, path.parent, path.parent.parent)):
        is_named = run.path == path or not {run.model, run.adapter}.isdisjoint((path, path.parent))
        # Fingerprints alone will do: by them it is known what the model has seen.
        if is_named and (run.holds_a_run or run.fingerprints.is_file()):
            # A folder with that sign in its name may have gone, and one that is called like its beginning be there.
            return run if not phrase or run.reads_text else None
    return None


def other_than_a_run(out: Path) -> RunFolder:
    """Return the folder that figures go to.

    Raises:
        UsageError: it is the folder of a run.
    """
    folder = RunFolder(out)
    # First of all: nothing may be written before this is known.
    if folder.holds_a_run:
        raise UsageError(
            f"{out} is the folder of a run, whose own figures and report others would replace. Give --out another "
            "folder; nothing was touched."
        )
    return folder


def describe_surroundings() -> dict[str, Any]:
    """Return the command, the versions and the machine, for the record."""
    return {
        # Without the path of the program, which differs between machines.
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _RECORDED},
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "started": now(),
    }


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    # On Linux `platform.processor` is empty or says the architecture only.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
