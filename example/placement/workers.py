"""Where jobs run: roles that only some Brokers serve, and a limit that the whole cluster shares."""

import time

from headrace import Job, Pipeline, worker


@worker
def prepare():
    return {"scene": "mill"}


@worker
def render(scene):
    """Needs a licence: the Router gives out as many as it was told."""
    time.sleep(0.2)
    return f"{scene}, rendered"


@worker
def publish():
    return "published"


frames = tuple(Job("render", name=f"frame {number}", role="render", limits=["licence"]) for number in range(4))
pipeline = Pipeline({Job("prepare"): list(frames), frames: Job("publish", role="web", queue_timeout=60)})
