"""Log lines as JSON."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from learnloop import settings
from learnloop.errors import InvalidInput
from learnloop.logs import JsonFormatter


def line(record: logging.LogRecord, **always: object) -> dict[str, object]:
    text = JsonFormatter(always).format(record)
    assert "\n" not in text
    return json.loads(text)


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("learnloop.x", logging.WARNING, "x.py", 1, message, arguments, None)
    vars(made).update(more)
    return made


def test_a_line_is_one_object_whatever_is_in_it() -> None:
    found = line(record('two\nlines and "quotes" of %s', "ü"), component="model-server")
    assert found["event"] == 'two\nlines and "quotes" of ü'
    assert (found["level"], found["logger"], found["component"]) == ("warning", "learnloop.x", "model-server")
    assert str(found["timestamp"]).endswith("Z")


def test_fields_are_told_as_fields() -> None:
    found = line(record("ignored", fields={"event": "inference", "request_id": "r", "odd": object}))
    assert (found["event"], found["request_id"]) == ("inference", "r")


def test_an_exception_is_told_in_the_same_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        found = line(record("it failed", exc_info=sys.exc_info()))
    assert "ValueError: why" in str(found["exception"])


def test_a_process_writes_json_also_of_warnings_and_of_others_loggers() -> None:
    program = """
import logging, warnings
from learnloop import logs
logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
logs.configure("json", component="c")
logging.getLogger("uvicorn.error").info("started")
warnings.warn("odd")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [json.loads(text) for text in done.stderr.splitlines()]
    assert [found["logger"] for found in lines] == ["uvicorn.error", "py.warnings"]
    assert {found["component"] for found in lines} == {"c"}


def test_there_is_no_third_format() -> None:
    with pytest.raises(InvalidInput, match="LEARNLOOP_LOG_FORMAT is 'xml'; it must be one of text, json"):
        settings.load({"LEARNLOOP_LOG_FORMAT": "xml"})
