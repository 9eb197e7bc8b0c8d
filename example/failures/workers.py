"""Jobs that fail, and what can be said about it: try again, stop in time, go on with what is left, clean up."""

import os
import tempfile
import time

from headrace import Job, Pipeline, Retry, RetryAfter, current, worker


@worker
def flaky():
    """Fails twice, then works."""
    if current().attempt < 3:
        raise ConnectionError(f"attempt {current().attempt} does not get through")
    return "the third attempt got through"


@worker
def patient():
    """Says itself when it wants to be tried again."""
    if current().attempt == 1:
        raise RetryAfter(0.2, "the other side asks for a moment")
    return "after a moment"


@worker
def endless():
    """Runs longer than its timeout allows."""
    time.sleep(60)


@worker
def summary(flaky, patient, endless):
    """The failure of `endless` is data here, because its job says `on_error="continue"`."""
    return {"flaky": flaky, "patient": patient, "endless": endless["_error"]}


@worker
def tidy(result, error, state):
    """The hook: it is called however the run ends, also when it was cancelled."""
    note = os.path.join(tempfile.gettempdir(), f"headrace-{current().run}.note")
    with open(note, "w", encoding="utf-8") as file:
        file.write(f"the run ended: {state}\n")
    return note


pipeline = Pipeline(
    {
        (
            Job("flaky", retry=Retry(tries=3, delay=0.1, factor=2, on=[ConnectionError])),
            Job("patient"),
            Job("endless", timeout=0.5, on_error="continue"),
        ): Job("summary", bind="named")
    },
    hooks={"always": Job("tidy", bind="named")},
)
