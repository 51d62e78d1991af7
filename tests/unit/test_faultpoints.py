"""No step of the data layer at which nobody has tried to be killed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_point_is_named_by_a_test():
    code = "".join(path.read_text() for path in (ROOT / "include").rglob("*.py") if path.name != "faultpoints.py")
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    points = set(re.findall(r'reach\(\s*"([^"]+)"', code))
    # One that is chosen when it is reached: its names stand beside it.
    assert re.findall(r"reach\(\s*[^\"\s]\w*", code) == ["reach(point"]
    points |= {"push.objects-done", "push.trees-done"}
    assert len(points) > 40
    assert {point for point in points if not re.search(rf'"{re.escape(point)}(@\d+)?"', tests)} == set()
