"""A run folder as a fit leaves it, made up of drawn numbers and drawn blobs, with no model behind it."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from segtune.core.files import write_json
from segtune.core.rle import RunLengths
from segtune.evaluation.results import Bucket, Difference, Empty, Results, Row, write_results
from segtune.prompts.objects import ObjectPrompt
from segtune.report.collage import Answer, Collage
from segtune.report.page import write_report

# Mode → mean IoU of pretrained and tuned.
LEVELS = {
    "click": (0.58, 0.79), "random_click": (0.52, 0.75), "clicks3": (0.68, 0.84), "clicks5": (0.73, 0.87),
    "box": (0.76, 0.86), "loose_box": (0.70, 0.84), "point_box": (0.77, 0.87), "mask": (0.70, 0.81),
}  # fmt: skip
BASELINES = {"baseline:box": {"box": 0.66, "loose_box": 0.52}, "baseline:ellipse": {"box": 0.74, "loose_box": 0.60}}
METRICS = ("iou", "dice", "precision", "recall", "boundary_iou", "loss")


@dataclass
class DrawnRun:
    """Options of a made-up run; `write` makes its folder."""

    images: int = 40
    epochs: int = 20
    seed: int = 0
    crowned: bool | None = True
    leaks: int = 0
    modes: tuple[str, ...] = tuple(LEVELS)
    names: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Write all files of a finished fit and return the folder."""
        rng = np.random.default_rng(self.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.names = self.names or [f"images/case_{number:04d}.png" for number in range(self.images)]
        scores = _draw_scores(rng, len(self.names), self.modes)
        _write_per_image(folder / "per_image.csv", self.names, scores)
        write_results(folder / "metrics.json", self._results(scores))
        (folder / "log.jsonl").write_text("".join(_log_lines(rng, self.epochs)), encoding="utf-8")
        (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False), encoding="utf-8")
        write_json(folder / "split.json", _split(self.names))
        write_json(folder / "check.json", CHECK)
        write_json(folder / "run.json", RECORD)
        return folder

    def _results(self, scores: dict[tuple[str, str], dict[str, np.ndarray]]) -> Results:
        rows = [
            _row(model, mode, metric, values)
            for (model, mode), found in scores.items()
            for metric, values in found.items()
        ]
        differences = [
            _difference(model, against, mode, metric, scores)
            for model, against in [("tuned", "pretrained"), ("tuned", "baseline:box"), ("tuned", "baseline:ellipse")]
            for mode in self.modes
            for metric in scores.get((against, mode), {})
        ]
        buckets = [
            Bucket(model, mode, size, "iou", float(scores[model, mode]["iou"].mean() + shift), n)
            for model, mode in scores
            for size, shift, n in [("small", -0.08, 21), ("medium", 0.0, 48), ("large", 0.03, 9)]
        ]
        verdict = (
            "Tuning raised IoU in 8 of 8 prompt modes on 40 images; box .76 → .86 (+.10, 95 % interval .08 to .12)."
        )
        return Results(
            rows=tuple(rows), differences=tuple(differences), buckets=tuple(buckets),
            empty=(Empty("pretrained", 4, 3, 0.75), Empty("tuned", 4, 1, 0.25)),
            data=DATA | {"images": len(self.names), "leaks": self.leaks}, split=PART,
            crowned=self.crowned, verdict=verdict,
        )  # fmt: skip


def draw_picture(image: str, mode: str) -> Collage:
    """Draw blobs on wet texture, with a reference that misses more of them than the tuned model does."""
    rng = np.random.default_rng(zlib.crc32(f"{image} {mode}".encode()))
    height, width = (288, 384) if rng.random() < 0.7 else (400, 300)
    truths = [_blob(rng, height, width) for _ in range(int(rng.integers(1, 3)))]
    pixels = _texture(rng, height, width, truths)
    answers = []
    for model, target in zip(("pretrained", "tuned"), LEVELS.get(mode, (0.5, 0.7)), strict=True):
        masks = [_missed(truth, target, rng) for truth in truths]
        ious = tuple(float((m & t).sum() / (m | t).sum()) for m, t in zip(masks, truths, strict=True))
        prompts = [_prompt(truth, mode, model) for truth in truths]
        answers.append(Answer(model, [RunLengths.encode(mask) for mask in masks], ious, prompts))
    return Collage(pixels, [RunLengths.encode(truth) for truth in truths], answers)


@pytest.fixture(scope="session")
def drawn_run() -> type[DrawnRun]:
    """The maker of made-up runs."""
    return DrawnRun


@pytest.fixture(scope="session")
def pictures() -> Callable[[str, str], Collage | None]:
    """Pictures of predictions, drawn."""
    return draw_picture


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished fit in two modes, without a report."""
    return DrawnRun(images=12, modes=("click", "box")).write(tmp_path / "run")


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """A finished fit with four images to score, so that few pictures are drawn."""
    return DrawnRun(images=4, epochs=3, modes=("click", "box")).write(tmp_path / "run")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fit with its report and pictures, to be read only."""
    folder = DrawnRun(images=30, modes=("click", "box", "mask")).write(tmp_path_factory.mktemp("runs") / "fit")
    write_report(folder, draw_picture)
    return folder


