"""Executors: how Airflow starts task processes."""
