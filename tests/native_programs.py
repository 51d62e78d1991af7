"""`python native_programs.py`: are the programs here that docker-compose.yaml's services run natively with?

Standard library only: `make compose-native` asks before anything is set up.
"""

from __future__ import annotations

import shutil
import sys

PACKAGES = {
    "nginx": "nginx",
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "curl": "curl",
    "wget": "wget",
    "openssl": "openssl",
    "ip": "iproute2",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""Program to Debian's package that has it. All else is PyPI's, or on every Debian."""
WATCHING = {"prometheus", "prometheus-alertmanager"}
"""What only the whole stack runs: its pieces, and the campaign of faults, go without."""


def missing(*, whole: bool, places: str = "/usr/sbin:/usr/bin:/sbin:/bin") -> str:
    """Which programs are not installed, and what has them; or an empty text. ``whole``: with what watches the stack."""
    names = [name for name in PACKAGES if whole or name not in WATCHING]
    lacking = [name for name in names if not shutil.which(name, path=places)]
    packages = " ".join(PACKAGES[name] for name in lacking)
    return f"not installed: {', '.join(lacking)} (apt-get install {packages})" if lacking else ""


if __name__ == "__main__":
    if why := missing(whole=True):
        sys.exit(f"compose-native: {why}")
