"""Label Studio's own converter reads what the exporter wrote. The converter brings OpenCV and pandas with pins of its own,
so it gets an environment of its own, and the tests are long ones."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from exchanged import CLASSES, exchanged
from sqlalchemy.orm import Session
from test_exchange_kinds import KINDS, SHOWN

CONVERT = """
import sys
from label_studio_sdk.converter import Converter
config, export, out = sys.argv[1:]
converter = Converter(config, project_dir=None)
assert list(converter._schema) == ["label"], converter._schema
for form in ("JSON", "JSON_MIN", "CSV", "TSV"):
    converter.convert(export, f"{out}/{form}", form, is_dir=False)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the converter."""
    environment = tmp_path_factory.mktemp("converter") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    made = environment / "bin" / "python"
    subprocess.run([made, "-m", "pip", "install", "--quiet", "label-studio-sdk"], check=True, capture_output=True)
    return made


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_label_studios_converter_reads_an_export(python: Path, db: Session, tmp_path: Path, kind: str) -> None:
    it = exchanged(db, tmp_path, kind, SHOWN[kind][1])
    labels = CLASSES[1:]
    it.answer(labels)
    (tmp_path / "export.json").write_bytes(it.out("label-studio"))
    (tmp_path / "config.xml").write_bytes(it.out("label-studio-config"))
    places = [tmp_path / name for name in ("config.xml", "export.json", "out")]
    done = subprocess.run([python, "-c", CONVERT, *places], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, shown = SHOWN[kind]
    small = json.loads((tmp_path / "out" / "JSON_MIN" / "result.json").read_text())
    read = sorted(((row["sample_id"], row[name], row["label"]) for row in small), key=lambda row: row[0])
    assert read == list(zip(it.samples, shown, labels, strict=True))
    with (tmp_path / "out" / "CSV" / "result.csv").open(newline="") as file:
        assert sorted(row["label"] for row in csv.DictReader(file)) == sorted(labels)
