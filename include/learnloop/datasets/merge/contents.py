"""What three versions hold becomes one: files, keyed tables, ``dataset.yaml``, features."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from learnloop.database import DatasetVersion
from learnloop.datasets.merge.advice import Advisor
from learnloop.datasets.merge.config import CLASSES, ConfigMerge, SettingConflict, merge_configs
from learnloop.datasets.merge.features import merged_features
from learnloop.datasets.merge.records import Record, RecordConflict, RecordMerge, merge_records
from learnloop.datasets.merge.report import ConflictEntry, plain
from learnloop.datasets.merge.trees import Choice, FileConflict, merge_trees
from learnloop.datasets.recipes import recipe_of
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config
from learnloop.datasets.store import Store
from learnloop.datasets.tables import (
    ANNOTATIONS,
    ANNOTATIONS_FILE,
    FEATURES_FILE,
    KEY,
    read_table,
    some,
    write_table,
)
from learnloop.datasets.tree import Tree
from learnloop.errors import InvalidDataset

Settings = dict[str, Any]
Progress = Callable[[int, int], None]

# A label without who gave it and when would be a claim that nobody made.
ANNOTATION_UNITS = (("label", "annotator", "annotated_at"),)


@dataclass(frozen=True)
class Answers:
    """What was chosen: for files by path, for records by table and then key and field, for settings by name."""

    files: Mapping[str, Choice] = field(default_factory=dict)
    records: Mapping[str, Mapping[tuple[str, str], Choice]] = field(default_factory=dict)
    settings: Mapping[str, Choice] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """The merged files, all in the store. Conflicts that nobody answered hold what ours has.

    ``recipe`` names how the features were made; None when there are none. ``problems`` say why the files are no
    proper dataset.
    """

    tree: Tree
    config: DatasetConfig
    recipe: str | None
    conflicts: tuple[ConflictEntry, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def merge_contents(
    store: Store,
    base: DatasetVersion | None,
    ours: DatasetVersion,
    theirs: DatasetVersion,
    *,
    advisor: Callable[[set[str]], Advisor],
    answers: Answers,
    progress: Progress | None = None,
) -> Contents:
    """Merge what ``ours`` and ``theirs`` did since ``base`` (None: they share nothing).

    Args:
        advisor: gives advice about the samples whose ids it is called with.
        progress: told how many of the files that need a look inside are done.

    Raises:
        InvalidDataset: a ``dataset.yaml`` or keyed table of a side is wrong, or the tables of the sides have different
            columns.
    """
    return _Merge(store, base, ours, theirs, answers).run(advisor, progress or (lambda done, total: None))


class _Merge:
    def __init__(
        self,
        store: Store,
        base: DatasetVersion | None,
        ours: DatasetVersion,
        theirs: DatasetVersion,
        answers: Answers,
    ) -> None:
        self.store, self.answers = store, answers
        self.versions = {"ours": ours, "theirs": theirs, **({"base": base} if base is not None else {})}
        self.trees = {side: store.read_tree(version.tree) for side, version in self.versions.items()}
        merged = merge_trees(self.trees.get("base", {}), self.trees["ours"], self.trees["theirs"], answers.files)
        self.entries, self.contested = merged.entries, {conflict.path: conflict for conflict in merged.conflicts}
        self.notes: list[str] = []

    def run(self, advisor: Callable[[set[str]], Advisor], progress: Progress) -> Contents:
        tables = [path for path, conflict in self.contested.items() if self._is_keyed(conflict)]
        total = len(tables) + 2
        progress(0, total)
        records: list[tuple[str, RecordConflict]] = []
        for done, path in enumerate(tables, 1):
            merged = self._records(self.contested.pop(path))
            self.entries[path] = self.store.add_bytes(write_table(merged.table))
            records += [(path, conflict) for conflict in merged.conflicts]
            progress(done, total)

        annotations = self._annotations()
        self._keep_files_of(annotations)
        settings = self._config(annotations)
        config = parse_config(self.store.read(self._entry(CONFIG_FILE)), f"{CONFIG_FILE} of the merge")
        progress(total - 1, total)
        recipe = self._features(config, annotations)
        progress(total, total)

        advice = advisor({conflict.key for path, conflict in records if path == ANNOTATIONS_FILE})
        entries = [
            *(_file_entry(conflict, advice) for conflict in self.contested.values()),
            *(_setting_entry(conflict, advice) for conflict in settings),
            *(_record_entry(path, conflict, advice) for path, conflict in records),
        ]
        unknown = sorted(_labels(annotations) - set(config.classes))
        problems = [f"no class of {CONFIG_FILE}, yet a label in {ANNOTATIONS_FILE}: {some(unknown)}"] if unknown else []
        return Contents(Tree(self.entries), config, recipe, tuple(entries), tuple(self.notes), tuple(problems))

    # --- keyed tables ---

    def _is_keyed(self, conflict: FileConflict) -> bool:
        """Whether both sides have it as a table with a key, of which the records can be merged."""
        path = conflict.path
        if conflict.ours is None or conflict.theirs is None or path == FEATURES_FILE or not path.endswith(".parquet"):
            return False
        return path == ANNOTATIONS_FILE or any(
            KEY in _columns(self.store.read(md5)) for md5 in (conflict.ours, conflict.theirs)
        )

    def _records(self, conflict: FileConflict) -> RecordMerge:
        path = conflict.path
        ours, theirs = (self._table(path, side) for side in ("ours", "theirs"))
        base = ours.slice(0, 0) if conflict.base is None else _as(self._table(path, "base"), ours.schema)
        units = ANNOTATION_UNITS if path == ANNOTATIONS_FILE else ()
        try:
            return merge_records(base, ours, theirs, units=units, choices=self.answers.records.get(path, {}))
        except InvalidDataset as error:
            names = f"{self.versions['ours'].name} and {self.versions['theirs'].name}"
            raise InvalidDataset(f"{path} of {names} cannot be merged: {error}") from error

    def _table(self, path: str, side: str) -> pa.Table:
        where = f"{path} of {self.versions[side].name}"
        schema = ANNOTATIONS if path == ANNOTATIONS_FILE else None
        return read_table(self.store.read(self.trees[side][path]), schema, where).replace_schema_metadata(None)

    def _annotations(self) -> pa.Table:
        data = self.store.read(self._entry(ANNOTATIONS_FILE))
        return read_table(data, ANNOTATIONS, f"{ANNOTATIONS_FILE} of the merge")

    def _keep_files_of(self, annotations: pa.Table) -> None:
        """A record that was kept keeps its file, although a side deleted it."""
        kept = 0
        for path in annotations["path"].to_pylist():
            if path is None or path in self.entries:
                continue
            md5 = next((tree[path] for tree in self.trees.values() if path in tree), None)
            if md5 is not None:
                self.entries[path] = md5
                kept += 1
        if kept:
            self.notes.append(f"{kept} deleted files were kept, since records of {ANNOTATIONS_FILE} name them")

    # --- dataset.yaml ---

    def _config(self, annotations: pa.Table) -> list[SettingConflict]:
        """Merge the settings into the entries; the conflicts among them."""
        conflict = self.contested.get(CONFIG_FILE)
        if conflict is not None and (conflict.ours is None or conflict.theirs is None):
            return []
        self.contested.pop(CONFIG_FILE, None)
        base, ours, theirs = (self._settings(side) for side in ("base", "ours", "theirs"))
        merged = merge_configs(base, ours, theirs, self.answers.settings)
        merged = self._with_classes_for(_labels(annotations), merged, base, ours, theirs)
        self.notes += merged.notes
        if merged.content in (ours, theirs):
            side = "ours" if merged.content == ours else "theirs"
            self.entries[CONFIG_FILE] = self.trees[side][CONFIG_FILE]
        else:
            text = yaml.safe_dump(merged.content, sort_keys=False, allow_unicode=True)
            self.entries[CONFIG_FILE] = self.store.add_bytes(text.encode())
        return list(merged.conflicts)

    def _with_classes_for(
        self, labels: set[str], merged: ConfigMerge, base: Settings, ours: Settings, theirs: Settings
    ) -> ConfigMerge:
        """One side took a class away that the other gave to samples: that is a conflict too."""
        if labels <= set(merged.content.get(CLASSES, [])) or any(c.setting == CLASSES for c in merged.conflicts):
            return merged
        if ours.get(CLASSES) == theirs.get(CLASSES):
            return merged
        values = {"base": base.get(CLASSES), "ours": ours.get(CLASSES), "theirs": theirs.get(CLASSES)}
        content = {**merged.content, CLASSES: values[self.answers.settings.get(CLASSES, "ours")]}
        return ConfigMerge(content, (*merged.conflicts, SettingConflict(CLASSES, **values)), merged.notes)

    def _settings(self, side: str) -> Settings:
        if side not in self.trees or CONFIG_FILE not in self.trees[side]:
            return {}
        data = self.store.read(self.trees[side][CONFIG_FILE])
        parse_config(data, f"{CONFIG_FILE} of {self.versions[side].name}")
        return dict(yaml.safe_load(data))

    # --- features ---

    def _features(self, config: DatasetConfig, annotations: pa.Table) -> str | None:
        """Put the features of the merged samples into the entries, and name their recipe."""
        self.contested.pop(FEATURES_FILE, None)
        had = self.entries.pop(FEATURES_FILE, None)
        recipe = recipe_of(config).hash
        made = [side for side, version in self.versions.items() if version.provenance.get("recipe") == recipe]
        features = merged_features(self.store, [self.trees[side] for side in made], annotations, self.entries)
        if features is None:
            if had is not None or made:
                self.notes.append(f"{FEATURES_FILE} was left out: not each sample has features; preprocess the result")
            return None
        self.entries[FEATURES_FILE] = self.store.add_bytes(write_table(features))
        return recipe

    def _entry(self, path: str) -> str:
        if path not in self.entries:
            raise InvalidDataset(f"the merge would have no {path}: a dataset needs one; keep that of the other side")
        return self.entries[path]


def _columns(data: bytes) -> list[str]:
    """The columns of a Parquet file; none when it is no such file."""
    try:
        return list(pq.ParquetFile(io.BytesIO(data)).schema_arrow.names)
    except pa.ArrowInvalid:
        return []


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with the columns of ``schema``: both sides may have changed them alike since."""
    columns = [
        table.column(column.name)
        if column.name in table.column_names and table.schema.field(column.name).type == column.type
        else pa.nulls(table.num_rows, column.type)
        for column in schema
    ]
    return pa.table(columns, schema=schema)


