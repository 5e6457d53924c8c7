"""Make the README's pictures from a finished `segtune demo`: nothing in them but what segtune drew and measured.

    make demo
    python tools/readme_pictures.py runs/demo

The head of the report is photographed by Chromium, if it is on the path, else that picture stays as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
EXAMPLES = ("click-01.jpg", "click-02.jpg", "click-03.jpg", "box-07.jpg")
"""Best gain, median and worst of a single click, and the best gain of a box, as the report numbers them."""
WIDTH, HEIGHT = 1200, 1240


def main() -> None:
    """Write docs/pictures/examples.jpg and docs/pictures/report.png."""
    run = Path(sys.argv[1])
    PICTURES.mkdir(parents=True, exist_ok=True)
    rows = [cv2.imread(str(run / "figures" / name)) for name in EXAMPLES]
    missing = [name for name, row in zip(EXAMPLES, rows, strict=True) if row is None]
    if missing:
        raise SystemExit(f"{run}/figures has no {', '.join(missing)}. Run 'make demo' first.")
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
