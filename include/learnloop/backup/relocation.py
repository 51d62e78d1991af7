"""Paths in rows, from where the backed-up machine had its folders to where this one has them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from learnloop.backup import dumps

# (database, table, column): absolute paths, some of which begin with file://
COLUMNS = (
    ("mlflow", "model_versions", "source"),
    ("mlflow", "model_versions", "storage_location"),
    ("learnloop", "scoring_runs", "predictions"),
    ("learnloop", "structure_trials", "models_dir"),
    ("learnloop", "workspaces", "path"),
)


def relocate(urls: Mapping[str, str], before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, int]:
    """Change the paths in a restored database; how many rows, by column."""
    # The longest first: the state directory has the others in it, as a rule.
    moved = sorted(((before[name], now[name]) for name in before if before[name] != now.get(name)), key=_longest)
    changed: dict[str, int] = {}
    if not moved:
        return changed
    for name in {database for database, _, _ in COLUMNS if database in urls}:
        with dumps.connected(name, urls[name]) as connection:
            for database, table, column in COLUMNS:
                if database == name and (rows := _change(connection, table, column, moved)):
                    changed[f"{table}.{column}"] = rows
            connection.commit()
    return changed


def _change(connection: Connection, table: str, column: str, moved: list[tuple[str, str]]) -> int:
    asked = text(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608 - names of COLUMNS
    rows = connection.execute(asked)
    changed = 0
    for (path,) in rows.all():
        if (new := _moved(path, moved)) != path:
            update = text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old")  # noqa: S608 - the same
            changed += connection.execute(update, {"new": new, "old": path}).rowcount
    return changed


def _moved(path: str, moved: list[tuple[str, str]]) -> str:
    scheme = "file://" if path.startswith("file://") else ""
    plain = path.removeprefix("file://")
    for old, new in moved:
        if plain == old or plain.startswith(f"{old}/"):
            return f"{scheme}{new}{plain[len(old) :]}"
    return path


def _longest(pair: tuple[str, str]) -> int:
    return -len(pair[0])
