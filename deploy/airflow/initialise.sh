#!/usr/bin/env bash
# Before anything of Airflow starts, and again after an upgrade: schemas, roles, the bucket. Again does no harm.
set -euo pipefail
airflow db migrate
python -m learnloop.cli init
python "$(dirname "$0")/bucket.py"
