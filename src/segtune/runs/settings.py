"""Every setting of a run in one typed tree, each with its default and with where its value came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from segtune.core.errors import UsageError, unknown_name
from segtune.core.files import write_text
from segtune.data.augment import AugmentSettings
from segtune.evaluation import MODES
from segtune.evaluation.modes import find_modes
from segtune.runs.presets import PRESETS, by_base
from segtune.training.recipe import Recipe, Section


class DataSettings(Section):
    """Which data, and how it is read."""

    path: str = Field("", description="Folder (or annotation file) of images and masks.")
    format: str | None = Field(None, description="Name of the data format; null: detected.")
    objects: Literal["whole", "parts", "labels", "instances"] = Field("whole", description="What one object is.")
    threshold: int = Field(127, ge=0, le=254, description="Soft masks: object above this grey value.")
    encoding: Literal["binary", "soft", "band", "labels", "instances"] | None = Field(
        None, description="What mask files hold; null: inferred from them."
    )
    bands: tuple[int, int, int] | None = Field(
        None, description="GeoTIFF: numbers from 1 of the bands shown as red, green, blue; null: the first three."
    )
    window: tuple[float, float] | None = Field(
        None, description="DICOM, NIfTI: (centre, width) of the values shown; null: the files' own."
    )
    split: str | None = Field(None, description="File or folder with a split of one's own; null: a seeded 70/15/15.")
    fractions: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="Shares of train, validation, test.")
    seed: int = Field(0, ge=0, description="Of the split.")


class ModelSettings(Section):
    """The model tuning starts from, and what of it trains."""

    base: str = Field("nano", description="nano, a run folder, a local folder, an original .pth, or a hub id.")
    train: str = Field("full", description="decoder, decoder+prompt, full, or late:N.")
    encoder_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Of a frozen image encoder; auto takes bf16 only where masks agree to mean IoU .99."
    )


class CacheSettings(Section):
    """The embedding cache of a frozen image encoder."""

    folder: str = Field("~/.cache/segtune/embeddings", description="Shared between runs.")
    limit_gib: float = Field(
        20.0, gt=0, description="Most disk it may take; fewer views are kept when they would not fit."
    )
    views: int = Field(4, ge=1, description="Views of each image: itself and augmented ones.")


def _known_modes(modes: tuple[str, ...]) -> tuple[str, ...]:
    if not modes:
        raise ValueError("at least one prompt mode is needed")
    find_modes(modes)
    return modes


PromptModes = Annotated[tuple[str, ...], AfterValidator(_known_modes)]


class ValidationSettings(Section):
    """What the best epoch is chosen by."""

    modes: PromptModes = Field(tuple(MODES), description="Prompt modes; the score is the mean IoU over them.")
    images: int | None = Field(100, ge=1, description="At most so many validation images an epoch; null: all.")


class EvaluationSettings(Section):
    """The prompt matrix at the end."""

    modes: PromptModes = Field(tuple(MODES), description="Prompt modes.")
    seed: int = Field(0, ge=0, description="Of the prompts; the same for every model.")


class Settings(Section):
    """The whole tree."""

    preset: str = Field("default", description="The recipe everything unnamed comes from.")
    out: str = Field("", description="The run folder.")
    device: str = Field("auto", description="cpu, cuda, cuda:N, or auto.")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: Recipe = Recipe()
    augment: AugmentSettings = AugmentSettings()
    cache: CacheSettings = CacheSettings()
    validation: ValidationSettings = ValidationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


class SettingsWithOrigins(BaseModel):
    """Settings and, by dotted name, where each value came from ("default", "preset slides", "--epochs", …)."""

    settings: Settings
    origins: dict[str, str]

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return every setting by dotted name as {"value", "origin"}."""
        values = flatten(self.settings.model_dump(mode="json"))
        return {name: {"value": value, "origin": self.origins.get(name, "default")} for name, value in values.items()}

    def write(self, path: Path) -> None:
        """Write them as YAML."""
        write_text(path, yaml.safe_dump(self.entries(), sort_keys=False, allow_unicode=True, width=120))


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
        UsageError: an unknown preset or setting, or a value that is not allowed; the message names it.
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
    written = dict(_parse_override(override) for override in overrides)
    values: dict[str, tuple[Any, str]] = {"preset": (preset, "default" if preset == "default" else "command line")}
    # What suits a base depends on all the ways of naming it: --set is the strongest.
    base = written.get("model.base", model or "nano")
    # From the weakest to the strongest: later ones overwrite.
    values |= {name: (value, origin) for name, (value, origin) in by_base(_first_base(str(base))).items()}
    values |= {name: (value, f"preset {preset}") for name, value in PRESETS[preset].items()}
    values |= {name: (value, "command line") for name, value in named.items() if value is not None}
    values |= {name: (value, "--set") for name, value in written.items()}
    return SettingsWithOrigins(
        settings=build({name: value for name, (value, _) in values.items()}),
        origins={name: origin for name, (_, origin) in values.items()},
    )


