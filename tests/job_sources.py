"""Jobs that tests run, as a pod or as a process: Python source for ``command: [python, -c, ...]``."""

# Says that it ran, makes progress, saves a checkpoint, and commits one output.
TRAIN = """
import os, sys, time
from learnloop.jobs.contract import Job
job = Job.current()
print("hello from", os.environ["RESULTS_DIR"], flush=True)
seen = (job.checkpoint_dir / "epoch").exists()
job.progress(epoch=1, resumed=seen)
(job.checkpoint_dir / "epoch").write_text("1")
if job.params.get("crash") and not seen:
    os._exit(9)  # no signal: the first process of a container takes none from itself
time.sleep(0 if seen else job.params.get("seconds", 0))
output = job.places.models / "model" / "weights"
output.parent.mkdir()
output.write_text("weights")
print("done", flush=True)
job.finish({"resumed": seen, "seed": job.params["seed"]}, [job.places.models / "model"])
sys.exit(job.params.get("exit", 0))
"""
FAIL = "import sys; print('reading the data'); print('out of ideas'); sys.exit(3)"
SILENT = "pass"


def spec(code: str = TRAIN, *, python: str = "python", **fields: object) -> dict[str, object]:
    return {
        "command": [python, "-c", code],
        "outputs": ["models/model"],
        "resources": {"cpu": 0.1, "memory": "128Mi"},
        "timeout_seconds": 60,
        **fields,
    }
