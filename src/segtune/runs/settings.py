"""Every setting of a run in one typed tree, each with its default and with where its value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator

from segtune.core.errors import unknown_name
from segtune.core.files import read_json
from segtune.data.augment import AugmentSettings
from segtune.data.images import PIXEL_LIMIT
from segtune.data.splits import check_fractions
from segtune.evaluation import SENSITIVITY_IMAGES, default_modes
from segtune.evaluation.modes import find_modes
from segtune.models.preparation import Kind
from segtune.models.save import BLEND, RECORD
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.presets import PRESETS, by_base
from segtune.runs.settings_tree import Composed, build_tree, compose, parse_override, read_composed
from segtune.training.recipe import Section, TuningRecipe


class ReadingSettings(Section):
    """How data is read."""

    format: str | None = Field(None, description="Name of the data format; null: detected.")
    objects: Literal["whole", "parts", "labels", "instances"] = Field("whole", description="What one object is.")
    threshold: int = Field(127, ge=0, le=254, description="Soft masks: object above this grey value.")
    encoding: Literal["binary", "soft", "probability", "band", "labels", "instances"] | None = Field(
        None, description="What mask files hold; null: inferred from them."
    )
    bands: tuple[int, int, int] | None = Field(
        None, description="GeoTIFF: numbers from 1 of the bands shown as red, green, blue; null: the first three."
    )
    window: tuple[float, float] | None = Field(
        None, description="DICOM, NIfTI: (centre, width) of the values shown; null: the files' own."
    )
    pixel_limit: int = Field(PIXEL_LIMIT, ge=1, description="Images with more pixels are set aside.")


class DataSettings(ReadingSettings):
    """Which data, and how it is read."""

    path: str = Field("", description="Folder (or annotation file) of images and masks.")
    split: str | None = Field(None, description="File or folder with a split of one's own; null: a seeded 70/15/15.")
    fractions: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="Shares of train, validation, test.")
    seed: int = Field(0, ge=0, description="Of the split.")
    train_images: int | None = Field(
        None, ge=1, description="At most so many training images, of which fewer are among more; null: all."
    )
    train_seed: int = Field(0, ge=0, description="Of the draw of these.")

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        check_fractions(fractions)  # raises a UsageError, which pydantic passes on as it is
        return fractions


class ModelSettings(Section):
    """The model tuning starts from, and what of it trains."""

    base: str = Field(
        "nano",
        description="nano, a run folder, a local folder, an original .pth, or a hub id; SAM 3 by phrases: SAM3#polyp.",
    )
    side: int | None = Field(
        None, gt=0, description="Side of the square input in pixels; null: the base's own. More is finer, and slower."
    )
    preparation: Kind | None = Field(
        None,
        description="How images are brought to the square: longest_side (SAM), stretched (MedSAM) or "
        "stretched_normalized (SAM 2, 3); null: as the base's files say, of a SAM file called medsam as MedSAM's.",
    )
    train: str = Field("full", description="NAME[:key=value,...]: full, decoder, late:N, lora:r=8,in=encoder, …")
    encoder_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Of a frozen image encoder; auto takes bf16 only where masks agree to mean IoU .99."
    )


class CacheSettings(Section):
    """What is kept of images: embeddings of a frozen image encoder, or what its frozen first stages make."""

    folder: str = Field("~/.cache/segtune/embeddings", description="Shared between runs.")
    limit_gib: float = Field(
        20.0, gt=0, description="Most disk it may take; fewer views are kept when they would not fit."
    )
    views: int = Field(4, ge=1, description="Views of each image: itself and augmented ones.")
    prefix: bool = Field(
        True, description="Where late layers train, keep what comes in front of them; false: fresh views every epoch."
    )


def _known_modes(modes: tuple[str, ...]) -> tuple[str, ...]:
    if not modes:
        raise ValueError("at least one prompt mode is needed")
    find_modes(modes)
    return modes


PromptModes = Annotated[tuple[str, ...], AfterValidator(_known_modes)]


class ValidationSettings(Section):
    """What the best epoch is chosen by."""

    modes: PromptModes = Field(default_modes(), description="Prompt modes; the score is the mean IoU over them.")
    images: int | None = Field(100, ge=1, description="At most so many validation images an epoch; null: all.")


class EvaluationSettings(Section):
    """The prompt matrix at the end."""

    modes: PromptModes = Field(default_modes(), description="Prompt modes.")
    seed: int = Field(0, ge=0, description="Of the prompts; the same for every model.")
    general: str = Field(
        "suite",
        description="General images on which forgetting is measured: suite (drawn), a folder of images and masks, or "
        "none.",
    )
    # Drawn scenes are full of objects: to score twelve takes about as long as an epoch of some thirty images.
    general_images: int = Field(12, ge=2, description="At most so many general images.")
    general_modes: PromptModes = Field(("click", "clicks3", "box"), description="Prompt modes on general images.")
    sensitivity_images: int = Field(
        SENSITIVITY_IMAGES, ge=0, description="Images on which it is measured how far masks follow the prompt; 0: none."
    )


class Settings(Section):
    """The whole tree."""

    preset: str = Field("default", description="The recipe everything unnamed comes from.")
    out: str = Field("", description="The run folder.")
    device: str = Field("auto", description="cpu, cuda, cuda:N, or auto.")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TuningRecipe = TuningRecipe()
    augment: AugmentSettings = AugmentSettings()
    cache: CacheSettings = CacheSettings()
    validation: ValidationSettings = ValidationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


SettingsWithOrigins = Composed[Settings]


def load_settings(
    *,
    preset: str = "default",
    data: Path | str,
    out: Path | str,
    model: str | None = None,
    train: str | None = None,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> SettingsWithOrigins:
    """Compose a run's settings: defaults, then what the base suggests, then the preset, then the command line.

    Args:
        preset: name of a preset.
        data: the data folder.
        out: the run folder.
        model: the base; "nano" when not given.
        train: what trains; the preset's or the base's own choice when not given.
        epochs: passes over the training part.
        overrides: "dotted.name=value" with the value in YAML, as `--set` takes them.
        options: further settings by dotted name with "__" for the dot (`data__objects="parts"`); None is left out.

    Raises:
        UsageError: an unknown preset, setting or way of training, or a value that is not allowed; the message names it.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    named = {
        "data.path": str(data),
        "out": str(out),
        "model.base": model,
        "model.train": train,
        "training.epochs": epochs,
    }
    named |= {name.replace("__", "."): value for name, value in options.items()}
    written = dict(parse_override(override, Settings) for override in overrides)
    values: dict[str, tuple[Any, str]] = {"preset": (preset, "default" if preset == "default" else "command line")}
    # What suits a base and a way of training depends on all the ways of naming them: --set is the strongest.
    said = {name: value for name, value in named.items() if value is not None} | written
    way = said.get("model.train", PRESETS[preset].get("model.train"))
    suited = by_base(first_base(str(said.get("model.base", "nano"))), None if way is None else str(way))
    # From the weakest to the strongest: later ones overwrite.
    values |= suited
    values |= {name: (value, f"preset {preset}") for name, value in PRESETS[preset].items()}
    values |= {name: (value, "command line") for name, value in named.items() if value is not None}
    values |= {name: (value, "--set") for name, value in written.items()}
    return compose(values, Settings)


