"""One example for everything that can be asked for: what to write, and what is true then.

The reference page shows them beside the options, and tests run them all: here, and on a cluster. The workers that they
use stand on the page. A claim is about `state`, `results`, `states` and `error` of the run, or about what the example
has returned (`it`); a `shell` line is about its output (`out`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Example(NamedTuple):
    code: str
    """An expression: a pipeline, or what is done with `manager`."""
    claim: str
    where: str = ""
    """`cluster` or `here`, when it means nothing elsewhere."""

    def __str__(self) -> str:
        mark = {"cluster": " (on a cluster)", "here": " (here)"}.get(self.where, "")
        return f"`{self.code}`{mark}<br>→ `{self.claim}`"


class Row(NamedTuple):
    """A line of a table that no class's docstring gives."""

    name: str
    meaning: str
    example: Example
    twin: str = ""
    """On the command line; `done`, `failed`, `waiting` stand for ids of such runs there."""


JOB = {
    "data": Example(
        'Pipeline({Job("greet", {"name": "Ada"}): None}, data={"name": "you", "greeting": "Hi"})',
        'results["greet"] == "Hi, Ada"',
    ),
    "name": Example(
        'Pipeline({Job("greet", {"name": "A"}): Job("greet", {"name": "B"}, name="again")})',
        'results == {"greet": "hello, A", "again": "hello, B"}',
    ),
    "bind": Example('Pipeline({Job("one"): Job("double", bind="item")})', 'results["double"] == 2'),
    "spread": Example(
        'Pipeline({Job("numbers", spread=True): Job("double", bind="item")})', 'results["double"] == [0, 2, 4, 6]'
    ),
    "gather": Example(
        'Pipeline({Job("numbers", spread=True): Job("total", gather=Gather())})', 'results["total"] == 6'
    ),
    "when": Example('Pipeline({Job("fail"): Job("one", when="failure")})', 'states["one"] == "success"'),
    "retry": Example('Pipeline({Job("flaky", retry=Retry(3)): None})', 'results["flaky"] == "attempt 3"'),
    "timeout": Example(
        'Pipeline({Job("nap", {"seconds": 60}, timeout=0.3): None})',
        'error.reason == "JobTimeout: the job ran longer than its timeout of 0.3 s"',
    ),
    "queue_timeout": Example(
        'Pipeline({Job("one", resources={"moon": 1}, queue_timeout=0.3): None})',
        '"queue_timeout of 0.3 s" in error.reason',
        "cluster",
    ),
    "role": Example('Pipeline({Job("one", role="encode"): None})', 'results["one"] == 1'),
    "resources": Example('Pipeline({Job("one", resources={"memory": 16, "gpu": 1}): None})', 'results["one"] == 1'),
    "limits": Example('Pipeline({Job("one", limits=["licence"]): None})', 'results["one"] == 1'),
    "priority": Example('Pipeline({Job("one"): None, Job("two", priority=5): None})', 'results["two"] == 2'),
    "on_error": Example(
        'Pipeline({Job("fail", on_error="continue"): Job("show", bind="args")})',
        'state == "success" and results["show"][0]["_error"] == "ValueError: no good"',
    ),
    "cache": Example('Pipeline({Job("one", cache="content"): None})', 'results["one"] == 1'),
    "command": Example(
        'Pipeline({Job(name="echo", command=["echo", "hello"]): None})', r'results["echo"] == {"stdout": "hello\n"}'
    ),
}
BINDINGS = [
    Row(
        "store",
        "what the worker `requires`, from the results before it and the data",
        Example('Pipeline({Job("parts"): Job("greet")})', 'results["greet"] == "good day, Ada"'),
    ),
    Row(
        "args",
        "the results before it as arguments, in the order of the edges",
        Example('Pipeline({(Job("one"), Job("two")): Job("show", bind="args")})', 'results["show"] == [1, 2]'),
    ),
    Row(
        "named",
        "the data, and over it each result under its job's name",
        Example(
            'Pipeline({(Job("one"), Job("two")): Job("show", {"x": 0}, bind="named")})',
            'results["show"] == {"x": 0, "one": 1, "two": 2}',
        ),
    ),
    Row(
        "item",
        "the one result before it; below a spread one element",
        Example('Pipeline({Job("two"): Job("show", bind="item")})', 'results["show"] == [2]'),
    ),
    Row(
        "gather",
        "one list of the results before it",
        Example('Pipeline({(Job("one"), Job("two")): Job("total", bind="gather")})', 'results["total"] == 3'),
    ),
    Row(
        "literal",
        "the job's own data and nothing else",
        Example(
            'Pipeline({Job("one"): Job("show", {"x": 0}, bind="literal")}, data={"y": 1})',
            'results["show"] == {"x": 0}',
        ),
    ),
    Row(
        "a pipeline as worker",
        "a run of its own; its results are the job's",
        Example(
            'Pipeline({Job(Pipeline({Job("one"): None}), name="inner"): Job("show", bind="item")})',
            'results["show"] == {"one": 1} or results["inner"] == {"one": 1}',
        ),
    ),
    Row(
        "Job.shell",
        "shell text instead of a worker; JSON on its output is its result",
        Example('Pipeline({Job.shell("echo 3", name="three"): None})', 'results["three"] == 3'),
    ),
    Row(
        "Job.gate",
        "a node without work, between many jobs and many others",
        Example(
            'Pipeline({(Job("one"), Job("two")): Job.gate("both"), Job("both"): Job("numbers")})',
            'states == {"one": "success", "two": "success", "numbers": "success"}',
        ),
    ),
]
RETRY = [
    Row(
        "tries",
        "how many attempts, the first too",
        Example('Pipeline({Job("flaky", retry=Retry(2)): None})', 'error.reason == "ConnectionError: attempt 2"'),
    ),
    Row(
        "delay",
        "seconds before the second attempt",
        Example('Pipeline({Job("flaky", retry=Retry(3, delay=0.1)): None})', 'results["flaky"] == "attempt 3"'),
    ),
    Row(
        "factor",
        "each delay is so many times the one before",
        Example(
            'Pipeline({Job("flaky", retry=Retry(3, delay=0.1, factor=2)): None})', 'results["flaky"] == "attempt 3"'
        ),
    ),
    Row(
        "cap",
        "no delay is longer",
        Example(
            'Pipeline({Job("flaky", retry=Retry(3, delay=0.1, factor=9, cap=0.2)): None})',
            'results["flaky"] == "attempt 3"',
        ),
    ),
    Row(
        "jitter",
        "False: the whole delay; by default a random part of it",
        Example(
            'Pipeline({Job("flaky", retry=Retry(3, delay=0.1, jitter=False)): None})',
            'results["flaky"] == "attempt 3"',
        ),
    ),
    Row(
        "on",
        "only after these exceptions (classes or names) and those derived from them, or exit codes",
        Example('Pipeline({Job("flaky", retry=Retry(3, on=[TimeoutError])): None})', 'state == "failed"'),
    ),
    Row(
        "never",
        "after these not",
        Example('Pipeline({Job.shell("exit 3", name="x", retry=Retry(3, never=[3])): None})', 'state == "failed"'),
    ),
]
GATHER = [
    Row(
        "Gather()",
        "all branches, however deep, into one list",
        Example(
            'Pipeline({Job("numbers", spread=True): Job("below", bind="item", spread=True), '
            'Job("below"): Job("show", gather=Gather())})',
            'results["show"] == [[0, 0, 1, 0, 1, 2]]',
        ),
    ),
    Row(
        "level",
        "so many levels",
        Example(
            'Pipeline({Job("numbers", spread=True): Job("below", bind="item", spread=True), '
            'Job("below"): Job("total", gather=Gather(level=1))})',
            'results["total"] == [0, 0, 1, 3]',
        ),
    ),
    Row(
        "by",
        "one list per value of this key of the results, in the order of their first items",
        Example(
            'Pipeline({Job("numbers", spread=True): Job("kind", bind="item"), '
            'Job("kind"): Job("show", gather=Gather(by="odd"))})',
            'results["show"] == [[[{"n": 0, "odd": False}, {"n": 2, "odd": False}]], '
            '[[{"n": 1, "odd": True}, {"n": 3, "odd": True}]]]',
        ),
    ),
    Row(
        "size",
        "lists of so many, each as soon as its branches are there; the last may be shorter",
        Example(
            'Pipeline({Job("numbers", {"count": 5}, spread=True): Job("double", bind="item"), '
            'Job("double"): Job("total", gather=Gather(size=2))})',
            'results["total"] == [2, 10, 8]',
        ),
    ),
]
ANSWERS = [
    Row(
        "any value",
        "the job's result",
        Example('Pipeline({Job("numbers"): None})', 'results["numbers"] == [0, 1, 2, 3]'),
    ),
    Row(
        "Choose(names, result)",
        "of the jobs right after it only these run; the others are skipped",
        Example(
            'Pipeline({Job("choose"): [Job("one"), Job("two")]})',
            'states == {"choose": "success", "one": "skipped", "two": "success"}',
        ),
    ),
    Row(
        "Skip(reason)",
        "it ends as skipped, with no result; what needs it is skipped too",
        Example(
            'Pipeline({Job("skip"): Job("one")})',
            'state == "success" and states == {"skip": "skipped", "one": "skipped"}',
        ),
    ),
    Row(
        "Graft(result, jobs, edges)",
        "puts new jobs into the run: after it, and before whatever waits for it",
        Example(
            'Pipeline({Job("plant"): Job("show", bind="named")})',
            'results["show"] == {"plant": "planted", "fresh": 2}',
        ),
    ),
    Row(
        "raise RetryAfter(seconds)",
        "another attempt after that time; without a `retry` ten in all",
        Example('Pipeline({Job("later"): None})', 'results["later"] == "attempt 2"'),
    ),
    Row(
        "raise anything else",
        "the attempt has failed",
        Example('Pipeline({Job("fail"): None})', '(error.job, error.reason) == ("fail", "ValueError: no good")'),
    ),
    Row(
        "current()",
        "`.run .job .path .attempt .attempt_key .data .resources .cancelled`, `.shell(text)`, "
        "`.progress(done, total, message)`",
        Example(
            'Pipeline({Job("numbers", spread=True): Job("where", bind="item")})',
            'results["where"][2] == ["where", [2], 1]',
        ),
    ),
]
PIPELINE = {
    "data": Example('Pipeline({Job("greet"): None}, data={"name": "Ada"})', 'results["greet"] == "hello, Ada"'),
    "title": Example('Pipeline({Job("one"): None}, title="the first")', 'results["one"] == 1'),
    "key": Example('Pipeline({Job("one"): None}, key="2024-02-29")', 'results["one"] == 1'),
    "on_duplicate": Example(
        'Pipeline({Job("one"): None}, key="nightly", on_duplicate="replace")', 'results["one"] == 1'
    ),
    "priority": Example('Pipeline({Job("one"): None}, priority=5)', 'results["one"] == 1'),
    "on_error": Example(
        'Pipeline({Job("fail"): Job("one"), Job("two"): None}, on_error="block")',
        'states == {"fail": "failed", "one": "skipped", "two": "success"}',
    ),
    "deadline": Example(
        'Pipeline({Job("nap", {"seconds": 60}): None}, deadline=0.3)',
        '(state, error.reason) == ("cancelled", "deadline exceeded")',
    ),
    "not_before": Example(
        'Pipeline({Job("one"): None}, not_before=datetime.now(UTC) + timedelta(seconds=0.3))', 'results["one"] == 1'
    ),
    "after": Example('Pipeline({Job("one"): None}, after=[done])', 'results["one"] == 1', "cluster"),
    "max_active": Example(
        'Pipeline({Job("numbers", spread=True): Job("double", bind="item")}, max_active=1)', 'state == "success"'
    ),
    "paused": Example(
        'manager.status(manager.start(Pipeline({Job("one"): None}, paused=True)))', 'it.state == "running"', "cluster"
    ),
    "hooks": Example(
        'Pipeline({Job("one"): None}, hooks={"success": Job("show", bind="named"), "always": Job("two")})',
        'state == "success" and results == {"one": 1}',
    ),
    "groups": Example(
        'Pipeline({Job("fail"): Job("one"), Job("two"): None}, on_error="block", '
        'groups=[Group("pair", ["fail", "one"], on_error="continue", hooks={"failure": Job("show")})])',
        'state == "success" and states["fail"] == "failed"',
    ),
}
RUN_HERE = [
    Row(
        "workers",
        "a module or its name, or a list of classes and functions; functions that jobs were given need none",
        Example('Pipeline({Job("one"): None}).run(workers="workers")', 'it.results == {"one": 1}', "here"),
    ),
    Row(
        "store",
        "an object, a class, or `module:Class`",
        Example(
            'Pipeline({Job("one"): None}).run(store="headrace.stores:MemoryStore")', 'it.state == "success"', "here"
        ),
    ),
    Row(
        "processes",
        "how many processes run jobs; 0: this one",
        Example('Pipeline({Job("one"): None}).run(processes=2)', 'it.results == {"one": 1}', "here"),
    ),
    Row(
        "on_event",
        "is called with whatever happens",
        Example('Pipeline({Job("one"): None}).run(on_event=print)', 'it.state == "success"', "here"),
    ),
    Row(
        "cache_folder",
        "where results of jobs with `cache` are kept",
        Example('Pipeline({Job("one", cache="content"): None}).run(cache_folder="cache")', "it.ok", "here"),
    ),
]
VERBS = [
    Row(
        "start",
        "submit a pipeline, in any style; the id of its run",
        Example('manager.start(Pipeline({Job("one"): None}))', "len(it) == 32"),
        "headrace submit pipeline.py",
    ),
    Row(
        "start_many",
        "many at once",
        Example('manager.start_many([Pipeline({Job("one"): None}), Pipeline({Job("two"): None})])', "len(it) == 2"),
    ),
    Row(
        "wait",
        "wait for the end of a run; its state, results, states, error",
        Example("manager.wait(done, 30)", 'it.state == "success"'),
        "headrace watch done --timeout 30",
    ),
    Row("update", "how many runs have ended since the last call", Example("manager.update(0)", "it >= 0")),
    Row(
        "status",
        "the run as it is now",
        Example("manager.status(failed)", 'it.state == "failed"'),
        "headrace show failed",
    ),
    Row(
        "results",
        "what its jobs have returned so far; below a spread a list in index order, of what has a result",
        Example("manager.results(done)", 'it["one"] == 1'),
        "headrace results done",
    ),
    Row(
        "list",
        "runs, the newest first",
        Example('manager.list("success", 5)', "done in [one.id for one in it]"),
        "headrace list --state success --limit 5",
    ),
    Row(
        "snapshot",
        "everything that is known of a run",
        Example("manager.snapshot(done)", 'it.progress.states()["one"] == "success"'),
        "headrace show done --attempts --json",
    ),
    Row(
        "definition",
        "its pipeline, compiled",
        Example("manager.definition(done)", 'it.nodes[0].name == "one"'),
        "headrace dot done",
    ),
    Row("facts", "its lines in the journal", Example("manager.facts(done)", "len(it) >= 3")),
    Row(
        "events",
        "what happens in the cluster, from a cursor on",
        Example('list(manager.events("0-0", follow=False))', "any(one.run == done for one in it)"),
        "headrace events --since 0-0",
    ),
    Row(
        "explain",
        "why a run or a job is not running",
        Example('manager.explain(waiting, "one")', '"paused" in it'),
        "headrace explain waiting one",
    ),
    Row(
        "cache_explain",
        "why a job was or was not taken from the cache",
        Example("manager.cache_explain(done)", "isinstance(str(it), str)"),
        "headrace cache explain done",
    ),
    Row(
        "logs",
        "what its attempts have written; with `follow`, also what they are writing",
        Example("list(manager.logs(done))", "isinstance(it, list)"),
        "headrace logs done",
    ),
    Row(
        "pause",
        "start nothing more of a run, of a role, or at all",
        Example('manager.pause(role="encode")', "it is None or it"),
        "headrace pause --role encode",
    ),
    Row(
        "resume",
        "go on",
        Example('manager.resume(role="encode")', "it is None or it"),
        "headrace resume --role encode",
    ),
    Row(
        "retry",
        "what did not succeed, and what depends on it, again; the id and all other results stay",
        Example("manager.retry(failed)", "it == failed"),
        "headrace retry failed",
    ),
    Row(
        "rerun",
        "the same pipeline from its beginning, as a new run",
        Example("manager.rerun(done)", "it != done"),
        "headrace rerun done",
    ),
    Row(
        "cancel",
        "end a run, down to the process trees of its jobs; its hooks run",
        Example('manager.cancel(waiting, "not needed")', 'manager.wait(waiting, 30).error.reason == "not needed"'),
        "headrace cancel waiting --reason 'not needed'",
    ),
    Row(
        "prune",
        "remove what is kept of a run, or of all that ended so long ago",
        Example("manager.prune(older=30 * 86400)", "it == 0"),
        "headrace prune --older 30d",
    ),
    Row(
        "cluster",
        "Router, Brokers, Pipeliners, queues and rates",
        Example("manager.cluster()", 'it["limits"] == {"licence": [0, 2]}'),
        "headrace status",
    ),
    Row(
        "config",
        "the Router's configuration",
        Example("manager.config()", 'it["config"]["limits"] == {"licence": 2}'),
        "headrace config",
    ),
    Row(
        "drain",
        "give a Broker no more work; with `on=False`, again",
        Example('manager.drain(manager.cluster()["brokers"][0]["place"], on=False)', "it is None or it"),
        "headrace drain place --off",
    ),
    Row("forget", "keep a pipeline in mind no longer; its run goes on", Example("manager.forget()", "it is None")),
    Row("close", "let go of the Router", Example("PipelineManager().close()", "it is None")),
]


def rows(several: Iterable[Row]) -> list[tuple[str, str, str]]:
    return [(f"`{row.name}`", row.meaning, str(row.example)) for row in several]


def verb_rows() -> list[tuple[str, str, str, str]]:
    return [(f"`{row.name}`", row.meaning, str(row.example), f"`{row.twin}`" if row.twin else "") for row in VERBS]