def _labels(annotations: pa.Table) -> set[str]:
    return set(pc.unique(annotations["label"]).drop_null().to_pylist())


def _file_entry(conflict: FileConflict, advisor: Advisor) -> ConflictEntry:
    newest = advisor.newest()
    return ConflictEntry(
        "file", conflict.path, "", "", conflict.base, conflict.ours, conflict.theirs, newest, advisor.fallback()
    )


def _setting_entry(conflict: SettingConflict, advisor: Advisor) -> ConflictEntry:
    base, ours, theirs = (plain(value) for value in (conflict.base, conflict.ours, conflict.theirs))
    newest, agreed = advisor.newest(), advisor.fallback()
    return ConflictEntry("setting", CONFIG_FILE, "", conflict.setting, base, ours, theirs, newest, agreed)


def _record_entry(path: str, conflict: RecordConflict, advisor: Advisor) -> ConflictEntry:
    base, ours, theirs = (_value(conflict, record) for record in (conflict.base, conflict.ours, conflict.theirs))
    newest = advisor.newest(conflict.ours, conflict.theirs)
    agreed = advisor.fallback(conflict.ours, conflict.theirs)
    if conflict.field == "label":
        agreed = advisor.most_agreed(conflict.key, conflict.ours, conflict.theirs)
    return ConflictEntry("record", path, conflict.key, conflict.field, base, ours, theirs, newest, agreed)


def _value(conflict: RecordConflict, record: Record | None) -> object:
    """What the conflict is about, of one side: a field's value, several fields by name, or the whole record."""
    if record is None:
        return None
    if len(conflict.fields) == 1:
        return plain(record[conflict.field])
    return plain({name: record[name] for name in conflict.fields or record})
