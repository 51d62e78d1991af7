"""Faults in the running stack, seeded: ``python -m campaign --minutes 60 --seed 1 --report faults.json``.

The stack is that of one machine (``make up``), or with ``--stack compose`` that of docker-compose.yaml, run natively. In it
fifteen annotators answer, an application asks the model server, rounds of the loop go round; at random moments one fault of
each kind after the other is put in. After each the time until all is well again is taken, and the checker looks. At the end
everything comes to rest, and it looks again. The exit code is 0 only when no promise was broken, and when there were rounds,
answers and faults at all. ``--short`` puts in each of five faults once, with five annotators: what every run of CI does.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .compose import impossible
from .course import Campaign
from .kinds import SHORT
from .report import passed

PEOPLE, PEOPLE_IN_SHORT = 15, 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--stack", choices=["local", "compose"], default="local")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path("faults.json"))
    parser.add_argument("--only", nargs="*", default=[], help="kinds of faults, such as 'kill scheduler'")
    parser.add_argument("--short", action="store_true", help=f"instead of minutes: each once of {', '.join(SHORT)}")
    parser.add_argument("--keep", action="store_true", help="keep the state directory")
    given = parser.parse_args()
    if given.short and given.stack != "local":
        parser.error("--short is for the local stack")
    if given.stack == "compose" and (why := impossible()):
        parser.error(why)
    only, people = (list(SHORT), PEOPLE_IN_SHORT) if given.short else (given.only, PEOPLE)
    campaign = Campaign(given.stack, given.seed, people, given.report, only, once=given.short)
    told = campaign.run(given.minutes * 60, keep=given.keep)
    print(json.dumps({name: value for name, value in told.items() if name not in ("each", "seen")}, indent=1))
    return 0 if passed(told) else 1


if __name__ == "__main__":
    sys.exit(main())
