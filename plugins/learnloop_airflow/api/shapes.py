"""What routes answer with, where no dataclass of the domain says it already. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from learnloop.annotation.quality.throughput import PersonDay
from learnloop.datasets.waiting import Place
from learnloop.loop.balance import ClassCount
from learnloop.models.promotion import Moved

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """``next`` is the cursor of the following page, or null."""

    items: list[Item]
    next: str | None


class SessionItem(BaseModel):
    name: str
    roles: list[str]
    permissions: list[str]


class Refreshed(BaseModel):
    """``access_token`` only for who sent one as Bearer; a browser gets a cookie."""

    expires_at: datetime
    access_token: str | None = None


class LoggedOut(BaseModel):
    logged_out: bool


class Health(BaseModel):
    status: Literal["healthy"]
    version: str


class DatasetItem(BaseModel):
    """``head`` is the newest shared version."""

    name: str
    task_type: str
    description: str
    classes: list[str]
    head: str | None
    owner: str
    created_at: datetime


class StyledClass(BaseModel):
    """``color`` is ``#rrggbb``, ``key`` a digit or capital letter; null where nobody chose."""

    label: str
    color: str | None
    key: str | None


class GuideItem(BaseModel):
    """``instructions`` are Markdown. ``updated_by`` and ``updated_at`` are null until somebody has written one."""

    instructions: str
    classes: list[StyledClass]
    updated_by: str | None
    updated_at: datetime | None


class VersionItem(BaseModel):
    name: str
    tree: str
    files: int
    bytes: int
    message: str
    provenance: dict[str, Any]
    parents: list[str]
    owner: str
    created_at: datetime


class VersionMade(BaseModel):
    name: str
    dataset: str
    tree: str
    files: int
    bytes: int


class Restored(BaseModel):
    version: str
    target: str
    files: int


class BatchItem(BaseModel):
    name: str
    samples: int
    tree: str
    owner: str
    created_at: datetime


class RoundItem(BaseModel):
    number: int
    state: str
    reason: str
    labels: int | None
    base_version: str | None
    version: str | None
    model_name: str | None
    parent_model_version: int | None
    model_version: int | None
    metrics: dict[str, Any]
    owner: str
    created_at: datetime
    started_at: datetime | None
    served_at: datetime | None
    finished_at: datetime | None


class RoundOpened(BaseModel):
    number: int
    state: str
    run_id: str


class Balance(BaseModel):
    items: list[ClassCount]


class LockItem(BaseModel):
    """A lease on a dataset. ``token`` is its fencing token; 0 for a read lease, which writes nothing."""

    mode: Literal["read", "write"]
    token: int
    owner: str
    purpose: str
    created_at: datetime
    expires_at: datetime


class BranchItem(BaseModel):
    name: str
    owner: str
    purpose: str
    expires_at: datetime


class Leases(BaseModel):
    locks: list[LockItem]
    waiting: list[Place]
    branches: list[BranchItem]


class Released(BaseModel):
    released: bool


class Withdrawn(BaseModel):
    withdrawn: bool


class MergeItem(BaseModel):
    """``ours`` is the head, ``theirs`` is merged into it; ``version`` is what came of it."""

    id: int
    dataset: str
    state: Literal["open", "merged", "cancelled"]
    ours: str
    theirs: str
    base: str | None
    version: str | None
    message: str
    owner: str
    created_at: datetime


class ConflictItem(BaseModel):
    """``values`` are the three sides'; ``shown`` are the same in words."""

    id: int
    kind: Literal["file", "record", "setting"]
    path: str
    key: str
    field: str
    values: dict[str, Any]
    shown: dict[str, str]
    advice: dict[str, Any]
    answer: Literal["ours", "theirs", "base"] | None
    answer_reason: str
    answered_by: str | None


class MergeDetails(MergeItem):
    conflicts: list[ConflictItem]


class MergeAnswer(MergeItem):
    """How a merge stands: the number of its conflicts, and of those without an answer."""

    conflicts: int
    unanswered: int
    notes: list[str]


class WorkspaceItem(BaseModel):
    """``state`` is ``expired`` for one that can still be used, until ``removed_at``."""

    name: str
    dataset: str
    base: str
    path: str
    state: str
    writable: bool
    bytes: int
    created_at: datetime
    expires_at: datetime | None
    removed_at: datetime | None


class Committed(BaseModel):
    name: str
    files: int
    bytes: int


class Discarded(BaseModel):
    discarded: bool


