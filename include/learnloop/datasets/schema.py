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
SECTIONS = {"image": "image_classification", "text": "text_classification", "tabular": "tabular_classification"}
"""Which section of a ``dataset.yaml`` says how the samples of a task type are read."""
MOST_CONFUSED = 100  # classes: Dawid-Skene keeps k x k numbers an annotator

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    # Strict: `classes: [0, 1]` and `width: "8"` are mistakes to tell of, not to guess about.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ImageConfig(_Part):
    """What every image is brought to before a model sees it: pixels and a Pillow mode."""

    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)
    mode: Literal["L", "RGB"] = "L"
    # What a model sees: the pixels, or how edges run and colours lie in each part of the image.
    features: Literal["pixels", "gradients"] = "pixels"


class TextConfig(_Part):
    """How a text becomes numbers: its words and runs of up to ``ngrams`` words, hashed to ``features`` counts."""

    features: int = Field(default=2048, ge=16, le=65_536)
    ngrams: int = Field(default=2, ge=1, le=5)
    lowercase: bool = True


class TabularConfig(_Part):
    """The columns of a row: ``number``, or the list of values that a category may have.

    A column in ``optional`` may be missing or null in a row; the model is told that it was.
    """

    columns: dict[Annotated[str, Field(min_length=1, max_length=200)], Literal["number"] | list[ClassName]] = Field(
        min_length=1, max_length=10_000
    )
    optional: list[str] = []

    @field_validator("columns")
    @classmethod
    def _distinct_values(cls, columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, values in columns.items():
            if isinstance(values, list) and (not values or len(set(values)) != len(values)):
                raise ValueError(f"column {name!r} must list at least one value, and each once")
        return columns

    @field_validator("optional")
    @classmethod
    def _known(cls, optional: list[str], info: ValidationInfo) -> list[str]:
        if strange := sorted(set(optional) - set(info.data.get("columns", optional))):
            raise ValueError(f"no column is called {', '.join(strange)}")
        return optional


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
    """When a round trains: at this many confirmed labels that no round has used.

    Or at ``min_labels`` of them, when so many hours have passed since the last training, when what the model predicts
    has drifted by a population stability index of ``drift``, or when its accuracy on new random samples has dropped by
    ``performance_drop``. Never while fewer than the share ``quality`` of gold tasks are answered right.
    """

    labels: int = Field(default=40, ge=1, le=1_000_000)
    min_labels: int = Field(default=1, ge=1, le=1_000_000)
    interval_hours: float | None = Field(default=None, gt=0)
    drift: float | None = Field(default=None, gt=0)
    performance_drop: float | None = Field(default=None, gt=0, lt=1)
    quality: float | None = Field(default=None, gt=0, le=1)


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
    slow_answers: Literal["accept", "second_opinion", "review"] = "accept"
    slow_ratio: float = Field(default=10.0, gt=1, le=1000)
    suspicion: Literal["accept", "review"] = "review"

    @field_validator("most_opinions")
    @classmethod
    def _enough(cls, most: int, others: ValidationInfo) -> int:
        if most < others.data.get("overlap", 1):
            raise ValueError(f"must be at least overlap ({others.data['overlap']}): nobody would be asked so often")
        return most


class GateConfig(_Part):
    """When a new model is accepted: its gain in accuracy, and the worst drop of any one class (0 to 1).

    With ``confident`` the lower end of the gain's 95 % interval has to reach ``min_gain``, not the gain itself. A budget
    that is not given is not looked at. ``approval: person`` asks somebody, whatever the thresholds say.
    """

    min_gain: float = Field(default=0.0, ge=-1, le=1)
    max_class_drop: float = Field(default=0.1, ge=0, le=1)
    confident: bool = False
    max_latency_ms: float | None = Field(default=None, gt=0)
    max_model_bytes: int | None = Field(default=None, ge=1)
    max_ece: float | None = Field(default=None, gt=0, le=1)
    approval: Literal["automatic", "person"] = "automatic"

    def thresholds(self) -> dict[str, Any]:
        """The arguments of ``learnloop.models.gate.decide``."""
        return self.model_dump(exclude={"approval"})


Plain = bool | int | float | str


class TrainerConfig(_Part):
    """Which trainer, the widths of its hidden layers (if it has any), and its own parameters by name."""

    name: str = Field(default="mlp", pattern=r"^[a-z][a-z0-9_]{0,99}$")
    hidden: list[Annotated[int, Field(ge=1, le=8192)]] = Field(default=[32], min_length=1, max_length=10)
    parameters: dict[str, Plain | Annotated[list[Plain], Field(max_length=100)]] = {}


class LiveConfig(_Part):
    """What is kept of the requests that the dataset's models answer (docs/serving.md): nothing, unless it is said here.

    ``record`` is the share of rows that are counted, for drift: no row can be told from the counts. With ``ask_below`` a
    sample whose confidence is lower is kept itself, and people are asked about it: at most ``ask_a_day`` of them.
    """

    record: float = Field(default=0.0, ge=0, le=1)
    ask_below: float | None = Field(default=None, gt=0, le=1)
    ask_a_day: int = Field(default=40, ge=1, le=10_000)


class CanaryConfig(_Part):
    """Whether a round's accepted model is tried on real requests before it answers all (docs/serving.md): on ``percent`` of
    ``realtime``'s, for ``seconds``, in which it must have been asked ``requests`` times.
    """

    percent: int = Field(default=10, ge=1, le=50)
    seconds: float = Field(default=600, gt=0, le=7 * 24 * 3600)
    requests: int = Field(default=100, ge=0, le=1_000_000_000)


class StructureConfig(_Part):
    """When the model's structure is looked at again (docs/structure.md), what may be tried, and how much of it.

    ``trials`` structures at most, the current one among them; none is begun after ``minutes``.
    """

    growth: float = Field(default=1.5, gt=1)
    plateau_rounds: int = Field(default=3, ge=1, le=1000)
    plateau_gain: float = Field(default=0.005, gt=0, lt=1)
    degradation: float = Field(default=0.02, gt=0, lt=1)
    families: list[Literal["mlp", "logistic", "sgd", "boosting"]] = Field(
        default=["mlp", "logistic", "sgd", "boosting"], min_length=1, max_length=4
    )
    trials: int = Field(default=12, ge=2, le=500)
    minutes: float = Field(default=30, gt=0, le=7 * 24 * 60)

    @field_validator("families")
    @classmethod
    def _each_once(cls, families: list[str]) -> list[str]:
        if len(set(families)) != len(families):
            raise ValueError("must name each family once")
        return families


class LoopConfig(_Part):
    structure: StructureConfig = StructureConfig()
    query: QueryConfig = QueryConfig()
    policy: PolicyConfig = PolicyConfig()
    quality: QualityConfig = QualityConfig()
    gate: GateConfig = GateConfig()
    trainer: TrainerConfig = TrainerConfig()
    live: LiveConfig = LiveConfig()
    canary: CanaryConfig | None = None


class DatasetConfig(_Part):
    """The content of a ``dataset.yaml``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    task_type: Literal["image_classification", "text_classification", "tabular_classification"]
    description: str = Field(default="", max_length=10_000)
    classes: list[ClassName] = Field(min_length=2, max_length=10_000)
    image: ImageConfig | None = Field(default=None, validate_default=True)
    text: TextConfig | None = Field(default=None, validate_default=True)
    tabular: TabularConfig | None = Field(default=None, validate_default=True)
    split: SplitConfig = SplitConfig()
    loop: LoopConfig = LoopConfig()

    def stored_loop(self) -> dict[str, Any]:
        """What ``Dataset.loop`` holds: the loop section, and the classes, so that nobody opens the store for them."""
        return {**self.loop.model_dump(), "classes": self.classes}

    @property
    def reading(self) -> ImageConfig | TextConfig | TabularConfig:
        """How samples are read: the section that the task type asks for."""
        found = self.image or self.text or self.tabular
        assert found is not None  # noqa: S101 - the validator below saw to it
        return found

    @model_validator(mode="after")
    def _few_enough_to_confuse(self) -> Self:
        if self.loop.quality.consensus == "dawid_skene" and len(self.classes) > MOST_CONFUSED:
            raise ValueError(
                f"loop.quality.consensus: dawid_skene is for at most {MOST_CONFUSED} classes, and there are"
                f" {len(self.classes)}: use majority"
            )
        return self

    @field_validator(*SECTIONS)
    @classmethod
    def _section_of_the_task(cls, section: Any, info: ValidationInfo) -> Any:
        task, name = info.data.get("task_type"), str(info.field_name)
        if task is None:  # wrong itself, and told of
            return section
        if SECTIONS[name] != task:
            if section is not None:
                raise ValueError(f"is for {SECTIONS[name]}, and this is {task}: take it out")
            return None
        if section is None and name == "text":
            return TextConfig()
        if section is None:
            raise ValueError(f"is missing: {task} needs it")
        return section

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
