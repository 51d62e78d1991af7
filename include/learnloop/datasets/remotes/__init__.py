"""Copies of the store elsewhere: a folder, or S3, in DVC's remote layout, from which the stock DVC can pull.

Objects go before the trees that name them, both ways, so that a tree that is somewhere has its files there. Bytes
are hashed before they get their name, both ways. What is there already is not sent again, so that a transfer
that was cut continues when it is run again.
"""

from learnloop.datasets.remotes.base import Remote
from learnloop.datasets.remotes.folder import FolderRemote
from learnloop.datasets.remotes.fs import FsspecRemote
from learnloop.datasets.remotes.garbage import collect_remote
from learnloop.datasets.remotes.open import open_remote
from learnloop.datasets.remotes.repair import Repaired, repair
from learnloop.datasets.remotes.transfer import Transferred, fetch, push, replicate
from learnloop.datasets.remotes.verify import Need, Problem, Report, verify

__all__ = [
    "FolderRemote",
    "FsspecRemote",
    "Need",
    "Problem",
    "Remote",
    "Repaired",
    "Report",
    "Transferred",
    "collect_remote",
    "fetch",
    "open_remote",
    "push",
    "repair",
    "replicate",
    "verify",
]