def _draw_scores(
    rng: np.random.Generator, images: int, modes: tuple[str, ...]
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    ease = rng.normal(0, 0.5, images)
    scores = {}
    for mode in modes:
        for model, level in zip(("pretrained", "tuned"), LEVELS[mode], strict=True):
            scores[model, mode] = _metrics(_logistic(level, 0.9 * ease + rng.normal(0, 0.6, images)), loss=True)
    for model, shapes in BASELINES.items():
        for mode in [mode for mode in shapes if mode in modes]:
            level = shapes[mode]
            scores[model, mode] = _metrics(_logistic(level, rng.normal(0, 0.4, images)), loss=False)
    return scores


def _logistic(level: float, noise: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(np.log(level / (1 - level)) + noise)))


def _metrics(iou: np.ndarray, *, loss: bool) -> dict[str, np.ndarray]:
    found = {
        "iou": iou,
        "dice": 2 * iou / (1 + iou),
        "precision": iou**0.4,
        "recall": iou**0.6,
        "boundary_iou": iou**1.6,
    }
    return {**found, "loss": 0.25 * (1 - iou)} if loss else found


def _row(model: str, mode: str, metric: str, values: np.ndarray) -> Row:
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    pooled = None if metric == "loss" else min(1.0, mean + 0.02)
    return Row(model, mode, metric, mean, mean - half, mean + half, pooled, len(values))


def _difference(model, against, mode, metric, scores) -> Difference:
    values = scores[model, mode][metric] - scores[against, mode][metric]
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    p = 0.00002 if abs(mean) > 1.5 * half else 0.231
    return Difference(model, against, mode, metric, mean, mean - half, mean + half, p, len(values))


def _write_per_image(path: Path, names: list[str], scores: dict[tuple[str, str], dict[str, np.ndarray]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "group", "objects", "model", "mode", *METRICS, "false_mask"])
        writer.writeheader()
        writer.writerow({"image": "empty.png", "objects": 0, "model": "tuned", "mode": "empty", "false_mask": 1})
        for number, name in enumerate(names):
            for (model, mode), found in scores.items():
                figures = {metric: f"{values[number]:.6f}" for metric, values in found.items()}
                writer.writerow({"image": name, "objects": 2, "model": model, "mode": mode, **figures})


def _log_lines(rng: np.random.Generator, epochs: int) -> Iterator[str]:
    best = -1.0
    for number in range(epochs + 1):
        rise = 1 - np.exp(-number / 5) - 0.004 * max(0, number - 14)
        validation = {
            mode: {
                "iou": before + (after - before) * rise + rng.normal(0, 0.004),
                "dice": 0.9,
                "loss": 0.16 - 0.1 * rise,
            }
            for mode, (before, after) in LEVELS.items()
        }
        score = float(np.mean([one["iou"] for one in validation.values()]))
        train = {"loss": 0.19 - 0.14 * rise + rng.normal(0, 0.002), "iou": 0.8} if number else None
        event = {
            "event": "epoch",
            "epoch": number,
            "step": number * 24,
            "train": train,
            "validation": validation,
            "score": score,
        }
        yield (
            json.dumps({"event": "step", "step": number * 24, "epoch": number, "lr": 1e-4, "objects": 16, "loss": 0.2})
            + "\n"
        )
        yield json.dumps(event | {"best": number > 0 and score > best, "seconds": 18.4}) + "\n"
        best = max(best, score)
    yield json.dumps({"event": "end", "epoch": epochs, "step": epochs * 24, "best_epoch": 14, "stopped": False}) + "\n"


def _split(names: list[str]) -> dict[str, object]:
    train = [f"images/train_{number:04d}.png" for number in range(186)]
    return {"train": train, "val": train[:40], "test": names, "seed": 0, "fractions": [0.7, 0.15, 0.15], "sha256": HASH,
            "origin": "drawn"}  # fmt: skip


def _blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = (
        min(height, width)
        * rng.uniform(0.07, 0.2)
        * (1 + 0.18 * np.sin(2 * angle + rng.random() * 6) + 0.1 * np.sin(5 * angle))
    )
    x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
    outline = np.stack([x + 1.4 * radius * np.cos(angle), y + radius * np.sin(angle)], axis=1).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline], 1)
    return mask.astype(bool)


def _texture(rng: np.random.Generator, height: int, width: int, truths: list[np.ndarray]) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 9) * 140
    lumps = sum(cv2.GaussianBlur(truth.astype(np.float32), (0, 0), 5) for truth in truths) * 32
    ground = np.array([176, 92, 78]) + (noise + lumps)[..., None] * np.array([1, 0.8, 0.7])
    shine = cv2.GaussianBlur((rng.random((height, width)) > 0.9994).astype(np.float32), (0, 0), 2) * 1500
    return np.clip(ground + shine[..., None], 0, 255).astype(np.uint8)


