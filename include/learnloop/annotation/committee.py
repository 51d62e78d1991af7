"""Who votes when a query strategy needs a committee: the model that scores, and those accepted before it.

Nothing more is trained for it. What it costs is serving: each member is loaded beside the others while a batch is scored,
and each sample is predicted once a member. Successive models agree more than independently trained ones would.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.annotation import strategies
from learnloop.database import Dataset, DatasetVersion, Round
from learnloop.datasets.schema import QueryConfig


def members(session: Session, dataset: Dataset, query: QueryConfig, *, model_name: str, current: int) -> list[int]:
    """The model versions that vote, the current one first and then the newest; none when the strategy needs none.

    At most ``query.committee``, and fewer when not so many have been accepted yet: a committee of one chooses as
    ``margin_sampling`` does. Models of an older schema (another major version of the dataset) know other classes and do
    not vote.
    """
    if not strategies.find(query.strategy).needs_committee:
        return []
    accepted = (
        select(Round.model_version)
        .join(DatasetVersion, DatasetVersion.id == Round.version_id)
        .where(
            Round.dataset_id == dataset.id,
            Round.state == "accepted",
            Round.model_name == model_name,
            Round.model_version.is_not(None),
            Round.model_version != current,
        )
        .order_by(Round.number.desc())
        .limit(query.committee - 1)
    )
    if dataset.head is not None:
        accepted = accepted.where(DatasetVersion.major == dataset.head.major)
    return [current, *(version for version in session.scalars(accepted) if version is not None)]