def _first_base(base: str) -> str:
    """Return what the first of a chain of runs started from: a tuned nano is trained like nano."""
    named = {base}
    while (path := Path(base) / "settings.yaml").is_file():
        base = read_settings(path).settings.model.base
        # Run folders that were moved or renamed may name each other: not followed for ever.
        if base in named:
            break
        named.add(base)
    return base


def read_settings(path: Path) -> SettingsWithOrigins:
    """Return the settings a run folder was made with.

    Raises:
        UsageError: the file is damaged or from another version.
    """
    damaged = UsageError(f"{path} is not a settings file of a run. Restore it, or start the run anew.")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise damaged from error
    whole = isinstance(entries, dict) and all(isinstance(entry, dict) for entry in entries.values())
    if not whole or not all({"value", "origin"} <= entry.keys() for entry in entries.values()):
        raise damaged
    return SettingsWithOrigins(
        settings=build({name: entry["value"] for name, entry in entries.items()}),
        origins={name: entry["origin"] for name, entry in entries.items()},
    )


def build(values: Mapping[str, Any]) -> Settings:
    """Return the tree with `values`, by dotted name, in place of defaults.

    Raises:
        UsageError: an unknown name or a value that is not allowed.
    """
    tree: dict[str, Any] = {}
    known = setting_names()
    for name, value in values.items():
        if name not in known:
            raise _unknown_setting(name, known)
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        # One mistake at a time: the first.
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise UsageError(f"The setting {name} = {problem['input']!r} is not allowed: {problem['msg']}.") from error


def flatten(tree: Mapping[str, Any], model: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Return a nested dump of settings by dotted name; dictionaries that are values stay whole."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        section = _section(model, name)
        # By the type, not by the value: weights of losses are a dictionary, but one value.
        flat |= flatten(value, section, f"{prefix}{name}.") if section else {f"{prefix}{name}": value}
    return flat


def setting_names(model: type = Settings) -> frozenset[str]:
    """Return the dotted names of all settings."""
    return frozenset(_walk(model, ""))


def _walk(model: type, prefix: str) -> Iterator[str]:
    for name in _annotations(model):
        section = _section(model, name)
        if section:
            yield from _walk(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _section(model: type, name: str) -> type | None:
    annotation = _annotations(model).get(name)
    is_section = isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation))
    return annotation if is_section and isinstance(annotation, type) else None


def _annotations(model: type) -> dict[str, Any]:
    # A section is a pydantic model, or a plain dataclass of a room that does without pydantic.
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return {field.name: field.type for field in fields(model)} if is_dataclass(model) else {}


def _parse_override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set takes NAME=VALUE, as in --set training.optimizer.lr=1e-4; this was '{text}'.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not valid YAML.") from error
    if isinstance(parsed, str):
        # YAML reads 1e-4 as text; people mean the number.
        with suppress(ValueError):
            parsed = float(parsed)
    return _full_name(name.strip()), parsed


def _full_name(name: str) -> str:
    known = setting_names()
    if name in known:
        return name
    # `lr` will do for training.optimizer.lr, as long as it means one setting.
    endings = sorted(other for other in known if other.endswith("." + name))
    if len(endings) == 1:
        return endings[0]
    raise _unknown_setting(name, known, endings)


def _unknown_setting(name: str, known: frozenset[str], endings: Sequence[str] = ()) -> UsageError:
    if endings:
        return UsageError(f"The setting '{name}' could be {' or '.join(endings)}; write one of them in full.")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f" Close to it: {', '.join(near)}." if near else ""
    return UsageError(f"There is no setting named '{name}'.{hint} A run's settings.yaml lists them all.")
