"""What a job says of itself does not hide that it was warned of."""

from __future__ import annotations

import json

from learnloop_airflow.pods.follow import with_warning

WARNING = {"warning": "the job uses 240Mi of the 256Mi of memory it may have"}


def test_a_warning_stays_with_each_line_that_follows() -> None:
    line = b'{"step": 3, "warning": "none of ours"}'
    assert json.loads(with_warning(line, WARNING)) == {"step": 3, **WARNING}
    assert with_warning(line, {}) == line


def test_a_line_that_is_no_json_is_left_to_whoever_keeps_it() -> None:
    assert with_warning(b"{broken", WARNING) == b"{broken"
