"""Operators: one family a file. They wire Airflow to `learnloop`, where the work is done."""
