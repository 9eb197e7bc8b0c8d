"""A job: what it is called, what it equals, what it refuses."""

from functools import partial

import pytest

from headrace.pipeline.definition import CommandLine
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.job import Job, merged
from headrace.pipeline.options import Gather, Retry
from headrace.pipeline.pipeline import Pipeline
from headrace.workers.functions import worker


def test_a_job_knows_its_worker_and_its_data():
    assert (Job("ABC").worker_name, Job("ABC").name, Job("ABC").data) == ("ABC", "ABC", None)
    assert Job("ABC", data={"spam": 1}).data == {"spam": 1}
    assert Job(worker_name="ABC", data=1).worker_name == "ABC"


def test_the_repr_shows_that_there_is_data_and_a_name_of_its_own():
    assert repr(Job("ABC")) == "<Job worker=ABC>"
    assert repr(Job("ABC", data={"a": 1})) == "<Job worker=ABC, data=...>"
    assert repr(Job("ABC", name="second", data=0)) == "<Job worker=ABC, name=second, data=...>"


def test_jobs_are_equal_by_name_whatever_their_data_and_options():
    assert Job("A") == Job("A", data={"z": 1}, timeout=3)
    assert hash(Job("A")) == hash(Job("A", data={"z": []}))
    assert Job("A") != Job("A", name="again")
    assert Job("W", name="A") == Job("A")
    assert Job("A") != "A"
    assert len({Job("A"), Job("A"), Job("B")}) == 2


def test_a_subclass_is_not_equal_to_a_job():
    class Other(Job):
        pass

    assert Other("A") != Job("A")


def test_a_function_and_a_class_name_themselves():
    def words(text):
        return text.split()

    class Downloader:
        def process(self, data):
            return data

    assert (Job(words).name, Job(words).worker) == ("words", words)
    assert (Job(Downloader).name, Job(Downloader, name="second").worker_name) == ("Downloader", "Downloader")


def test_a_decorated_function_goes_by_the_name_it_was_given():
    @worker(name="resize")
    def make_smaller(image):
        return image

    assert Job(make_smaller) == Job("resize")


def test_what_no_broker_could_find_by_name_is_no_worker():
    for nameless in (lambda data: data, partial(print, 1)):
        with pytest.raises(DefinitionError, match="a function with a name"):
            Job(nameless, name="same")


@pytest.mark.parametrize("worker", [None, 7, [], b"A", object()])
def test_what_is_no_worker_is_refused(worker):
    with pytest.raises(ValueError, match="a job needs a worker"):
        Job(worker)


@pytest.mark.parametrize(
    ("worker", "options", "says"),
    [
        ("", {}, "not empty"),
        ("A", {"name": ""}, "not empty"),
        ("A", {"name": 3}, "name must be a text"),
        ("A", {"name": "hook:failure"}, "hook:"),
        ("!command", {}, "'!'"),
        ("\udc80", {}, "surrogates"),
    ],
)
def test_a_name_that_cannot_be_is_refused(worker, options, says):
    with pytest.raises(DefinitionError, match=says):
        Job(worker, **options)


def test_serialized_it_is_a_hashable_tuple_of_items():
    assert Job("x").serialize() == (("worker_name", "x"),)
    assert dict(Job("x", data={"k": "v"}).serialize()) == {"worker_name": "x", "data": (("k", "v"),)}
    assert hash(Job("x", data={"k": "v"}, retry=Retry(2, on=ValueError), resources={"gpu": 1}).serialize())


def test_without_a_worker_name_nothing_can_be_deserialized():
    with pytest.raises(ValueError) as caught:
        Job.deserialize({"data": {}})
    assert str(caught.value).startswith("`worker_name` was not specified")


@pytest.mark.parametrize(
    "job",
    [
        Job("x"),
        Job("x", data={"a": 1, "b": [2]}),
        Job("x", data=(("a", 1),)),
        Job("x", data=[1, 2]),
        Job("x", name="y", data=0),
        Job("x", retry=Retry(3, 1, 2, 60, False, ["ValueError", 75], KeyError), gather=Gather(by="k")),
        Job("x", resources={"cpu": 2}, limits=["licence", "{}"], priority=-4, when="always", spread=True),
        Job.command(["{}", "-l"], name="list", env={"A": "B"}, cwd="/tmp"),
        Job.shell("cat | wc -l"),
        Job.gate("both"),
    ],
)
def test_a_serialized_job_comes_back_whole(job):
    back = Job.deserialize(job.serialize())
    assert (back.name, back.worker_name, back.data, back.kind) == (job.name, job.worker_name, job.data, job.kind)
    assert back.options == job.options
    assert back.serialize() == job.serialize()