def first_base(base: str) -> str:
    """Return what the first of a chain of runs started from: a tuned nano is trained like nano.

    Args:
        base: as it is named.
    """
    named = {base}
    while (run := run_of(base)) is not None and (earlier := _base_of(run)) is not None:
        base = earlier
        # Run folders that were moved or renamed may name each other: not followed for ever.
        if base in named:
            break
        named.add(base)
    return _size_of_pretrained(run_of(base)) or base


def _base_of(run: RunFolder) -> str | None:
    """Return the base of a fit, or of the fit that a blend was made of."""
    if run.is_fit:
        return read_settings(run.settings).settings.model.base
    record = run.model / RECORD
    told = read_json(record) if record.is_file() else {}
    return str(told["base"]) if BLEND in told else None


def _size_of_pretrained(run: RunFolder | None) -> str | None:
    """Return the size of a base that `segtune pretrain` made: one of nano's is trained like nano."""
    if run is None or not run.pretraining.is_file():
        return None
    with suppress(yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        return str(yaml.safe_load(run.pretraining.read_text(encoding="utf-8"))["model.size"]["value"])
    return None


def read_settings(path: Path) -> SettingsWithOrigins:
    """Return the settings a run folder was made with.

    Raises:
        UsageError: the file is damaged or from another version.
    """
    return read_composed(path, Settings)


def build(values: Mapping[str, Any]) -> Settings:
    """Return the tree with `values`, by dotted name, in place of defaults.

    Raises:
        UsageError: an unknown name or a value that is not allowed.
    """
    return build_tree(values, Settings)
