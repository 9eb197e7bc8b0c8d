"""Workers of the pipelines that are jobs of others."""

import os
import time

from headrace import Graft, Job, Pipeline, worker


@worker
def double(item):
    return item * 2


@worker
def plus_one(double):
    return double + 1


@worker
def number(number):
    return number


@worker
def numbers(count):
    return list(range(count))


@worker
def even(item):
    if item % 2:
        raise ValueError(f"{item} is odd")
    return item


@worker
def maps(count):
    return [{"number": value} for value in range(count)]


@worker
def data_of(**data):
    return data


@worker
def boom():
    raise ValueError("boom")


@worker
def text_of(size):
    return "x" * size


@worker
def trace(folder, name):
    """Leaves a trace of every execution."""
    with open(os.path.join(folder, "executions"), "a") as file:
        file.write(f"{name}\n")
    return name


@worker
def once(folder, name):
    """Fails for as long as there is no file of that name."""
    trace(folder, f"{name}-tried")
    if not os.path.exists(os.path.join(folder, name)):
        raise ValueError(f"{name} is not there")
    return name


@worker
def second_time(folder, name):
    """Fails when it is run first."""
    file = os.path.join(folder, name)
    if os.path.exists(file):
        return "at last"
    open(file, "w").close()
    raise ValueError("the first time")


@worker
def nap(seconds):
    time.sleep(seconds)
    return "slept"


@worker
def wait_for(folder):
    """Until somebody puts a file there."""
    trace(folder, "waiting")
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.02)
    return "gone"


@worker
def plant():
    return Graft("planted", [Job(Pipeline({Job("number"): None}, data={"number": 7}), name="grafted")])


@worker
def everything(values):
    return values
