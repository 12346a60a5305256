"""jeoni's side of the fine-tuning benchmark (see ``job.py``)."""

from job import Job, Result, serve


def run(job: Job) -> Result:
    """Load, train, predict, score: the job as its fields say, timed by ``StepClock``."""
    raise SystemExit(f"jeoni's side is not connected yet (asked for seed {job.seed})")


if __name__ == "__main__":
    serve(run)
