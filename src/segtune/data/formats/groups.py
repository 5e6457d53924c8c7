"""Patients, scenes and videos: which images belong together, from a table beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.data.formats.names import NameIndex
from segtune.data.formats.tree import Tree, composed, stem_of

TABLE = "groups.csv"
_TABLES = (TABLE, "metadata.csv")
_GROUP_COLUMNS = (
    "group", "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "scene", "scene_id",
    "video", "video_id", "sequence", "sequence_id",
)  # fmt: skip
_NAME_COLUMNS = ("name", "image", "file", "filename", "file_name", "image_name", "image_id", "id")

Groups = tuple[str | None, ...]


@dataclass(frozen=True)
class _Table:
    """A table read: its columns by their names in lower case, each with a text per row."""

    path: Path
    columns: Mapping[str, Sequence[str]]

    @property
    def group_column(self) -> str | None:
        """The column that says what belongs together."""
        return next((name for name in _GROUP_COLUMNS if name in self.columns), None)


def read_groups(tree: Tree, names: Sequence[str]) -> tuple[Groups, tuple[str, ...]]:
    """Return the group of each image, and a note on where they come from.

    Read from `groups.csv` or `metadata.csv` in the data folder: a column named group, patient, subject, case, scene,
    video or sequence (also with _id), and one that names the images as a split's list may (`NameIndex`). Of several
    such columns it is the one that names the most images.

    A metadata.csv that cannot be read, or names none of the images, is told in a note: it may have nothing to do with
    them.

    Raises:
        DataError: groups.csv is broken, or gives no image a group.
    """
    for name in _TABLES if names else ():
        if name in tree.files.get("", ()):
            try:
                table = _read_table(tree.root / name)
                if name != TABLE and table.group_column is None:
                    continue
                return _look_up(table, names)
            except DataError as error:
                if name == TABLE:
                    raise
                return (None,) * len(names), (f"No groups are taken from a table: {error}",)
    return (None,) * len(names), ()


def write_groups(folder: Path, groups: Sequence[tuple[str, str | None]]) -> None:
    """Write the table that `read_groups` reads, when there is any group."""
    if any(group is not None for _, group in groups):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "group"])
        writer.writerows((name, group) for name, group in groups if group is not None)
        write_text(folder / TABLE, text.getvalue())


def _read_table(path: Path) -> _Table:
    try:
        # Spreadsheets put a byte order mark in front, and separate by semicolons in many countries.
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = list(csv.DictReader(io.StringIO(text), delimiter=separator))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"The table {path} cannot be read ({error}). Save it as CSV in UTF-8, or remove it.") from error
    # What a row has beyond the header comes under the key None.
    columns = [name for name in (rows[0] if rows else {}) if name is not None]
    return _Table(path, {name.strip().lower(): [(row[name] or "").strip() for row in rows] for name in columns})


def _look_up(table: _Table, names: Sequence[str]) -> tuple[Groups, tuple[str, ...]]:
    column = table.group_column
    if column is None:
        raise DataError(
            f"{table.path} has no column of groups. It has {_listed(table.columns) or 'no rows'}; call one 'group' or "
            "'patient', beside one called 'name' that names the images, or remove the table."
        )
    index = NameIndex(dict.fromkeys(names))
    # A column 'name' may hold the patients' names, and another the images'.
    others = [one for one in table.columns if one != column]
    naming = [one for one in _NAME_COLUMNS if one in others] or others[:1]
    found = [_groups_by(table.columns[one], table.columns[column], index) for one in naming]
    group_of = max(found, key=len, default={})
    if not group_of:
        written = ", ".join(f"'{table.columns[one][0]}'" for one in naming)
        raise DataError(
            f"{table.path} gives no image a group: its column '{column}' is for {written or 'nothing'}, but images are "
            f"called such as '{names[0]}'. Write the images' names into a column 'name' and a group beside each, or "
            "remove the table."
        )
    groups = tuple(group_of.get(name) for name in names)
    note = f"Groups are the column '{column}' of {table.path.name}: {len(set(groups) - {None})} for "
    known = sum(group is not None for group in groups)
    return groups, (f"{note}{known} {'images' if known == len(names) else f'of {len(names)} images'}.",)


def _groups_by(written: Sequence[str], groups: Sequence[str], index: NameIndex) -> dict[str, str]:
    """Return the group of each image that a column names."""
    rows = [(name, group) for name, group in zip(written, groups, strict=True) if name and group]
    # What names folders and the extension says more than a bare stem, and comes last, so that it stays.
    rows.sort(key=lambda row: (row[0].count("/") + row[0].count("\\"), stem_of(row[0]) != composed(row[0])))
    return {image: group for name, group in rows for image in index.find(name)}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
