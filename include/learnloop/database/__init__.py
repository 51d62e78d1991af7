"""Learnloop's own database: SQLAlchemy models by area, sessions, Alembic migrations."""

from learnloop.database.annotation import (
    Annotation,
    AnnotationTask,
    ConfirmedAnnotation,
    GoldQuestion,
    ScoringRun,
)
from learnloop.database.base import Base
from learnloop.database.datasets import Batch, Dataset, DatasetVersion, DatasetVersionParent, Lock
from learnloop.database.engine import engine, session, tell
from learnloop.database.outbox import IdempotentRequest, OutboxMessage
from learnloop.database.rounds import Decision, PolicyEvaluation, Round, RoundAnnotation
from learnloop.database.serving import Deployment, DeploymentStatus, ModelLease, ServerReplica
from learnloop.database.storage import StoreLease, VersionStorage, VersionUse

__all__ = [
    "Annotation",
    "AnnotationTask",
    "Base",
    "Batch",
    "ConfirmedAnnotation",
    "Dataset",
    "DatasetVersion",
    "DatasetVersionParent",
    "Decision",
    "Deployment",
    "DeploymentStatus",
    "GoldQuestion",
    "IdempotentRequest",
    "Lock",
    "ModelLease",
    "OutboxMessage",
    "PolicyEvaluation",
    "Round",
    "RoundAnnotation",
    "ScoringRun",
    "ServerReplica",
    "StoreLease",
    "VersionStorage",
    "VersionUse",
    "engine",
    "session",
    "tell",
]
