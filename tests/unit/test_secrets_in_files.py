"""No file of the repository holds a secret: keys of the usual services by their form, private keys, passwords in addresses.

Rules of our own: detect-secrets had its last release in May 2024, and gitleaks is on no registry that this needs otherwise.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

RULES = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{22,})\b",
    "a GitLab token": r"\bglpat-[0-9A-Za-z_-]{20,}\b",
    "a Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{10,}\b",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a token of a package index": r"\bpypi-[0-9A-Za-z_-]{50,}\b",
    "a token of a model hub": r"\bhf_[0-9A-Za-z]{34}\b",
    "a JSON Web Token": r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
    "a Fernet key": r"(?<![0-9A-Za-z_-])[0-9A-Za-z_-]{43}=(?![0-9A-Za-z_=-])",
    "a password in an address": r"\b[a-z][a-z0-9+]*://[^\s:/@\"'{}<>]+:(?P<word>[^\s/@\"'{}<>]+)@",
}
INVENTED = {"secret", "password", "pw", "x", "hunter2", "s%20cret", "pass", "p", "airflow"}
"""Passwords of addresses in tests and examples."""


def test_no_secret_is_in_a_file() -> None:
    assert list(_found(_files())) == []


def test_each_rule_finds_what_it_is_for() -> None:
    letters = "aB3" * 20
    examples = {
        "a private key": "-----BEGIN OPENSSH" + " PRIVATE KEY-----",
        "an AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
        "a GitHub token": "ghp_" + letters[:36],
        "a GitLab token": "glpat-" + letters[:20],
        "a Slack token": "xoxb-" + "1" * 12,
        "a Google key": "AIza" + letters[:35],
        "a token of a package index": "pypi-" + letters,
        "a token of a model hub": "hf_" + letters[:34],
        "a JSON Web Token": ".".join(["eyJ" + letters[:12], "eyJ" + letters[:12], letters[:12]]),
        "a Fernet key": letters[:43] + "=",
        "a password in an address": "postgresql://ana:" + "Tr0ub4dor" + "@db/x",
    }
    assert examples.keys() == RULES.keys()
    assert {name for name, text in examples.items() if name not in [rule for rule, _ in _secrets(text)]} == set()


def _files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and not name.endswith((".png", "requirements.txt"))]


def _found(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.is_file():
            for rule, line in _secrets(file.read_text(errors="replace")):
                yield f"{file.relative_to(ROOT)}:{line}: looks like {rule}"


def _secrets(text: str) -> Iterator[tuple[str, int]]:
    for rule, pattern in RULES.items():
        for match in re.finditer(pattern, text):
            word = match.groupdict().get("word")
            if word is None or word.lower() not in INVENTED:
                yield rule, text.count("\n", 0, match.start()) + 1