class TaskItem(BaseModel):
    """``chosen_by``: the query strategy and its figures. ``prediction``: what the model guesses."""

    id: int
    dataset: str
    sample_id: str
    task_type: str
    path: str
    content_type: str
    content_url: str
    prediction: dict[str, Any]
    classes: list[str]
    chosen_by: dict[str, Any]
    lease_expires_at: datetime | None


class QueuedItem(BaseModel):
    """A task in a list. ``label`` and ``confidence`` are the model's. Of what the caller skipped, ``skip_reason`` is
    told, and ``priority``, ``batch`` and ``created_at`` are null.
    """

    id: int
    sample_id: str
    state: str
    label: str | None
    confidence: float | None
    strategy: str | None
    priority: int | None
    batch: str | None
    created_at: datetime | None
    skip_reason: str | None


class Undone(BaseModel):
    """``task`` is null when somebody else is answering the sample just now."""

    task: TaskItem | None


class ReviewItem(BaseModel):
    """``facts``: what speaks against a suspected label. ``decision`` and what follows are null while it is open."""

    id: int
    dataset: str
    task_id: int
    sample_id: str
    kind: str
    reason: str
    facts: dict[str, Any]
    decision: Literal["confirm", "send_back", "reject"] | None
    label: str | None
    decision_reason: str
    decided_by: str | None
    decided_at: datetime | None
    owner: str
    created_at: datetime


class GivenAnswer(BaseModel):
    """``label`` is null for a skip; ``review`` is set when it is a reviewer's decision."""

    annotator: str
    label: str | None
    comment: str
    seconds: float | None
    outcome: str
    outcome_reason: str
    review: int | None
    created_at: datetime


class ReviewDetails(ReviewItem):
    """With everything that people said of the sample. ``confirmed_label`` is its label in the confirmed pool."""

    state: str
    confirmed_label: str | None
    content_url: str
    content_type: str
    prediction: dict[str, Any]
    classes: list[str]
    answers: list[GivenAnswer]


class PersonFigures(BaseModel):
    """A rate is null while there is nothing to divide by."""

    annotator: str
    answers: int
    skipped: int
    withdrawn: int
    waiting: int
    confirmed: int
    rejected: int
    gold_answered: int
    gold_right: int
    gold_accuracy: float | None
    accepted: float | None
    median_seconds: float | None
    fast: int


class Throughput(BaseModel):
    items: list[PersonDay]


class PairAgreement(BaseModel):
    people: list[str]
    samples: int
    cohen_kappa: float | None


class Agreement(BaseModel):
    """Beyond chance, from -1 to 1; null where it is not defined. ``samples`` have two answers or more."""

    samples: int
    krippendorff_alpha: float | None
    fleiss_kappa: float | None
    fleiss_answers: int | None
    pairs: list[PairAgreement]


class CheckItem(BaseModel):
    """``reliability``: classes, their priors, and each annotator's confusion (rows: the true class)."""

    answers: int
    confirmed: int
    suspected: int
    reliability: dict[str, Any] | None
    created_at: datetime


class QualityDetails(BaseModel):
    policy: dict[str, Any]
    people: list[PersonFigures]
    agreement: Agreement
    check: CheckItem | None


class Received(BaseModel):
    """``next``: the next task, where it was asked for and there is one."""

    id: int
    task_id: int
    received: Literal[True]
    next: TaskItem | None = None


class Skipped(BaseModel):
    task_id: int
    skipped: Literal[True]


class Renewed(BaseModel):
    task_id: int
    lease_expires_at: datetime | None


class DeploymentItem(BaseModel):
    model_name: str
    alias: str
    model_version: int
    previous_version: int | None
    canary_version: int | None
    canary_percent: int
    generation: int
    owner: str
    updated_at: datetime


class DecisionItem(BaseModel):
    kind: str
    run_id: str
    accepted: bool
    reason: str
    comparison: dict[str, Any]
    owner: str
    created_at: datetime


class EvaluationItem(BaseModel):
    """What the training policy said when it was asked whether a round is due."""

    due: bool
    reason: str
    facts: dict[str, Any]
    created_at: datetime


class StructureSearchItem(BaseModel):
    """One run that asked whether the structure is still right. ``chosen`` is the number of a trial."""

    id: int
    run_id: str
    state: str
    reason: str
    facts: dict[str, Any]
    trials: int
    deadline: datetime | None
    outcome: str
    chosen: int | None
    owner: str
    created_at: datetime
    decided_at: datetime | None


