"""Label Studio's own converter reads an export. The converter brings OpenCV and pandas with pins of its own, so it gets
an environment of its own, and the test is a long one."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from learnloop.annotation.exchange import label_studio

CLASSES = ["cat", 'a "dog" & <eel>', "犬"]
CONVERT = """
import sys
from label_studio_sdk.converter import Converter
config, export, out = sys.argv[1:]
converter = Converter(config, project_dir=None)
assert list(converter._schema) == ["label"], converter._schema
for form in ("JSON", "JSON_MIN", "CSV", "TSV"):
    converter.convert(export, f"{out}/{form}", form, is_dir=False)
"""


def record(sample: str, label: str, number: int) -> dict[str, object]:
    return {
        "sample_id": sample,
        "path": f"images/{sample}.png",
        "object": "0" * 32,
        "batch": "b",
        "label": label,
        "annotator": "ann",
        "annotated_at": "2026-01-01T10:00:00+00:00",
        "seconds": 2.5,
        "comment": "",
        "confirmed_id": number,
        "confirmed_at": "2026-01-01T10:00:01+00:00",
        "confirmed_by": "two agree",
        "supersedes": None,
        "superseded_by": None,
        "annotation_id": number,
        "task_id": number,
        "prediction": {
            "label": "cat",
            "confidence": 0.5,
            "probabilities": dict.fromkeys(CLASSES, 1 / 3),
            "model_version": 1,
        },
    }


@pytest.mark.long
@pytest.mark.timeout(900)
def test_label_studios_converter_reads_an_export(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "label-studio-sdk"], check=True, capture_output=True)
    export = tmp_path / "export.json"
    records = [record(f"s{n}", label, n) for n, label in enumerate(CLASSES)]
    export.write_text("".join(label_studio.write([*records, record("s2", "cat", 9)])))
    config = tmp_path / "config.xml"
    config.write_text(label_studio.label_config(CLASSES))
    done = subprocess.run([python, "-c", CONVERT, config, export, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    small = json.loads((tmp_path / "out" / "JSON_MIN" / "result.json").read_text())
    assert {(row["image"], row["sample_id"], row["label"]) for row in small} == {
        *((f"images/s{n}.png", f"s{n}", label) for n, label in enumerate(CLASSES)),
        ("images/s2.png", "s2", "cat"),
    }
    with (tmp_path / "out" / "CSV" / "result.csv").open(newline="") as file:
        assert sorted(row["label"] for row in csv.DictReader(file)) == sorted([*CLASSES, "cat"])
