"""Airflow's own tables in a database of their own, without an Airflow."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine


def airflow_tables(url: str) -> Engine:
    """Make them in the empty database at ``url``."""
    from airflow.models.base import Base
    from airflow.utils.db import import_all_models

    import_all_models()
    made = create_engine(url)
    Base.metadata.create_all(made)
    return made
