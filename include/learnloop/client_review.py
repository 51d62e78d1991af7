"""What the client does with reviews and people's quality. Part of ``learnloop.client``. Answers are the API's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.client_data import Json, part

if TYPE_CHECKING:
    import httpx


class ReviewMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _get(self, path: str, **params: Any) -> Any: ...
        def _show(self, path: str) -> Json: ...
        def _put(self, path: str, body: Json, if_match: str | None = None) -> Any: ...
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

    def guide(self, dataset: str) -> Json:
        """What annotators are told: ``instructions`` (Markdown), ``classes`` (``color`` and ``key``), and the ``etag``."""
        return self._show(f"/datasets/{part(dataset)}/guide")

    def write_guide(
        self,
        dataset: str,
        *,
        instructions: str,
        classes: Mapping[str, Mapping[str, str | None]] | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Replace it; with ``if_match``, an ``etag`` of `guide`, only if nobody else has since.

        Args:
            classes: ``{label: {"color": "#rrggbb", "key": "A"}}``; what is left out, the page chooses.

        Raises:
            PreconditionFailed: somebody has: look again.
        """
        styles = [{"label": label, **style} for label, style in (classes or {}).items()]
        body: Json = {"instructions": instructions, "classes": styles}
        return dict(self._put(f"/datasets/{part(dataset)}/guide", body, if_match))

    def my_quality(self, dataset: str) -> Json:
        """How far one's own answers can be believed, told in steps."""
        return dict(self._get(f"/datasets/{part(dataset)}/quality/me"))

    def my_answers(self, dataset: str, *, outcome: str | None = None, limit: int | None = None) -> list[Json]:
        """One's own answers that were decided, newest first: ``outcome`` (``confirmed`` or ``rejected``), and of rejected
        ones the ``reason`` and the label that was confirmed ``instead``. Told in steps, as `my_quality` is.
        """
        wanted = {} if outcome is None else {"outcome": outcome}
        return self._all(f"/datasets/{part(dataset)}/answers/me", limit, **wanted)

    def quality(self, dataset: str) -> Json:
        """Everybody's figures, agreement, the policy, the last check of all answers."""
        return dict(self._get(f"/datasets/{part(dataset)}/quality"))

    def my_throughput(self, dataset: str, *, days: int = 14) -> list[Json]:
        """What you answered on each of the last days: ``day``, ``answers``, ``skipped``, ``timed``, ``seconds``."""
        return list(self._get(f"/datasets/{part(dataset)}/throughput/me", days=days)["items"])

    def throughput(self, dataset: str, *, days: int = 14) -> list[Json]:
        """The same of everybody, by ``annotator``."""
        return list(self._get(f"/datasets/{part(dataset)}/throughput", days=days)["items"])

    def check_quality(self, dataset: str) -> Json:
        """Look at all answers now; suspected labels go to review."""
        return dict(self._write(f"/datasets/{part(dataset)}/quality/checks", {}).json())

    def tasks(
        self,
        dataset: str,
        *,
        state: str = "open",
        label: str | None = None,
        batch: str | None = None,
        least: float = 0.0,
        most: float = 1.0,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
    ) -> list[Json]:
        """The newest tasks in a state: ``open`` ones to choose from, what one ``skipped``, or (a reviewer's to see) others.

        Filters: the ``label`` that the model predicts, its confidence from ``least`` to ``most``, the batch, and when they
        came (ISO times with their zones).
        """
        wanted = {"state": state, "label": label, "batch": batch, "since": since, "until": until}
        given: Json = {name: value for name, value in wanted.items() if value is not None}
        given |= {"least_confidence": least, "most_confidence": most}
        return self._all(f"/datasets/{part(dataset)}/tasks", limit, **given)
