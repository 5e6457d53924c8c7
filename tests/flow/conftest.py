"""A small data set on disk, a tiny base model, and the real command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from segtune.cli import main
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.models.save import save_model

sys.path.insert(0, str(Path(__file__).parent))

from disc_data import write_discs


@pytest.fixture(scope="session")
def micro(tmp_path_factory):
    """A tiny model with fresh weights, as a local folder."""
    folder = tmp_path_factory.mktemp("base") / "micro"
    save_model(build_sam(MICRO, generator=torch.Generator().manual_seed(0)), folder, extra={})
    return folder


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """Thirty images with a disc each, one without."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 30, empty={7})


@pytest.fixture
def segtune(capsys):
    """Run the command line in this process; return exit code, standard output and standard error."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def answer(segtune):
    """Run a command with --json and return its exit code and what it answered."""

    def run(*words):
        code, out, err = segtune(*words, "--json")
        assert out.strip(), err
        return code, json.loads(out)

    return run
