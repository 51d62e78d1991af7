"""What the client does with reviews and people's quality. Part of ``learnloop.client``. Answers are the API's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from learnloop.client_data import Json, part

if TYPE_CHECKING:
    import httpx


class ReviewMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _get(self, path: str, **params: Any) -> Any: ...
        def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...
        def _write(self, path: str, body: Json, key: str | None = None) -> httpx.Response: ...

    def reviews(self, dataset: str, *, state: str = "open", limit: int | None = None) -> list[Json]:
        """What waits for a reviewer (``open``), or was ``decided``, or ``all``; newest first."""
        return self._all(f"/datasets/{part(dataset)}/reviews", limit, state=state)

    def review(self, review_id: int) -> Json:
        """A review with everything that people said of its sample."""
        return dict(self._get(f"/reviews/{review_id}"))

    def request_review(self, dataset: str, sample_id: str, reason: str = "") -> Json:
        """Have a confirmed label decided anew."""
        body = {"sample_id": sample_id, "reason": reason}
        return dict(self._write(f"/datasets/{part(dataset)}/reviews", body).json())

    def decide(
        self, review_id: int, decision: str, *, label: str | None = None, reason: str = "", key: str | None = None
    ) -> Json:
        """``confirm`` a label, ``send_back`` the sample to the queue, or ``reject`` it; the same again does no harm."""
        body = {"decision": decision, "label": label, "reason": reason}
        return dict(self._write(f"/reviews/{review_id}/decision", body, key).json())

    def my_quality(self, dataset: str) -> Json:
        return dict(self._get(f"/datasets/{part(dataset)}/quality/me"))

    def quality(self, dataset: str) -> Json:
        """Everybody's figures, agreement, the policy, the last check of all answers."""
        return dict(self._get(f"/datasets/{part(dataset)}/quality"))

    def check_quality(self, dataset: str) -> Json:
        """Look at all answers now; suspected labels go to review."""
        return dict(self._write(f"/datasets/{part(dataset)}/quality/checks", {}).json())
