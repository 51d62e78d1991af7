"""Makes the bucket of the store's remote, unless it is there."""

import os
from urllib.parse import urlsplit

import boto3

remote = urlsplit(os.environ["LEARNLOOP_REMOTE"])
if remote.scheme == "s3":
    s3 = boto3.client("s3")
    if remote.netloc not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=remote.netloc)
        print(f"the bucket {remote.netloc} is made")  # noqa: T201 - a script's word
