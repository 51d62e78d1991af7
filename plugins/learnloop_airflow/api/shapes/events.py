"""Events, and who is told of them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


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
