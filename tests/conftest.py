"""What holds for every test: one thread, no display, no network, a cache of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

# Set before torch, matplotlib and huggingface_hub are first imported, which is when they read them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

_connect = socket.socket.connect


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _connect_to_this_machine)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Embedding caches and hub downloads lie below the home folder; a test neither finds nor leaves anything there.
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))


def _connect_to_this_machine(self: socket.socket, address: Any) -> None:
    """Connect as usual, but refuse any other machine: a test that needs one is a fault."""
    if self.family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0])
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise PermissionError(f"tests use no network, but this one asked for {address}")
    return _connect(self, address)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the whole project."""
    return Path(__file__).parent.parent
