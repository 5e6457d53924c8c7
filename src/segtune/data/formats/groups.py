"""Patients, scenes and videos: which images belong together, from a table beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.data.formats.tree import Tree, name_of, stem_of

TABLE = "groups.csv"
_TABLES = (TABLE, "metadata.csv")
_GROUP_COLUMNS = (
    "group", "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "scene", "scene_id",
    "video", "video_id", "sequence", "sequence_id",
)  # fmt: skip
_NAME_COLUMNS = ("name", "image", "file", "filename", "file_name", "image_name", "image_id", "id")

Groups = tuple[str | None, ...]


def read_groups(tree: Tree, names: Sequence[str]) -> tuple[Groups, tuple[str, ...]]:
    """Return the group of each image, and a note on where they come from.

    Read from `groups.csv` or `metadata.csv` in the data folder: a column named group, patient, subject, case, scene,
    video or sequence (also with _id), and one that names the images by path, file name or stem.

    A metadata.csv that cannot be read is told in a note: it may have nothing to do with groups.

    Raises:
        DataError: groups.csv is broken.
    """
    for table in _TABLES:
        if table in tree.files.get("", ()):
            try:
                column, group_of = _read_table(tree.root / table)
            except DataError as error:
                if table == TABLE:
                    raise
                return (None,) * len(names), (f"No groups are taken from a table: {error}",)
            if group_of:
                groups = tuple(_look_up(group_of, name) for name in names)
                known = sum(group is not None for group in groups)
                note = f"Groups are the column '{column}' of {table}: {len(set(groups) - {None})} for {known} images."
                return groups, (note,)
    return (None,) * len(names), ()


def write_groups(folder: Path, groups: Sequence[tuple[str, str | None]]) -> None:
    """Write the table that `read_groups` reads, when there is any group."""
    if any(group is not None for _, group in groups):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "group"])
        writer.writerows((name, group) for name, group in groups if group is not None)
        write_text(folder / TABLE, text.getvalue())


def _read_table(path: Path) -> tuple[str, dict[str, str]]:
    try:
        # Spreadsheets put a byte order mark in front, and separate by semicolons in many countries.
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = list(csv.DictReader(io.StringIO(text), delimiter=separator))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"The table {path} cannot be read ({error}). Save it as CSV in UTF-8, or remove it.") from error
    # What a row has beyond the header comes under the key None.
    columns = {(name or "").strip().lower(): name for name in (rows[0] if rows else {}) if name is not None}
    group = next((columns[name] for name in _GROUP_COLUMNS if name in columns), None)
    if group is None:
        return "", {}
    named = next((columns[name] for name in _NAME_COLUMNS if name in columns), next(iter(columns.values())))
    return group, {row[named].strip(): row[group].strip() for row in rows if row[named] and row[group]}


def _look_up(group_of: dict[str, str], name: str) -> str | None:
    for key in (name, name_of(name), stem_of(name)):
        if key in group_of:
            return group_of[key]
    return None
