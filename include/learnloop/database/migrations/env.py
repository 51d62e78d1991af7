"""Alembic's environment for Learnloop's own database."""

from alembic import context
from sqlalchemy import create_engine

from learnloop.database import Base

VERSION_TABLE = "learnloop_alembic_version"  # MLflow and Airflow use Alembic's default name

connectable = create_engine(context.config.attributes["url"])
with connectable.connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, version_table=VERSION_TABLE, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
connectable.dispose()
