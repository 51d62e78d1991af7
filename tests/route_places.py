"""Something for every parameter in a path of the API, for tests that walk all routes."""

PLACES = {
    "name": "pets",
    "task_id": 1,
    "before": "1",
    "after": "2",
    "version": 1,
    "alias": "realtime",
    "token": 1,
    "request_id": 1,
    "merge_id": 1,
    "review_id": 1,
    "search_id": 1,
    "number": 1,
    "stage": "train",
    "dag_id": "no_dag",
    "run_id": "no_run",
}
