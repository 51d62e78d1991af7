"""``dataset.yaml``: what a dataset is and how its loop runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from learnloop.errors import InvalidDataset

CONFIG_FILE = "dataset.yaml"
MAX_CONFIG_BYTES = 1 << 20
MOST_CONFUSED = 100  # classes: Dawid-Skene keeps k x k numbers an annotator
LATER_TASK_TYPES = ("text_classification", "tabular_classification")

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    # Strict: `classes: [0, 1]` and `width: "8"` are mistakes to tell of, not to guess about.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ImageConfig(_Part):
    """What every image is brought to before a model sees it: pixels and a Pillow mode."""

    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)
    mode: Literal["L", "RGB"] = "L"


class SplitConfig(_Part):
    """The share of labelled samples that preprocessing sets aside as the test set."""

    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class QueryConfig(_Part):
    """Which samples people are asked about; ``budget`` is how many of one batch.

    ``random_share`` of them are any, so that it is known how good the model is on new data. ``committee`` is how many
    models vote for a strategy that needs a committee: the current one and those accepted before it.
    """

    strategy: str = Field(default="diverse_mini_batch", max_length=100)
    budget: int = Field(default=40, ge=1, le=100_000)
    random_share: float = Field(default=0.1, ge=0, le=1)
    committee: int = Field(default=3, ge=2, le=10)

    @field_validator("strategy")
    @classmethod
    def _known(cls, strategy: str) -> str:
        from learnloop.annotation.strategies import STRATEGIES

        if strategy not in STRATEGIES:
            known = ", ".join(sorted(STRATEGIES))
            raise ValueError(f"there is no query strategy {strategy!r}; there are: {known}")
        return strategy


class PolicyConfig(_Part):
    """When a round trains: at this many confirmed labels that no round has used."""

    labels: int = Field(default=40, ge=1, le=1_000_000)


class QualityConfig(_Part):
    """How answers are checked (docs/annotation-quality.md): one task in ``gold_every`` is gold, of ``gold_questions`` known
    samples; ``overlap`` people answer a sample, or that share of them; what nobody agrees on goes to a reviewer.
    """

    gold_every: int = Field(default=10, ge=2, le=1000)
    gold_questions: int = Field(default=20, ge=1, le=10_000)
    lease_seconds: int = Field(default=300, ge=1, le=86_400)
    check: Literal["gold", "none", "review"] = "gold"
    overlap: int = Field(default=1, ge=1, le=20)
    overlap_share: float = Field(default=1.0, gt=0, le=1)
    consensus: Literal["majority", "dawid_skene"] = "majority"
    agreement: float = Field(default=0.6, ge=0.5, le=1)
    most_opinions: int = Field(default=5, ge=2, le=50, validate_default=True)
    fast_answers: Literal["accept", "second_opinion", "review"] = "accept"
    fast_ratio: float = Field(default=0.2, gt=0, lt=1)
    suspicion: Literal["accept", "review"] = "review"

    @field_validator("most_opinions")
    @classmethod
    def _enough(cls, most: int, others: ValidationInfo) -> int:
        if most < others.data.get("overlap", 1):
            raise ValueError(f"must be at least overlap ({others.data['overlap']}): nobody would be asked so often")
        return most


class GateConfig(_Part):
    """When a new model is accepted: its gain in accuracy, and the worst drop of any one class (0 to 1)."""

    min_gain: float = Field(default=0.0, ge=-1, le=1)
    max_class_drop: float = Field(default=0.1, ge=0, le=1)


class TrainerConfig(_Part):
    """Which trainer, and the widths of its hidden layers."""

    name: str = Field(default="mlp", pattern=r"^[a-z][a-z0-9_]{0,99}$")
    hidden: list[Annotated[int, Field(ge=1, le=8192)]] = Field(default=[32], min_length=1, max_length=10)


class LoopConfig(_Part):
    query: QueryConfig = QueryConfig()
    policy: PolicyConfig = PolicyConfig()
    quality: QualityConfig = QualityConfig()
    gate: GateConfig = GateConfig()
    trainer: TrainerConfig = TrainerConfig()


class DatasetConfig(_Part):
    """The content of a ``dataset.yaml``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    task_type: Literal["image_classification"]
    description: str = Field(default="", max_length=10_000)
    classes: list[ClassName] = Field(min_length=2, max_length=10_000)
    image: ImageConfig
    split: SplitConfig = SplitConfig()
    loop: LoopConfig = LoopConfig()

    def stored_loop(self) -> dict[str, Any]:
        """What ``Dataset.loop`` holds: the loop section, and the classes, so that nobody opens the store for them."""
        return {**self.loop.model_dump(), "classes": self.classes}

    @model_validator(mode="after")
    def _few_enough_to_confuse(self) -> Self:
        if self.loop.quality.consensus == "dawid_skene" and len(self.classes) > MOST_CONFUSED:
            raise ValueError(
                f"loop.quality.consensus: dawid_skene is for at most {MOST_CONFUSED} classes, and there are"
                f" {len(self.classes)}: use majority"
            )
        return self

    @field_validator("task_type", mode="before")
    @classmethod
    def _in_this_release(cls, value: Any) -> Any:
        if value in LATER_TASK_TYPES:
            raise ValueError(f"{value} is not in this release; image_classification is")
        return value

    @field_validator("classes")
    @classmethod
    def _unique(cls, classes: list[str]) -> list[str]:
        repeated = [name for name, count in Counter(classes).items() if count > 1]
        if repeated:
            raise ValueError(f"classes must differ; more than once: {', '.join(repeated)}")
        if any(name != name.strip() for name in classes):
            raise ValueError("a class name must not begin or end with white space")
        return classes


def read_config(folder: Path) -> DatasetConfig:
    """Read ``dataset.yaml`` of ``folder``.

    Raises:
        InvalidDataset: the file is missing, is not YAML, or says something wrong (each fault by its field).
    """
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidDataset(f"{path} does not exist: a dataset folder has a {CONFIG_FILE} at its top") from error
    except OSError as error:
        raise InvalidDataset(f"{path} cannot be read: {error.strerror}") from error
    return parse_config(data, str(path))


def loop_config(stored: Mapping[str, Any]) -> LoopConfig:
    """The loop section in what ``Dataset.loop`` holds (``DatasetConfig.stored_loop``)."""
    return LoopConfig.model_validate({name: part for name, part in stored.items() if name != "classes"})


def parse_config(data: bytes, where: str) -> DatasetConfig:
    """Parse the bytes of a ``dataset.yaml``; ``where`` names the file in errors.

    Raises:
        InvalidDataset: as ``read_config``.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidDataset(f"{where} is larger than 1 MiB: it should hold a few lines of YAML")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidDataset(f"{where} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise InvalidDataset(f"{where} must hold a mapping (name:, task_type:, classes:, ...)")
    try:
        return DatasetConfig.model_validate(content)
    except ValidationError as error:
        raise InvalidDataset(f"{where} is not a valid dataset description:", _problems(error)) from error


def _problems(error: ValidationError) -> list[str]:
    # What several fields together make wrong has no place of its own; its message names them.
    return [
        ": ".join(filter(None, (_place(fault["loc"]), _text(fault["type"], fault["msg"])))) for fault in error.errors()
    ]


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f"{'.' if place else ''}{part}"
    return place


def _text(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a known field"
    if kind == "string_type":
        return 'must be text (quote it, as "0")'
    return message.removeprefix("Value error, ")
