"""One list becomes many branches; the branches are closed again: all, by key, and in windows."""

from headrace import Gather, Job, Pipeline, worker


@worker
def measure():
    """Readings of three gauges at six moments."""
    return [{"gauge": "ABC"[index % 3], "level": index * 10} for index in range(18)]


@worker
def correct(reading):
    return {**reading, "level": reading["level"] + 1}


@worker
def mean(readings):
    levels = [reading["level"] for reading in readings]
    return {"gauge": readings[0]["gauge"], "mean": sum(levels) / len(levels)}


@worker
def highest(readings):
    return max(reading["level"] for reading in readings)


@worker
def together(branches):
    return branches


@worker
def report(means, peaks):
    by_gauge = ", ".join(f"{one['gauge']} {one['mean']:.0f}" for one in means)
    return f"means: {by_gauge}; peaks of every six: {peaks}"


means = Job("together", name="all means", gather=Gather())
peaks = Job("together", name="all peaks", gather=Gather())
pipeline = Pipeline(
    {
        Job("measure", spread=True): Job("correct", bind="item"),
        Job("correct"): [Job("mean", gather=Gather(by="gauge")), Job("highest", gather=Gather(size=6))],
        Job("mean"): means,
        Job("highest"): peaks,
        (means, peaks): Job("report", bind="args"),
    }
)
