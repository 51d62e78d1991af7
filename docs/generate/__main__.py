"""``python -m generate FOLDER``, in the environment that the platform runs in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from generate import http_api, settings_page
from learnloop_airflow.api.app import create_app


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = create_app().openapi()
    (folder / "http-api.md").write_text(http_api.page(document))
    (folder / "openapi.json").write_text(json.dumps(document, indent=1))
    (folder / "settings.md").write_text(settings_page.page())
    (folder / "command-line.md").write_text(command_line())


def command_line() -> str:
    """What typer makes of the parser."""
    typer = [sys.executable, "-m", "typer", "learnloop.cli", "utils", "docs", "--name", "learnloop"]
    typer += ["--title", "Command line"]
    return subprocess.run(typer, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
