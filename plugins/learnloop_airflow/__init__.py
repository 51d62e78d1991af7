"""Everything of Learnloop that imports Airflow: operators, triggers, the HTTP API, roles."""
