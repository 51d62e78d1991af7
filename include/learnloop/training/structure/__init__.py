"""Structure optimisation: when to look, what to try, which to take. Pure functions; nothing here knows of Airflow."""
