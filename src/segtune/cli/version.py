"""`segtune version`: what is installed, for a bug report."""

from __future__ import annotations

import platform

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer

_PACKAGES = ("segtune", "torch", "transformers", "numpy", "opencv-python-headless")


def version(json: AsJson = False) -> int:
    """Show the versions of segtune, Python and what matters most beneath it.

    A report of a fault is easier to follow with them.

    For example:

        segtune version
    """
    versions = {name: _installed(name) for name in _PACKAGES} | {"python": platform.python_version()}
    lines = [f"{name} {number or 'not installed'}" for name, number in versions.items()]
    answer(versions, "\n".join(lines), as_json=json)
    return 0


def show_version(asked: bool) -> None:
    """Print segtune's version and end the command, if asked."""
    if asked:
        answer({}, f"segtune {_installed('segtune')}", as_json=False)
        raise typer.Exit


def _installed(package: str) -> str | None:
    # Asked of the installed package, not by importing it: torch alone takes seconds.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(package)
    except PackageNotFoundError:
        return None
