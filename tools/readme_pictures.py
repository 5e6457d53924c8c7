"""Make the README's pictures from a finished `segtune demo`: nothing in them but what segtune drew and measured.

    make demo
    python tools/readme_pictures.py runs/demo

The head of the report is photographed by Chromium, if it is on the path, else that picture stays as it is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SHOWN = {"click": 3, "box": 1}
"""So many of the report's examples by prompt mode: best gain, median and worst of a single click, best gain of a box."""
WIDTH, HEIGHT = 1200, 1240


def main() -> None:
    """Write docs/pictures/examples.jpg and docs/pictures/report.png."""
    run = Path(sys.argv[1])
    PICTURES.mkdir(parents=True, exist_ok=True)
    told = run / "figures" / "pictures.json"
    if not told.exists():
        raise SystemExit(f"There is no {told}. Run 'make demo' first.")
    pictures = json.loads(told.read_text())["pictures"]
    names = [
        name
        for mode, count in SHOWN.items()
        for name in [one["collage"] for one in pictures if one["mode"] == mode][:count]
    ]
    rows = [cv2.imread(str(run / "figures" / name)) for name in names]
    width = min(WIDTH, *(row.shape[1] for row in rows))
    fitted = [
        cv2.resize(row, (width, round(row.shape[0] * width / row.shape[1])), interpolation=cv2.INTER_AREA)
        for row in rows
    ]
    cv2.imwrite(str(PICTURES / "examples.jpg"), np.vstack(fitted), [cv2.IMWRITE_JPEG_QUALITY, 85])
    photograph(run / "report.html", PICTURES / "report.png")


def photograph(page: Path, picture: Path) -> None:
    """Write what a browser window shows of a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"No Chromium found, so {picture} stays as it is.")
        return
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={picture}", page.resolve().as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
