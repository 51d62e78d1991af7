"""What the page's server knows in these tests, for them to read and to upset."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from PIL import Image
from sklearn.datasets import load_digits

DIGITS = [str(digit) for digit in range(10)]
API = "/learnloop/api/v1"


@dataclass
class Double:
    """What the server knows, for tests to read and to upset."""

    users: dict[str, tuple[str, str]]  # name: (password, role)
    url: str = ""
    datasets: dict[str, list[str]] = field(default_factory=lambda: {"digits": DIGITS})
    open: list[dict[str, Any]] = field(default_factory=list)
    claims: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # task id: (who, task)
    answers: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, Any] = field(default_factory=dict)  # Idempotency-Key: what was answered
    revoked: set[str] = field(default_factory=set)
    down: bool = False
    hold: threading.Event = field(default_factory=threading.Event)  # cleared: nothing is answered until it is set
    lose_reply: bool = False  # write, but answer as if nobody were there
    content: bytes | None = None  # instead of the digit
    content_gone: bool = False
    urls: list[str] = field(default_factory=list)  # as they were asked for
    lease_seconds: float = 300
    claimed_total: int = 0
    life: tuple[float, float] | None = None
    refreshed: int = 0
    refusing: bool = False  # to exchange tokens: 503
    on_request: Callable[[str], None] = lambda path: None  # before it is looked who is calling
    on_refreshed: Callable[[], None] = lambda: None  # the old token has ended, the new one is not sent yet
    last: dict[str, Any] = field(default_factory=dict)  # user: the task they answered last and may take back
    known: dict[int, dict[str, Any]] = field(default_factory=dict)  # every task there ever was
    reviews: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    decided: list[dict[str, Any]] = field(default_factory=list)  # everybody's own answers that were
    rounds: list[dict[str, Any]] = field(default_factory=list)
    guides: dict[str, dict[str, Any]] = field(default_factory=dict)
    reliability: dict[str, Any] | None = None  # as the last quality check found it
    exported: bytes = b"[]\n"
    uploads: list[tuple[str, bytes]] = field(default_factory=list)  # what was asked for, and what was sent
    upload_answer: Any = None  # a result, or the problem to tell
    guides_written: list[str] = field(default_factory=list)  # whose, as often as they were

    def __post_init__(self) -> None:
        self.hold.set()

    def put(self, count: int, dataset: str = "digits") -> None:
        """Open ``count`` more tasks; the model guesses the number modulo the classes, then its neighbours."""
        classes = self.datasets[dataset]
        for _ in range(count):
            number = len(self.open) + self.claimed_total + 1
            guesses = [classes[(number + step) % len(classes)] for step in range(3)]
            self.open.append(
                {
                    "id": number,
                    "dataset": dataset,
                    "sample_id": f"batch_7/{number:04d}",
                    "task_type": "image_classification",
                    "path": f"images/batch_7/{number:04d}.png",
                    "content_type": "image/png",
                    "content_url": f"{API}/tasks/{number}/content",
                    "prediction": {
                        "label": guesses[0],
                        "confidence": 0.52,
                        "uncertainty": 0.48,
                        "probabilities": dict(zip(guesses, (0.52, 0.36, 0.07), strict=True)),
                        "model_version": 3,
                    },
                    "classes": classes,
                    "chosen_by": {"strategy": "diverse_mini_batch", "rank": number, "margin": 0.16},
                }
            )
            self.known[number] = self.open[-1]

    def differ(self, *labels: str | None, confirmed: str | None = None) -> dict[str, Any]:
        """One more sample that people differ on: p0 says the first label, p1 the second, ..."""
        number = len(self.reviews) + len(self.decisions) + 1
        answers = [
            {
                "annotator": f"p{index}",
                "label": label,
                "comment": "" if label is None else f"<{label}>",
                "seconds": 1.5,
                "outcome": "pending",
                "outcome_reason": "Damaged" if label is None else "",
                "review": None,
            }
            for index, label in enumerate(labels)
        ]
        self.put(1)
        task = self.open.pop()
        self.claimed_total += 1
        self.reviews.append(
            {key: task[key] for key in ("dataset", "sample_id", "content_type", "prediction", "classes")}
            | {
                "id": number,
                "task_id": task["id"],
                "kind": "disagreement" if confirmed is None else "suspicion",
                "reason": f"{len(labels)} people differ",
                "confirmed_label": confirmed,
                "decision": None,
                "label": None,
                "answers": answers,
            }
        )
        return self.reviews[-1]

    def trained(self, number: int, labels: int, accuracy: float, state: str = "accepted") -> None:
        """One more round, with its figures."""
        measured = {"accuracy": accuracy, "per_class": {"1": {"support": 9, "accuracy": 0.5}}}
        metrics = {"comparison": {"candidate": measured}}
        self.rounds.append({"number": number, "labels": labels, "state": state, "metrics": metrics})

    def write_guide(self, dataset: str, instructions: str, classes: dict[str, Any], by: str = "sue") -> None:
        self.guides[dataset] = {"instructions": instructions, "classes": classes, "by": by}
        self.guides_written.append(dataset)

    def user_of(self, token: str) -> str:
        if token.startswith("token-of-"):
            return token.removeprefix("token-of-")
        try:
            options = {"verify_signature": False, "verify_exp": True, "verify_iat": False}
            return str(jwt.decode(token, options=options)["sub"])
        except jwt.InvalidTokenError:
            return ""

    def give(self, task_id: int, user: str) -> None:
        """Let the lease of a claimed task lapse and ``user`` claim it."""
        self.claims[task_id] = (user, self.claims[task_id][1])

    def reopen(self, task_id: int) -> None:
        """Let the lease of a claimed task lapse."""
        self.open.append(self.claims.pop(task_id)[1])

    def token(self, user: str) -> str:
        """Of the kind that Airflow makes when ``life`` says when it begins and ends, in seconds from now."""
        if self.life is None:
            return f"token-of-{user}"
        born, ends = (time.time() + seconds for seconds in self.life)
        claims = {"sub": user, "iat": born, "exp": ends, "jti": uuid.uuid4().hex}
        return jwt.encode(claims, "the double's secret, which is long enough", algorithm="HS256")


@cache
def digit(number: int) -> bytes:
    """An 8 x 8 grey picture of the number's last digit, as PNG bytes."""
    digits = load_digits()
    index = int((digits.target == number % 10).nonzero()[0][number % 7])
    written = io.BytesIO()
    Image.fromarray((digits.images[index] * 15.9).astype("uint8")).save(written, "PNG")
    return written.getvalue()
