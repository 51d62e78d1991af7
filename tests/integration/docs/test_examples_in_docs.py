"""The examples in the documentation, run as they stand there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from learnloop.annotation.strategies import STRATEGIES
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.remotes import fetch, open_remote, push
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.remotes.objects import names
from learnloop.datasets.schema import parse_config
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.validate import validate_folder
from learnloop.errors import NotFound
from learnloop.mounts.plan import choose, parse_mounts
from learnloop.mounts.providers import ALL, PROVIDERS
from learnloop.mounts.table import load_table
from learnloop.pipelines.checking import check, limits_of
from learnloop.pipelines.reading import read_declaration
from learnloop.settings import load
from learnloop.training.trainers import TRAINERS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted(ROOT.joinpath("docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code; ``name`` is what its first comment calls the file."""

    page: str
    language: str
    code: str

    @property
    def name(self) -> str:
        return self.code.splitlines()[0].removeprefix("# ").partition(":")[0]


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if language in languages:
                yield Block(page.name, language, code)


def block(page: str, name: str) -> str:
    (found,) = (one for one in blocks("python", "yaml") if (one.page, one.name) == (page, name))
    return found.code


def run(page: str, name: str) -> dict[str, Any]:
    """Run an example; returns what it defined."""
    module = ModuleType("example")
    exec(compile(block(page, name), f"{page}: {name}", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def contract(path: str) -> ModuleType:
    """A file of contract tests, to be called by hand."""
    spec = importlib.util.spec_from_file_location("contract", ROOT / "tests" / "unit" / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["contract"] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "name", "folder", "samples", "labelled"),
    [
        ("quick-start.md", "make_stripes.py", "stripes", 60, 60),
        ("quick-start.zh.md", "make_stripes.py", "stripes", 60, 60),
        ("bring-your-own.md", "make_messages.py", "messages", 8, 7),
        ("bring-your-own.md", "make_wines.py", "wines", 4, 4),
    ],
)
def test_a_dataset_becomes_a_version_that_can_be_trained_on(
    page: str, name: str, folder: str, samples: int, labelled: int, db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, name)
    report = validate_folder(tmp_path / folder)
    report.raise_if_wrong()
    assert (report.samples, report.labelled) == (samples, labelled)
    store = Store(tmp_path / "store")
    first = snapshot(db, store, tmp_path / folder, owner="ana")
    assert first.name == f"{folder}_v1.0"
    ready = preprocess(db, store, first, owner="ana")
    tree = store.read_tree(ready.tree)
    features, annotations = (
        pq.read_table(io.BytesIO(store.read(tree[name]))) for name in ("features.parquet", "annotations.parquet")
    )
    split = annotations["split"].to_pylist()
    assert features.num_rows == samples
    assert sum(side is not None for side in split) == labelled


def test_new_samples_of_the_quick_start_can_be_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from learnloop.datasets.recipes import recipe_of
    from learnloop.datasets.schema import read_config

    monkeypatch.chdir(tmp_path)
    run("quick-start.md", "make_stripes.py")
    recipe = recipe_of(read_config(tmp_path / "stripes"))
    new = sorted((tmp_path / "stripes-new").iterdir())
    assert len(new) == 60
    assert np.isfinite([recipe.row(path.read_bytes(), path.name) for path in new]).all()


def test_a_trainer_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    (settings,) = yaml.safe_load(block("bring-your-own.md", "dataset.yaml, of it")).values()
    monkeypatch.setitem(TRAINERS, "bayes", run("bring-your-own.md", "bayes.py")["BayesTrainer"])
    promised = contract("training/test_trainer_contract.py")
    X, y = load_digits(return_X_y=True)
    task = promised.Task("image_classification", X[:450] / 16, y[:450], tuple("0123456789"), 0.75)
    assert task.trainer("bayes", **settings["trainer"]["parameters"]).smoothing == 0.05
    promised.test_learns_repeats_itself_and_comes_back_from_its_file("bayes", task, tmp_path)
    promised.test_a_class_nobody_has_seen_and_a_class_of_one_sample("bayes", task)


def test_a_strategy_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "half_sure", STRATEGIES["random"])  # so that in the end it is taken away again
    promised = contract("annotation/test_strategy_contract.py")
    run("bring-your-own.md", "doubtful.py")
    assert STRATEGIES["half_sure"] != STRATEGIES["random"]
    asked = [
        one
        for name, one in vars(promised).items()
        if name.startswith("test_") and list(inspect.signature(one).parameters) == ["name"]
    ]
    assert len(asked) > 3
    for one in asked:
        one("half_sure")


