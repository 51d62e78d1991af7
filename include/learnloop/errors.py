"""The exceptions of Learnloop.

    LearnloopError
    ├── InvalidInput            what was given is wrong             HTTP 422
    │   └── InvalidDataset      a dataset folder or batch is wrong
    ├── UnsupportedMediaType    a body of another kind is wanted    HTTP 415
    ├── BodyTooLarge            a request body over the limit       HTTP 413
    ├── BodyTooSlow             a request body that does not come   HTTP 408
    ├── NotFound                it does not exist                   HTTP 404
    ├── NotAuthenticated        nobody is logged in                 HTTP 401
    ├── PermissionDenied        the caller may not do this          HTTP 403
    ├── Conflict                it changed since the caller looked  HTTP 409
    │   ├── Locked              somebody else holds the lock        HTTP 423
    │   └── StaleToken          the fencing token is out of date
    ├── PreconditionFailed      it is not what If-Match names       HTTP 412
    ├── TooManyRequests         somebody asks too often             HTTP 429
    ├── Gone                    the lease has lapsed                HTTP 410
    ├── Corrupted               stored bytes do not match their name
    ├── JobFailed               a job ended without its result
    │   └── JobKilled           it was ended from outside; another try may do
    ├── Unavailable             a part that is needed does not answer   HTTP 503
    └── OutOfSpace              a disk is full                      HTTP 507

Every message says what is wrong, where, and what would be right: it is shown to people as it is.
"""

from __future__ import annotations

from collections.abc import Sequence


class LearnloopError(Exception):
    """Base of all errors that Learnloop raises on purpose."""

    status = 500
    type = "internal"


class InvalidInput(LearnloopError):
    """What was given is wrong. ``problems`` lists each fault with its place."""

    status = 422
    type = "invalid-input"

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in problems)]))


class InvalidDataset(InvalidInput):
    """A dataset folder or batch does not hold what its ``dataset.yaml`` promises."""

    type = "invalid-dataset"


class UnsupportedMediaType(LearnloopError):
    """The body is not JSON."""

    status = 415
    type = "unsupported-media-type"


class BodyTooLarge(LearnloopError):
    """The body has more bytes than are taken."""

    status = 413
    type = "body-too-large"


class BodyTooSlow(LearnloopError):
    """The body did not arrive in time."""

    status = 408
    type = "body-too-slow"


class NotFound(LearnloopError):
    """There is no such thing, or not for the caller."""

    status = 404
    type = "not-found"


class NotAuthenticated(LearnloopError):
    """No token, or one that has ended."""

    status = 401
    type = "not-authenticated"


class PermissionDenied(LearnloopError):
    """No role of the caller grants this, or it is somebody else's."""

    status = 403
    type = "permission-denied"


class Conflict(LearnloopError):
    """The state changed since the caller looked; look again and retry."""

    status = 409
    type = "conflict"


class Locked(Conflict):
    """Somebody else holds the write lock; the message names them, and says until when."""

    status = 423
    type = "locked"


class StaleToken(Conflict):
    """A lock was lost (it expired and somebody else took it), so its holder's write is refused."""

    type = "stale-fencing-token"


class PreconditionFailed(LearnloopError):
    """What is to be changed is no longer what the caller saw (``If-Match``)."""

    status = 412
    type = "precondition-failed"


class Gone(LearnloopError):
    """A lease lapsed; what was leased has gone back to the queue."""

    status = 410
    type = "lease-lapsed"


class TooManyRequests(LearnloopError):
    """``retry_after``: seconds until the next request is let in."""

    status = 429
    type = "too-many-requests"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Corrupted(LearnloopError):
    """Stored bytes do not match the checksum they are named by."""

    type = "corrupted"


class JobFailed(LearnloopError):
    """A job ended without a result, or with one that does not hold."""

    type = "job-failed"


class JobKilled(JobFailed):
    """A job was ended from outside: by a signal, for want of memory, with its node. Another try may do."""


class Unavailable(LearnloopError):
    """A part that is needed does not answer; the same may work in a moment."""

    status = 503
    type = "unavailable"


class OutOfSpace(LearnloopError):
    """A disk or a quota is full; nothing that was there before was changed."""

    status = 507
    type = "out-of-space"
