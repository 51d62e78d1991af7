"""Airflow's AWS connections, as what fsspec's S3 filesystem takes; remotes by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnloop.datasets.remotes import Remote


def storage_options(url: str, aws_conn_id: str) -> dict[str, Any]:
    """The options that open ``url`` with an Airflow connection; empty for what is not on S3.

    Without credentials in the connection, those of the machine are used, as everywhere in the provider.
    """
    if not url.startswith("s3://"):
        return {}
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=aws_conn_id)
    credentials = hook.get_credentials(region_name=hook.region_name)
    options: dict[str, Any] = {
        "key": credentials.access_key,
        "secret": credentials.secret_key,
        "token": credentials.token,
        "endpoint_url": hook.conn_config.get_service_endpoint_url("s3"),
        "client_kwargs": {"region_name": hook.region_name, "verify": hook.verify},
    }
    return {name: value for name, value in options.items() if value is not None}


def open_remote(address: str, aws_conn_id: str) -> Remote:
    """The remote at ``address``, with the connection's credentials when it is on S3."""
    from learnloop.datasets import remotes

    return remotes.open_remote(address, storage_options(address, aws_conn_id))
