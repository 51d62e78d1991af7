"""Who is told of alerts: what deploy/alertmanager/alertmanager.yml shows in comments is right when they are taken away."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from learnloop.stack.places import ROOT

FILE = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
AMTOOL = shutil.which("amtool")


def switched_on(*kinds: str) -> str:
    """The file with these receivers' lines no comments any more."""
    text = FILE.read_text()
    for kind in kinds:
        block = re.search(rf"^    # {kind}:\n(    # +[-\w].*\n)+?(?=    # \w|\n)", text, re.MULTILINE)
        assert block, kind
        text = text.replace(block.group(), block.group().replace("    # ", "    "))
    return text


def test_the_receivers_in_comments_are_receivers_and_read_their_secrets() -> None:
    (receiver,) = yaml.safe_load(FILE.read_text())["receivers"]
    assert receiver == {"name": "operators"}  # nobody is told until somebody says whom
    (receiver,) = yaml.safe_load(switched_on("email_configs", "webhook_configs"))["receivers"]
    ((mail,), (hook,)) = receiver["email_configs"], receiver["webhook_configs"]
    given = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["alertmanager"]["secrets"]
    assert {mail["auth_password_file"], hook["url_file"]} == {f"/run/secrets/{name}" for name in given}


@pytest.mark.skipif(AMTOOL is None, reason="there is no amtool: apt-get install prometheus-alertmanager")
@pytest.mark.parametrize("kinds", [(), ("email_configs",)])  # Debian's 0.25 does not know url_file yet
def test_alertmanager_takes_it(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(switched_on(*kinds))
    said = subprocess.run([str(AMTOOL), "check-config", str(file)], capture_output=True, text=True, check=False)
    assert (said.returncode, "1 receivers" in said.stdout) == (0, True), said.stdout + said.stderr
