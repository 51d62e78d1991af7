import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_folders import description, write_dataset, write_images

from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.validate import validate_folder
from learnloop.errors import InvalidDataset


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "lamps", samples=6)


@pytest.fixture
def config():
    return DatasetConfig.model_validate(description())


def annotate(folder, **columns):
    pq.write_table(pa.table(columns), folder / "annotations.parquet")


def test_a_good_folder(folder):
    report = validate_folder(folder)
    report.raise_if_wrong()
    assert (report.samples, report.labelled, report.per_class) == (6, 6, {"dark": 3, "bright": 3})


def test_everything_wrong_is_reported_at_once(folder):
    (folder / "images" / "s000.png").write_bytes(b"no image")
    data = (folder / "images" / "s001.png").read_bytes()
    (folder / "images" / "s001.png").write_bytes(data[: len(data) // 2])
    flipped = bytearray((folder / "images" / "s002.png").read_bytes())
    flipped[-20] ^= 1
    (folder / "images" / "s002.png").write_bytes(flipped)
    annotate(
        folder,
        sample_id=["a", "b", "c", "d", "e", "f"],
        path=[
            "images/s000.png",
            "images/s001.png",
            "images/s002.png",
            "../escape.png",
            "images/s003.png",
            "images/s003.png",
        ],
        label=["dark", "bright", "dim", "dim", None, None],
        split=["train", "test", "dev", None, None, None],
    )
    report = validate_folder(folder)
    assert (report.samples, report.labelled, report.per_class) == (6, 4, {"dark": 1, "bright": 1})
    for expected in (
        "sample 'a': images/s000.png is not a readable image",
        "sample 'b': images/s001.png is not a readable image",
        "sample 'c': images/s002.png is not a readable image",
        "sample 'd': there is no file ../escape.png",
        "samples 'e' and 'f' have one file",
        "label 'dim' of c, d is not one of the classes: dark, bright",
        "split 'dev' of c is neither train nor test",
    ):
        assert any(expected in problem for problem in report.problems), expected
    assert len(report.problems) == 7
    with pytest.raises(InvalidDataset, match="cannot be used"):
        report.raise_if_wrong()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: (folder / "dataset.yaml").unlink(), "dataset.yaml does not exist"),
        (lambda folder: (folder / "annotations.parquet").unlink(), "annotations.parquet is missing"),
        (lambda folder: (folder / "annotations.parquet").write_bytes(b"x"), "not a readable Parquet file"),
        (
            lambda folder: annotate(folder, sample_id=pa.array([], pa.string()), path=pa.array([], pa.string())),
            "no sample",
        ),
        (lambda folder: annotate(folder, sample_id=["a"], path=["images/s000.png"]), "too few labels"),
    ],
)
def test_one_thing_wrong(folder, spoil, problem):
    spoil(folder)
    (found,) = validate_folder(folder).problems
    assert problem in found


def test_a_batch_needs_no_tables(tmp_path, config):
    write_images(tmp_path / "batch" / "deep", ["x.1", "y"], range(2))
    report = validate_folder(tmp_path / "batch", config, require_labels=False)
    assert (report.samples, report.labelled, report.problems) == (2, 0, [])


def test_a_wrong_batch(tmp_path, config):
    (tmp_path / "batch").mkdir()
    assert validate_folder(tmp_path / "batch", config, require_labels=False).problems == ["there is no sample"]
    write_images(tmp_path / "batch", ["x"], [0])
    (tmp_path / "batch" / "x.txt").write_text("notes")
    (problem,) = validate_folder(tmp_path / "batch", config, require_labels=False).problems
    assert "x.png and x.txt have one sample id, 'x'" in problem
    (problem,) = validate_folder(tmp_path / "nowhere", config, require_labels=False).problems
    assert "is not a folder" in problem


def test_an_image_bomb_is_refused(tmp_path, config):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    (problem,) = validate_folder(tmp_path, config, require_labels=False).problems
    assert "too many pixels" in problem
