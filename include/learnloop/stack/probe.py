"""Asks a part of the stack whether it is well: `python -m learnloop.stack.probe URL [--part NAME]`, for health checks.

Ends with 0 if ``URL`` answers, and, with ``--part``, if its JSON says that this part is ``healthy``. Standard library only:
it starts in a moment, every few seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request

SECONDS = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m learnloop.stack.probe", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--part", help="such as scheduler: in the answer of Airflow's health routes")
    asked = parser.parse_args()
    if not asked.url.startswith(("http://", "https://")):
        parser.error(f"{asked.url!r} is no HTTP address")
    try:
        with urllib.request.urlopen(asked.url, timeout=SECONDS) as answer:  # noqa: S310 - HTTP, by the line above
            body = answer.read()
        state = json.loads(body)[asked.part]["status"] if asked.part else "healthy"
    except (OSError, ValueError, KeyError) as error:
        print(f"{asked.url}: {error}", file=sys.stderr)
        return 1
    if state != "healthy":
        print(f"{asked.url}: {asked.part} is {state}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
