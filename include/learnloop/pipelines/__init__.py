"""Pipelines: graphs of jobs declared as data, checked, stored in versions, and run by Airflow (docs/pipelines.md)."""