def test_unknown_options_of_a_serialized_job_are_refused_with_the_nearest_name():
    with pytest.raises(DefinitionError, match="did you mean 'timeout'"):
        Job.deserialize({"worker_name": "x", "timout": 3})


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [
        ("bind", "positional", "positional"),
        ("spread", 1, 1),
        ("gather", "all", "all"),
        ("gather", True, True),
        ("when", "sometimes", "sometimes"),
        ("retry", 3, 3),
        ("retry", {"tries": 0}, 0),
        ("timeout", 0, 0),
        ("timeout", -1.5, -1.5),
        ("timeout", float("nan"), float("nan")),
        ("timeout", float("inf"), float("inf")),
        ("timeout", True, True),
        ("timeout", "3", "3"),
        ("queue_timeout", -1, -1),
        ("role", "", ""),
        ("role", 7, 7),
        ("resources", ["gpu"], ["gpu"]),
        ("resources", {"gpu": -1}, -1),
        ("resources", {"": 1}, ""),
        ("limits", [""], ""),
        ("limits", {"licence": 2}, {"licence": 2}),
        ("limits", 3, 3),
        ("priority", 1.5, 1.5),
        ("priority", 2**40, 2**40),
        ("on_error", "stop", "stop"),
        ("cache", "name", "name"),
        ("command", "ls -l", "ls -l"),
        ("command", [], []),
        ("command", ["ls", 3], 3),
        ("command", {"argv": ["ls"], "shell": "ls"}, {"argv": ["ls"], "shell": "ls"}),
        ("command", {"argv": ["ls"], "env": {"A": 1}}, {"A": 1}),
    ],
)
def test_an_option_that_cannot_be_is_refused_naming_the_job_the_option_and_the_value(option, value, shown):
    with pytest.raises(ValueError) as caught:
        Job("Resize", **{option: value})
    assert "Resize" in str(caught.value)
    assert option in str(caught.value)
    assert "must be" in str(caught.value)
    assert str(caught.value).endswith(repr(shown))


def test_an_option_that_is_not_given_has_its_default():
    job = Job("A", timeout=None, limits=[], resources={}, spread=False, priority=0)
    assert job.options == {}
    assert (job.bind, job.when, job.spread, job.priority, job.limits) == ("store", "success", False, 0, ())
    assert (job.retry, job.gather, job.timeout, job.on_error, job.command_line) == (None,) * 5


def test_an_option_is_kept_as_the_model_has_it():
    job = Job("A", timeout=3, limits="licence", resources={"gpu": 1}, retry={"tries": 3})
    assert (job.timeout, job.limits, job.resources, job.retry) == (3.0, ("licence",), {"gpu": 1.0}, Retry(3))


def test_gather_alone_implies_its_bind():
    assert Job("A", gather=Gather()).bind == "gather"
    assert Job("A", gather=Gather(), bind="named").bind == "named"


def test_options_are_fixed_when_the_job_is_made():
    job = Job("A")
    with pytest.raises(AttributeError, match="make a new Job"):
        job.timeout = 3
    with pytest.raises(AttributeError):
        job.timout = 3


def test_a_command_is_a_job_named_after_its_program():
    job = Job.command(["/usr/bin/convert", "-"], cwd="/data", timeout=5)
    assert (job.name, job.timeout) == ("convert", 5.0)
    assert job.command_line == CommandLine(argv=("/usr/bin/convert", "-"), cwd="/data")
    assert Job("convert", command=["convert"]).command_line == CommandLine(argv=("convert",))


def test_shell_text_is_a_job_named_after_its_first_word():
    job = Job.shell("wc -l < input", name="lines")
    assert (job.name, job.command_line) == ("lines", CommandLine(shell="wc -l < input"))
    assert Job.shell("wc -l").name == "wc"


def test_a_command_given_as_text_says_how_to_write_it():
    with pytest.raises(DefinitionError, match=r"Job\.shell"):
        Job.command("ls -l")
    with pytest.raises(DefinitionError, match="must be a list"):
        Job.command([])
    with pytest.raises(DefinitionError, match="not empty"):
        Job.shell("")


def test_a_pipeline_can_stand_in_the_place_of_a_worker():
    inner = Pipeline({Job("A"): Job("B")}, title="inner")
    assert (Job(inner).name, Job(inner).kind, Job(inner, name="x").name) == ("inner", "pipeline", "x")
    with pytest.raises(DefinitionError, match="a pipeline with a title or name="):
        Job(Pipeline({Job("A"): None}))


def test_own_data_is_laid_over_what_is_below_when_both_are_dicts():
    assert merged({"a": 1, "b": 1}, {"b": 2}) == {"a": 1, "b": 2}
    assert merged({"a": 1}, [1]) == [1]
    assert merged([1], None) == [1]
    assert merged(None, {"b": 2}) == {"b": 2}


def test_a_value_whose_repr_raises_still_gives_a_message():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(DefinitionError, match="a Rude whose repr raises RuntimeError"):
        Job("A", timeout=Rude())
