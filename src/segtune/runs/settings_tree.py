"""Settings as one typed tree, whatever it is for: composed with where each value came from, written, read, resumed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from segtune.core.errors import UsageError
from segtune.core.files import write_text
from segtune.training.recipe import Section

Tree = TypeVar("Tree", bound=Section)

_PLACE = frozenset({"out", "device"})
"""Where a run lies and computes may change when it is resumed."""


class Composed(BaseModel, Generic[Tree]):
    """Settings and, by dotted name, where each value came from ("default", "preset slides", "command line", …)."""

    settings: Tree
    origins: dict[str, str]

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return every setting by dotted name as {"value", "origin"}."""
        values = flatten(self.settings.model_dump(mode="json"), type(self.settings))
        return {name: {"value": value, "origin": self.origins.get(name, "default")} for name, value in values.items()}

    def write(self, path: Path | str) -> None:
        """Write them as YAML."""
        write_text(Path(path), yaml.safe_dump(self.entries(), sort_keys=False, allow_unicode=True, width=120))

    def resumed(self, stored: Composed[Tree], folder: Path) -> Composed[Tree]:
        """Return the settings that a run in `folder` was started with; where it lies and computes is as asked now.

        Raises:
            UsageError: the command line now asks for something else.
        """
        before, asked = stored.entries(), self.entries()
        for name, entry in asked.items():
            is_said = entry["origin"] in {"command line", "--set"}
            if is_said and name not in _PLACE and entry["value"] != before[name]["value"]:
                raise UsageError(
                    f"The run in {folder} was started with {name} = {before[name]['value']!r}, and --resume goes on "
                    f"with exactly that; the command line now says {entry['value']!r}. Leave it out, or start another "
                    "run."
                )
        moved = {name: asked[name]["value"] for name in _PLACE if asked[name]["origin"] != "default"}
        return type(self)(settings=stored.settings.model_copy(update=moved), origins=stored.origins)


def compose(values: Mapping[str, tuple[Any, str]], kind: type[Tree]) -> Composed[Tree]:
    """Return the tree of `values`, each (value, origin) by dotted name.

    Raises:
        UsageError: an unknown name or a value that is not allowed.
    """
    settings = build_tree({name: value for name, (value, _) in values.items()}, kind)
    return Composed[kind](settings=settings, origins={name: origin for name, (_, origin) in values.items()})  # type: ignore[valid-type]


def read_composed(path: Path, kind: type[Tree]) -> Composed[Tree]:
    """Return the settings in a file that `Composed.write` wrote.

    Raises:
        UsageError: the file is damaged or from another version.
    """
    entries = _read_entries(path)
    if not all({"value", "origin"} <= entry.keys() for entry in entries.values()):
        raise _damaged(path)
    return compose({name: (entry["value"], entry["origin"]) for name, entry in entries.items()}, kind)


def read_section(path: Path, section: str, kind: type[Tree], names: Iterable[str]) -> Tree:
    """Return settings of one section in a file that `Composed.write` wrote, whatever version wrote the others.

    Args:
        path: the file.
        section: dotted name of the section.
        kind: of the section; what is not read of it is as by default.
        names: of the settings in it that are read.

    Raises:
        UsageError: the file is damaged, or one of these values is not allowed.
    """
    entries = _read_entries(path)
    told = {name: entries[f"{section}.{name}"] for name in names if f"{section}.{name}" in entries}
    if not all("value" in entry for entry in told.values()):
        raise _damaged(path)
    return build_tree({name: entry["value"] for name, entry in told.items()}, kind)


def _read_entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _damaged(path) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error}). Restore it, or change its permissions.") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise _damaged(path)
    return entries


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is not a settings file of a run. Restore it, or start the run anew.")


def build_tree(values: Mapping[str, Any], kind: type[Tree]) -> Tree:
    """Return the tree with `values`, by dotted name, in place of defaults.

    Raises:
        UsageError: an unknown name or a value that is not allowed.
    """
    tree: dict[str, Any] = {}
    known = setting_names(kind)
    for name, value in values.items():
        if name not in known:
            raise _unknown_setting(name, known)
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        # One mistake at a time: the first.
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise UsageError(f"The setting {name} = {problem['input']!r} is not allowed: {problem['msg']}.") from error


def flatten(tree: Mapping[str, Any], model: type, prefix: str = "") -> dict[str, Any]:
    """Return a nested dump of settings by dotted name; dictionaries that are values stay whole."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        section = _section(model, name)
        # By the type, not by the value: weights of losses are a dictionary, but one value.
        flat |= flatten(value, section, f"{prefix}{name}.") if section else {f"{prefix}{name}": value}
    return flat


def setting_names(model: type) -> frozenset[str]:
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


def parse_override(text: str, kind: type) -> tuple[str, Any]:
    """Return name and value of "name=value", the value in YAML, the name in full or by an ending that is clear.

    Raises:
        UsageError: not of that form, or there is no such setting.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set takes NAME=VALUE, as in --set training.optimizer.lr=1e-4; this was '{text}'.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not valid YAML.") from error
    if isinstance(parsed, str):
        # A sign that begins a comment in a file is part of a name here.
        parsed = value.strip() if "#" in value and value.strip()[:1] not in {"'", '"'} else parsed
        # YAML reads 1e-4 as text; people mean the number.
        with suppress(ValueError):
            parsed = float(parsed)
    return _full_name(name.strip(), kind), parsed


def _full_name(name: str, kind: type) -> str:
    known = setting_names(kind)
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
