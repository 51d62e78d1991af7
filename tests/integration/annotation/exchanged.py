"""A dataset of images, texts or rows whose tasks and labels are exchanged."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.exchange.exporting import export
from learnloop.annotation.exchange.importing import Imported, import_tasks
from learnloop.annotation.queue import claim
from learnloop.database import AnnotationTask, Batch, Dataset
from learnloop.datasets.store import Store

CLASSES = ["cat", "dog", 'a "dog" & <eel>', "犬"]
ENDINGS = {"image_classification": "png", "text_classification": "txt", "tabular_classification": "json"}


@dataclass
class Exchanged:
    db: Session
    store: Store
    folder: Path
    batch: Batch
    samples: list[str]

    def bring(self, content: bytes | str, ending: str, **options: Any) -> Imported:
        file = self.folder / f"in.{ending}"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        done = import_tasks(self.db, self.store, self.batch.dataset, self.batch, file, owner="sue", **options)
        self.db.commit()
        return done

    def answer(self, labels: Sequence[str]) -> None:
        """The samples' labels, in their order."""
        given = dict(zip(self.samples, labels, strict=True))
        while (task := claim(self.db, self.batch.dataset_id, "ben", lease_seconds=300)) is not None:
            submit(self.db, task.id, "ben", given[task.sample_id], seconds=2.5, comment='said "so", he')
        self.db.commit()

    def out(self, form: Any) -> bytes:
        file = io.BytesIO()
        export(self.db, self.store, self.batch.dataset, form, file)
        return file.getvalue()

    def paths(self) -> list[tuple[str, str]]:
        mine = select(AnnotationTask).where(AnnotationTask.dataset_id == self.batch.dataset_id)
        return sorted((task.sample_id, task.path) for task in self.db.scalars(mine))

    def lose(self, number: int) -> None:
        """Take the bytes of a sample out of the store."""
        mine = select(AnnotationTask.object).where(AnnotationTask.sample_id == self.samples[number])
        self.store.remove(self.db.scalars(mine).one())


def exchanged(
    db: Session, tmp_path: Path, kind: str, shown: Sequence[Any], *, name: str = "pets", imported: bool = True
) -> Exchanged:
    """A batch ``arrived`` of a sample each of ``shown``; with ``imported`` a task for each."""
    folder = tmp_path / name
    (folder / "batch" / "a b").mkdir(parents=True)
    for number, one in enumerate(shown):
        # An image is shown by its path: any bytes do.
        content = one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)
        (folder / "batch" / "a b" / f"{number}.{ENDINGS[kind]}").write_text(content, encoding="utf-8")
    store = Store(tmp_path / "store")
    dataset = Dataset(name=name, task_type=kind, loop={"classes": CLASSES, "policy": {"labels": 1000}}, owner="ada")
    db.add(dataset)
    db.flush()
    tree = store.write_tree(store.add_folder(folder / "batch")[0])
    batch = Batch(dataset_id=dataset.id, name="arrived", tree=tree, samples=len(shown), owner="ada")
    db.add(batch)
    db.commit()
    made = Exchanged(db, store, folder, batch, [f"a b/{number}" for number in range(len(shown))])
    if imported:
        made.bring("sample_id\n" + "\n".join(made.samples) + "\n", "csv")
    return made