class StructureTrialItem(BaseModel):
    """One structure that was tried; ``accuracy`` is cross-validated, ``model_version`` is as which it is kept."""

    number: int
    state: str
    structure: str
    reason: str
    accuracy: float | None
    latency_ms: float | None
    model_bytes: int | None
    on_front: bool | None
    model_version: int | None
    created_at: datetime
    ended_at: datetime | None


class StructureSearchDetails(StructureSearchItem):
    tried: list[StructureTrialItem]


class ScoringRunItem(BaseModel):
    """One pass of a model over a batch. ``summary``: mean confidence, how many were random, accuracies so far."""

    run_id: str
    batch: str
    model_version: int
    strategy: str
    scored: int
    chosen: int
    summary: dict[str, Any]
    owner: str
    created_at: datetime


class AccuracyItem(BaseModel):
    """Of a model version: how many samples drawn at random for it have a label, and about how many it was right."""

    model_version: int
    labelled: int
    right: int
    accuracy: float
    low: float
    high: float


class Accuracies(BaseModel):
    items: list[AccuracyItem]


class ModelName(BaseModel):
    name: str


class ModelVersionItem(BaseModel):
    name: str
    version: int
    aliases: list[str]
    metrics: dict[str, float | None]
    tags: dict[str, str]
    created_at: datetime


class ModelVersionDetails(ModelVersionItem):
    """``scores`` is what its evaluation measured; null when it was never decided about."""

    scores: dict[str, Any] | None


class SideBySide(BaseModel):
    """``figures`` and ``per_class`` are each ``before``, ``after`` and ``change``."""

    model: str
    before: int
    after: int
    same_data: bool
    figures: dict[str, Any]
    per_class: dict[str, Any]
    confusion: dict[str, Any]


class MovedAliases(BaseModel):
    moved: list[Moved]


class DeliveryItem(BaseModel):
    channel: str
    address: str
    sent_at: datetime | None
    tries: int
    error: str | None
    given_up: bool


class ToldItem(BaseModel):
    """An event that somebody was told of, and where else it was sent."""

    id: int
    at: datetime
    kind: str
    text: str
    link: str | None
    dag_id: str | None
    run_id: str | None
    sent: list[DeliveryItem]


class NotificationsItem(BaseModel):
    mail: str | None
    webhook: str | None
    kinds: list[str]


class TaskProgress(BaseModel):
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    progress: Any


class RunProgress(BaseModel):
    dag_id: str
    run_id: str
    state: str
    tasks: list[TaskProgress]


class NextBestClass(BaseModel):
    """``more``: so much more all mounts would cost together with this one there."""

    storage_class: str
    more: float


class MountChoiceItem(BaseModel):
    """Where a mount goes. ``refused``: why not into the other storage classes, by their names."""

    mount: str
    storage_class: str
    cost: float
    next_best: NextBestClass | None
    refused: dict[str, str]


class MountEstimate(BaseModel):
    """``cost`` is for as long as each mount stays; ``explanation`` is the same in words."""

    currency: str
    cost: float
    choices: list[MountChoiceItem]
    explanation: list[str]


class TaskMounts(MountEstimate):
    task_id: str
    map_index: int
    owner: str
    pipeline: str
    created_at: datetime


class RunMounts(BaseModel):
    items: list[TaskMounts]


class EventItem(BaseModel):
    """``user`` is null for who is not known, ``status`` the HTTP status."""

    id: int
    at: datetime
    user: str | None
    action: str
    resource: str
    outcome: str
    status: int
    address: str
    request_id: str


class AmountsItem(BaseModel):
    """``cpu`` in cores, ``memory`` in bytes, ``gpu`` in devices."""

    cpu: float
    memory: int
    gpu: int


class PoolItem(BaseModel):
    """Of a node pool (null: the nodes of none): all it has, what others than jobs of ours use, what our jobs hold."""

    pool: str | None
    nodes: int
    total: AmountsItem
    others: AmountsItem
    held: AmountsItem


class CapacityInfo(BaseModel):
    """As it was when it was last decided who begins; ``decided_at`` is null, and ``pools`` empty, until that was."""

    admission: str
    decided_at: datetime | None
    pools: list[PoolItem]


class QueueItem(BaseModel):
    """A job that holds its part of a node (``state``: ``admitted`` or ``begun``), or waits for it at ``place`` in line.

    ``cpu`` in cores, ``memory`` in bytes. ``planned_at`` is when it is planned to begin as things are.
    """

    id: int
    user: str
    state: str
    place: int | None
    reason: str
    cpu: float
    memory: int
    gpu: int
    node_pool: str | None
    node: str | None
    priority: int
    asked_at: datetime
    planned_at: datetime | None
    admitted_at: datetime | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