def test_a_protocol_of_ones_own_is_a_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILER", str(tmp_path / "filer"))
    fsspec.register_implementation("filer", run("bring-your-own.md", "filer.py")["Filer"], clobber=True)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.bin").write_bytes(bytes([number]) * 2000)
    store, there = Store(tmp_path / "store"), open_remote("filer://datasets/learnloop")
    there.check(writing=True)
    tree = store.write_tree(store.add_folder(folder)[0])
    assert (push(store, there, [tree]).objects, push(store, there, [tree]).objects) == (13, 0)
    assert there.held([tree]) == {tree: store.path_of(tree).stat().st_size}
    assert {one.name for one in there.listed()} == set(names(store))
    assert all((tmp_path / "filer/datasets/learnloop" / relative_path(name)).is_file() for name in names(store))
    other = Store(tmp_path / "other")
    assert fetch(other, there, [tree]).objects == 13
    assert {name: other.path_of(name).read_bytes() for name in names(other)} == {
        name: store.path_of(name).read_bytes() for name in names(store)
    }
    there.remove(relative_path(tree))
    assert there.held([tree]) == {}
    with pytest.raises(NotFound):
        there.get(tree, tmp_path / "gone")


def test_storage_is_planned_for(tmp_path: Path) -> None:
    table = tmp_path / "storage.yaml"
    table.write_text(block("bring-your-own.md", "storage.yaml"))
    needs = parse_mounts(yaml.safe_load(block("bring-your-own.md", "needs.yaml")))
    plan = choose(needs, load_table(str(table), "kubernetes"))
    assert {choice.mount.name: choice.storage_class.name for choice in plan.choices} == {
        "scratch": "scratch",
        "archive": "shared",
    }
    assert plan.cost > 0


def test_a_provider_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "lustre", PROVIDERS["ssd"])  # so that in the end it is taken away again
    run("bring-your-own.md", "lustre.py")
    text = block("bring-your-own.md", "storage.yaml").replace("provider: nfs", "provider: lustre")
    tmp_path.joinpath("storage.yaml").write_text(text)
    assert load_table(str(tmp_path / "storage.yaml"), "kubernetes").classes["shared"].modes == ALL


def test_airflow_takes_the_dag(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    tmp_path.joinpath("nightly.py").write_text(block("bring-your-own.md", "nightly.py"))
    bag = BundleDagBag(dag_folder=tmp_path, bundle_path=tmp_path, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert [task.task_id for task in bag.dags["nightly"].topological_sort()] == [
        "read_lease",
        "train",
        "evaluate",
        "release_lease",
    ]


@pytest.mark.parametrize("one", list(blocks("python")), ids=lambda one: f"{one.page}:{one.name}")
def test_what_python_imports_of_ours_is_there(one: Block) -> None:
    for node in ast.walk(ast.parse(one.code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("learnloop"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_declarations_are_what_the_program_takes() -> None:
    """Each piece of YAML that is (a part of) a ``dataset.yaml`` or a pipeline."""
    looked_at = 0
    for page in PAGES:
        for text in _yaml_of(page.read_text()):
            given = yaml.safe_load(text)
            if "stages" in given:
                declared = read_declaration(text)
                limits = limits_of(load({"LEARNLOOP_HOME": "/tmp", "LEARNLOOP_JOB_IMAGES": "*"}))
                check(declared, limits, missing=lambda wanted: None)
            else:
                parse_config(yaml.safe_dump(_completed(given)).encode(), page.name)
            looked_at += 1
    assert looked_at > 10


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """A part of a ``dataset.yaml`` with what else it must have."""
    sections = {"text": "text_classification", "tabular": "tabular_classification"}
    kind = next((sections[name] for name in sections if name in given), "image_classification")
    rest = {"name": "animals", "task_type": kind, "classes": ["cat", "dog"]}
    if kind == "image_classification":
        rest["image"] = {"width": 8, "height": 8, "mode": "L"}  # type: ignore[assignment]
    return {**rest, **{name: value for name, value in given.items() if value is not ...}}


def _yaml_of(text: str) -> Iterator[str]:
    fenced = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?<=\n\n)((?:    [^\n]*\n|\n(?=    ))+)", text)
    for piece in [*fenced, *(re.sub(r"^    ", "", one, flags=re.MULTILINE) for one in indented)]:
        begins = re.match(r"(?:# dataset.yaml[^\n]*\n)?(?:name|loop|image|text|tabular|stages): *", piece)
        if begins and "..." not in piece:
            yield piece
