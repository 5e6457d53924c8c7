"""Run the code on the documentation's pages and keep the pictures it makes; the tests run it by the same functions.

python tools/docs_pictures.py
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segtune.cli import main as segtune
from segtune.data.demo import write_demo

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "using.md"
PAGES = (PAGE, DOCS / "everything.md")


def main() -> None:
    """Write docs/pictures/session.jpg and whatever else the pages show."""
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            run_code(page, Path(folder))
            for name in pictures(page):
                shutil.copy(Path(folder) / name, DOCS / "pictures" / name)


def run_code(page: Path, folder: Path) -> dict[str, Any]:
    """Run a page's Python blocks from top to bottom in `folder`; return the names they leave."""
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            exec(compile(code, str(page), "exec"), names)
    finally:
        os.chdir(before)
    return names


def run_commands(folder: Path) -> dict[str, int]:
    """Run the commands of docs/using.md in `folder` on drawn images; return their exit codes."""
    write_demo(folder / "polyps", count=3, seed=1)
    shutil.copytree(folder / "polyps" / "images", folder / "photos")
    height, width = cv2.imread(str(folder / "photos" / "lump_0001.jpg")).shape[:2]
    disc = cv2.circle(np.zeros((height, width), np.uint8), (width // 2, height // 2), 30, 255, -1)
    cv2.imwrite(str(folder / "coarse.png"), disc)
    (prompts,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "prompts.json").write_text(prompts)
    commands = re.findall(r"^ {4}segtune (.*)$", PAGE.read_text(), re.MULTILINE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return {command: segtune([*shlex.split(command), "--json"]) for command in commands}
    finally:
        os.chdir(before)


def pictures(page: Path) -> list[str]:
    """Return the names of the pictures on a page."""
    return re.findall(r"\]\(pictures/([^)]+)\)", page.read_text())


if __name__ == "__main__":
    main()
