"""Learnloop's HTTP API, served by Airflow's API server under ``/learnloop/api/v1``."""
