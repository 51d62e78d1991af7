"""Pipelines in Airflow: the bundle that shows them, the DAG of each, and its runs."""
