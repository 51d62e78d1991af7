"""Learnloop's own database: SQLAlchemy models by area, sessions, Alembic migrations."""

from learnloop.database.annotation import (
    Annotation,
    AnnotationGuide,
    AnnotationTask,
    ConfirmedAnnotation,
    GoldQuestion,
    QualityCheck,
    Review,
    ScoringRun,
)
from learnloop.database.audit import AuditEvent
from learnloop.database.backups import BackupRun
from learnloop.database.base import Base
from learnloop.database.capacity import Capacity, Reservation
from learnloop.database.datasets import LIVE, Batch, Dataset, DatasetVersion, DatasetVersionParent, Lock
from learnloop.database.engine import engine, reading, session, tell
from learnloop.database.events import (
    EVENTS_CHANNEL,
    Event,
    EventDelivery,
    JobProgress,
    NotificationSettings,
)
from learnloop.database.limits import RateLimit
from learnloop.database.locks import LOCKS_CHANNEL, DatasetBranch, DeletedVersion, LockRequest
from learnloop.database.merges import MergeConflict, MergeRequest, Responder
from learnloop.database.mounts import MountPlan
from learnloop.database.outbox import IdempotentRequest, OutboxMessage
from learnloop.database.people import IssuedToken
from learnloop.database.pipelines import Pipeline, PipelineRun, PipelineVersion, StageRun
from learnloop.database.rounds import Decision, PolicyEvaluation, Round, RoundAnnotation
from learnloop.database.serving import (
    CanaryWatch,
    Deployment,
    DeploymentStatus,
    LiveReader,
    LiveReading,
    LiveSample,
    LiveWindow,
    ModelLease,
    ServerReplica,
)
from learnloop.database.storage import StoreLease, VersionStorage, VersionUse
from learnloop.database.structure import StructureSearch, StructureTrial
from learnloop.database.usage import JobUsage
from learnloop.database.workspaces import Workspace

__all__ = [
    "EVENTS_CHANNEL",
    "LIVE",
    "LOCKS_CHANNEL",
    "Annotation",
    "AnnotationGuide",
    "AnnotationTask",
    "AuditEvent",
    "BackupRun",
    "Base",
    "Batch",
    "CanaryWatch",
    "Capacity",
    "ConfirmedAnnotation",
    "Dataset",
    "DatasetBranch",
    "DatasetVersion",
    "DatasetVersionParent",
    "Decision",
    "DeletedVersion",
    "Deployment",
    "DeploymentStatus",
    "Event",
    "EventDelivery",
    "GoldQuestion",
    "IdempotentRequest",
    "IssuedToken",
    "JobProgress",
    "JobUsage",
    "LiveReader",
    "LiveReading",
    "LiveSample",
    "LiveWindow",
    "Lock",
    "LockRequest",
    "MergeConflict",
    "MergeRequest",
    "ModelLease",
    "MountPlan",
    "NotificationSettings",
    "OutboxMessage",
    "Pipeline",
    "PipelineRun",
    "PipelineVersion",
    "PolicyEvaluation",
    "QualityCheck",
    "RateLimit",
    "Reservation",
    "Responder",
    "Review",
    "Round",
    "RoundAnnotation",
    "ScoringRun",
    "ServerReplica",
    "StageRun",
    "StoreLease",
    "StructureSearch",
    "StructureTrial",
    "VersionStorage",
    "VersionUse",
    "Workspace",
    "engine",
    "reading",
    "session",
    "tell",
]
