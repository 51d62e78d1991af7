"""Learnloop: incremental learning inside Apache Airflow."""

__version__ = "0.1.0"
