"""Workers for the tests of what jobs can ask for; the same file serves both engines."""

import datetime
import decimal
import json
import os
import pathlib
import time
import uuid

from headrace import Choose, Gather, Graft, Job, RetryAfter, Skip, current, worker


def wait_for(file):
    """A fact that another job, or the test, makes true."""
    wait_until(lambda: os.path.exists(file), f"{file} is there")


def wait_until(fact, what, seconds=120):
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def note(folder, line):
    with open(os.path.join(folder, "noted"), "a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")


# Input ----------------------------------------------------------------------------------------------------------------


@worker
def one():
    return 1


@worker
def two():
    return 2


@worker
def parts():
    return {"one": 1, "two": 2}


@worker
def from_store(one, two, greeting):
    return [one, two, greeting]


@worker
def received(*args, **named):
    """What it was called with."""
    return {"args": list(args), "named": named}


@worker(name="echoed")
def echoed(value=None):
    return value


@worker
def blob(size):
    return "x" * size


@worker
def length_of(value):
    return len(value)


@worker
def extended():
    return {
        "datetime": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=7),
        "set": {1, 2},
        "tuple": (1, (2, 3)),
        "complex": 1 + 2j,
        "path": pathlib.PurePosixPath("/a/b"),
        "bytes": b"\x00\xff",
        "large": 2**100,
    }


@worker
def arrays():
    import numpy

    return numpy.arange(6, dtype="int16").reshape(2, 3)


@worker
def tables():
    import pandas
    import pyarrow

    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    return {"pandas": frame, "pyarrow": pyarrow.table({"n": [1, 2, 3]})}


@worker
def types_of(value):
    return {name: type(part).__name__ for name, part in value.items()}


@worker
def shape_of(value):
    return [type(value).__name__, str(value.dtype), list(value.shape), int(value.sum())]


@worker
def unsupported():
    return {"deep": [1, {"here": object()}]}


@worker
def shared():
    return {"list": []}


@worker(name="spoil")
def spoil(number, given):
    """Changes what it was given: nobody else may see that."""
    given["list"].append(number)
    return given["list"]


# Branches -------------------------------------------------------------------------------------------------------------


@worker(requires=["count"])
def numbers(count):
    return list(range(count))


@worker
def below(number):
    """A list for every number: 0 gives none."""
    return [number * 10 + index for index in range(number)]


@worker
def double(number):
    return number * 2


@worker
def collect(items):
    return items


@worker
def total(items):
    return sum(items)


@worker
def tagged(number):
    return {"kind": "odd" if number % 2 else "even", "number": number}


@worker
def untagged(number):
    return {"number": number}


@worker
def kinds(items):
    return [items[0]["kind"], [item["number"] for item in items]]


@worker
def pair(left, right):
    return [left, right]


@worker
def only_even(number):
    return number if number % 2 == 0 else Skip(f"{number} is odd")


@worker
def picky(number):
    if number == 2:
        raise ValueError("it is two")
    return number


@worker
def size_of(blob, number):
    return len(blob) + number


@worker
def slow_first(number):
    """The branch 0 goes on only when the end of branch 3 was seen further down."""
    if number == 0:
        wait_for(os.path.join(current().data["folder"], "seen"))
    return number


@worker
def see(number):
    if number == 3:
        pathlib.Path(current().data["folder"], "seen").touch()
    return number


@worker
def slow_last(number):
    """The last branch goes on only when a window of the first ones was seen."""
    if number == 3:
        wait_for(os.path.join(current().data["folder"], "seen"))
    return number


@worker
def see_window(items):
    if 0 in items:
        pathlib.Path(current().data["folder"], "seen").touch()
    return items


@worker
def never(number):
    return Skip("never")


@worker
def size_of_text(text):
    return len(text)


@worker
def large_list(count, size):
    return ["x" * size] * count


@worker
def told(**what):
    """A hook: writes down what it was told, where there is a folder for that."""
    if "folder" in what:
        note(what["folder"], [what["state"], what["result"], what["error"] and what["error"]["reason"]])
    return what["result"]


# Answers and ends -----------------------------------------------------------------------------------------------------


@worker
def fail():
    raise ValueError("no good")


@worker
def choose(children, folder=None):
    if folder:
        note(folder, "chose")
    return Choose(children, result="chosen")


@worker
def skip():
    return Skip("not today")


@worker
def nap(seconds):
    time.sleep(seconds)


# Time -----------------------------------------------------------------------------------------------------------------


@worker
def flaky(folder, fails, error):
    note(folder, [time.monotonic(), time.time()])
    attempt = current().attempt
    if attempt <= fails:
        raise {"ConnectionError": ConnectionError, "ValueError": ValueError}[error](f"attempt {attempt}")
    return f"attempt {attempt}"


