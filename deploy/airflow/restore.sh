#!/usr/bin/env bash
# Into an empty stack, before anything of Airflow has been there: the newest backup, or the one that is named (docs/backup.md).
set -euo pipefail
python "$(dirname "$0")/bucket.py"
python -m learnloop.cli restore "$@"
echo "next: put the files that are in secrets/ of Learnloop's volume into the place of this stack's, then start it (docs/backup.md)"