def _missed(truth: np.ndarray, target: float, rng: np.random.Generator) -> np.ndarray:
    """Shift the truth until about `target` of it is still met."""
    direction = rng.uniform(0, 2 * np.pi)
    for distance in range(0, 200, 2):
        matrix = np.array([[1, 0, distance * np.cos(direction)], [0, 1, distance * np.sin(direction)]], np.float32)
        moved = cv2.warpAffine(truth.astype(np.uint8), matrix, truth.shape[::-1]).astype(bool)
        if (moved & truth).sum() / (moved | truth).sum() <= target:
            return moved
    return np.zeros_like(truth)


def _prompt(truth: np.ndarray, mode: str, model: str) -> ObjectPrompt:
    rows, columns = np.nonzero(truth)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    box = np.array([x0, y0, x1, y1], np.float32) if "box" in mode else None
    centre = [columns.mean(), rows.mean()]
    points, labels = ([centre, [x1, y1]], [1, 0]) if model == "pretrained" else ([centre], [1])
    if mode == "box":
        points, labels = [], []
    return ObjectPrompt(np.array(points, np.float32).reshape(-1, 2), np.array(labels, np.int64), box)


HASH = "9f2c" * 16
SETTINGS = {
    "preset": {"value": "default", "origin": "command line"},
    "data.path": {"value": "data/lumps", "origin": "command line"},
    "model.base": {"value": "nano", "origin": "default"},
    "model.train": {"value": "full", "origin": "command line"},
    "training.epochs": {"value": 20, "origin": "--set"},
    "training.optimizer.lr": {"value": 0.0001, "origin": "default"},
    "training.loss.weights": {"value": {"focal": 0.95238, "dice": 0.04762}, "origin": "default"},
    "training.prompts.first": {"value": {"click": 0.1, "box": 0.2}, "origin": "default"},
    "cache.limit_gib": {"value": 20.0, "origin": "default"},
    "data.split": {"value": None, "origin": "default"},
}
SPREAD = {"least": 1.0, "most": 4.0, "mean": 1.9, "low": 1.0, "median": 2.0, "high": 4.0}
WIDTHS = SPREAD | {"least": 440, "most": 1920}
HEIGHTS = SPREAD | {"least": 330, "most": 1080}
SIZES = [0] * 11 + [3, 9, 21, 40, 64, 80, 96, 88, 61, 30, 14, 5, 1, 0]
CHECK = {
    "schema": 1, "name": "lumps", "format": "mask_folder", "objects_are": "whole", "images": 266, "objects": 512,
    "level": "warning", "verdict": "266 images with 512 objects can be used.",
    "notes": ["Masks are soft, 0 to 255; inside is above 127."],
    "findings": [
        {"rule": "near_duplicates", "severity": "warning", "title": "2 images nearly equal others.", "value": "1 pair.",
         "remedy": "Nothing to do.", "count": 2, "images": ["a.png", "b.png"], "groups": [["a.png", "b.png"]]},
        {"rule": "border", "severity": "note", "title": "43 objects touch the border.", "value": "8.4 % of them.",
         "remedy": "Nothing to do.", "count": 0, "images": [], "groups": []},
    ],
    "set_aside": [{"name": "torn.png", "reason": "truncated", "remedy": "copy it again"}],
    "exact_duplicates": [], "near_duplicates": [["a.png", "b.png"]],
    "statistics": {
        "image_size": {"distinct": 3, "height": HEIGHTS, "width": WIDTHS},
        "objects_per_image": SPREAD | {"histogram": {"0": 4, "1": 100, "2": 120, "3–4": 42}},
        "object_share": SPREAD | {"low": 0.004, "median": 0.034, "high": 0.21, "histogram": SIZES},
        "at_border": 0.084, "labels": {"object": 512},
    },
}  # fmt: skip
DATA = {
    "images": 40, "objects": 78, "empty_images": 4, "seed": 0, "set_aside": [], "part": "test",
    "sizes": {"small": [0.0, 0.01], "medium": [0.01, 0.1], "large": [0.1, 1.0]},
    "interval": {"method": "BCa bootstrap", "level": 0.95, "resamples": 5000, "unit": "image", "units": 40},
}  # fmt: skip
PART = {"sha256": HASH, "seed": 0, "sizes": {"train": 186, "val": 40, "test": 40}}
RECORD = {
    "command": ["segtune", "fit", "data/lumps", "--out", "runs/my lumps", "--train", "full", "--set", "epochs=20"],
    "versions": {"python": "3.11.9", "segtune": "0.1.0", "torch": "2.13.0"},
    "machine": {"system": "Linux-6.8-x86_64", "processor": "Imaginary CPU", "cores": 2},
    "started": "2026-11-21T04:13:09+00:00", "finished": "2026-11-21T04:19:21+00:00", "stopped": False,
    "data": {"path": "data/lumps", "format": "mask_folder", "images": 266, "split_sha256": HASH},
    "model": {"base": "nano", "family": "sam", "train": "full", "parameters_trained": 3104221, "parameters": 3104221},
}  # fmt: skip