@worker
def later(folder, seconds):
    note(folder, [time.monotonic(), time.time()])
    if current().attempt == 1:
        raise RetryAfter(seconds, "busy")
    return current().attempt


@worker
def poison(folder):
    note(folder, [time.monotonic(), time.time()])
    os._exit(9)


@worker
def tidy_nap(folder):
    try:
        pathlib.Path(folder, "begun").touch()
        time.sleep(600)
    finally:
        pathlib.Path(folder, "tidied").touch()


@worker
def slow_at_first(folder):
    if current().attempt == 1:
        time.sleep(600)
    return current().attempt


# Grafts ---------------------------------------------------------------------------------------------------------------


@worker
def plant(jobs, edges):
    """New jobs by name: they run `one`, but for those that are named after a worker that fails."""
    new = [Job("fail" if name == "fail" else "one", name=name) for name in jobs]
    return Graft("planted", jobs=new, edges=[tuple(edge) for edge in edges])


@worker
def plant_tree(count):
    new = [
        Job("numbers", {"count": count}, name="list", spread=True),
        Job("double", name="doubled", bind="item"),
        Job("total", name="sum", gather=Gather()),
    ]
    return Graft(jobs=new, edges=[("list", "doubled"), ("doubled", "sum"), ("sum", "last")])


@worker
def plant_groups(count, gather):
    new = [
        Job("numbers", {"count": count}, name="list", spread=True),
        Job("tagged" if "by" in gather else "echoed", name="item", bind="item"),
        Job("kinds" if "by" in gather else "collect", name="grouped", gather=Gather(**gather)),
        Job("collect", name="all", gather=Gather()),
    ]
    return Graft(jobs=new, edges=[("list", "item"), ("item", "grouped"), ("grouped", "all"), ("all", "one")])


@worker
def plant_any(jobs, edges=()):
    """New jobs, each given as a worker and what else `Job` takes."""
    return Graft("planted", jobs=[Job(name, **more) for name, more in jobs], edges=[tuple(edge) for edge in edges])


@worker
def tag_and_plant(number):
    """The branch 1 puts two more numbers before the gather."""
    tag = {"kind": "odd" if number % 2 else "even", "number": number}
    if number != 1:
        return tag
    new = [Job("tagged", {"number": one}, name=f"more {one}", bind="literal") for one in (7, 8)]
    return Graft(tag, jobs=new, edges=[(job.name, "last") for job in new])


@worker
def begin_and_nap(folder):
    pathlib.Path(folder, "begun").touch()
    time.sleep(600)


@worker
def fail_when_begun(folder):
    wait_for(os.path.join(folder, "begun"))
    raise ValueError("no good")


@worker
def note_name(folder):
    note(folder, current().job)


# Placement ------------------------------------------------------------------------------------------------------------


@worker(role="render")
def rendered():
    return 1


@worker
def span(folder, seconds, together=0, file=None):
    """Takes so long, and until so many of them have begun, and until there is that file."""
    began = time.monotonic()
    pathlib.Path(folder, f"{current().job} has begun").touch()
    time.sleep(seconds)
    wait_until(lambda: len(list(pathlib.Path(folder).glob("* has begun"))) >= together, f"{together} at once")
    if file:
        wait_for(file)
    note(folder, [current().job, began, time.monotonic()])


# Control --------------------------------------------------------------------------------------------------------------


@worker
def wait_for_file(file):
    wait_for(file)


@worker
def needs_file(number):
    folder = current().data["folder"]
    note(folder, number)
    assert number != 2 or os.path.exists(os.path.join(folder, "file")), "there is no file"
    return number


# Seeing ---------------------------------------------------------------------------------------------------------------


@worker
def stepwise(file):
    job = current()
    for step in (1, 2, 3):
        job.progress(step, 3, f"step {step}")
        if step == 1 and file:
            wait_for(file)
    return step


@worker
def talk():
    print("said aloud")


@worker
def talk_and_fail():
    print("before the end")
    raise RuntimeError("that was it")


@worker
def last_of_all(windows):
    return [len(windows), windows[-1][-1]]


@worker
def received_count(*args):
    return len(args)


# Pipelines in pipelines, and earlier results --------------------------------------------------------------------------


@worker(requires=["item"])
def greet_item(item):
    return f"hello, {item}"


@worker
def note_and_pass(folder, nonce=None):
    note(folder, "passed")
    return "passed"


@worker
def fails_once(folder):
    flag = pathlib.Path(folder, "failed once")
    if not flag.exists():
        flag.touch()
        raise ConnectionError("the first time")
    return "the second time"


@worker
def stepwise_aloud(file):
    print("step 1", flush=True)
    wait_for(file)
    print("step 2", flush=True)
