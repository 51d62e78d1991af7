#!/usr/bin/env bash
# Before anything of Airflow starts, and again after an upgrade: schemas, roles, the bucket. Again does no harm.
set -euo pipefail
airflow db migrate
python -m learnloop.cli init
python - <<'PYTHON'
import os
from urllib.parse import urlsplit

import boto3

remote = urlsplit(os.environ["LEARNLOOP_REMOTE"])
if remote.scheme == "s3":
    s3 = boto3.client("s3")
    if remote.netloc not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=remote.netloc)
        print(f"the bucket {remote.netloc} is made")
PYTHON
