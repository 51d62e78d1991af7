"""Learnloop's pages inside Airflow: rendered here, shown by Airflow in a frame (``external_views``)."""
