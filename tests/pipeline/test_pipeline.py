"""A pipeline: jobs, data, equality, its forms, and the one that counts its own progress."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime

import msgpack
import pytest

from headrace.pipeline.errors import ConfigError, DefinitionError, ValueNotSupported
from headrace.pipeline.graph import NO_ORDER
from headrace.pipeline.group import Group
from headrace.pipeline.job import Job
from headrace.pipeline.options import Gather, Retry
from headrace.pipeline.pipeline import Pipeline, PipelineForPipeliner

RUN = "0123456789abcdef" * 2


def chain(data=None, **options):
    return Pipeline({Job("A"): Job("B"), Job("B"): Job("C")}, data, **options)


def rich():
    return Pipeline(
        {
            (Job("A", data={"x": 1}), Job("B", timeout=3)): Job("Join", bind="args"),
            Job("Join"): [Job("W", name="again", retry=Retry(3, on=["OSError"]), limits=["l"]), None],
            Job("Join", bind="args"): [Job("D", bind="literal", data={"own": 1}), Job.shell("ls")],
            Job.gate("gate"): Job("D"),
        },
        data={"x": 0, "y": [1, {"z": None}]},
        title="rich",
        key="k",
        on_duplicate="replace",
        priority=3,
        on_error="block",
        deadline=60,
        not_before=1e9,
        after=[RUN],
        max_active=4,
        hooks={"failure": Job("Notify", data={"to": "me"})},
        groups=[Group("g", ["A", Job("B")], on_error="continue", hooks={"always": Job("Clean")})],
    )


# Jobs and data ------------------------------------------------------------------------------------------------------


def test_a_pipeline_knows_its_jobs_and_its_starters():
    pipeline = Pipeline({(Job("A"), Job("B")): [Job("C"), Job("D")], Job("E"): None})
    assert pipeline.jobs == (Job("A"), Job("B"), Job("C"), Job("D"), Job("E"))
    assert pipeline.starters == (Job("A"), Job("B"), Job("E"))


def test_before_its_start_a_pipeline_has_no_id_and_has_not_ended():
    pipeline = chain()
    assert (pipeline.id, pipeline.finished, pipeline.failed, pipeline.sent_jobs) == (None, False, False, set())
    assert (pipeline.duration, pipeline.error, pipeline.started_at) == (None, None, None)
    assert pipeline.sent_jobs is not chain().sent_jobs


def test_its_data_is_given_to_every_job():
    data = {"foo": "bar"}
    pipeline = chain(data)
    assert pipeline.data == data
    assert all(job.data == data and job.pipeline is pipeline for job in pipeline.jobs)


def test_without_data_the_jobs_keep_their_own_and_get_no_pipeline():
    pipeline = Pipeline({Job("A", data={"x": 1}): Job("B")})
    assert [job.data for job in pipeline.jobs] == [{"x": 1}, None]
    assert not any(hasattr(job, "pipeline") for job in pipeline.jobs)


def test_a_jobs_own_data_is_laid_over_the_pipelines_and_stays_known():
    pipeline = Pipeline({Job("A", data={"x": 1}): Job("B", data=[3])}, data={"x": 0, "y": 0})
    first, second = pipeline.jobs
    assert (first.data, first.own_data) == ({"x": 1, "y": 0}, {"x": 1})
    assert (second.data, second.own_data) == ([3], [3])
    assert pipeline.data == {"x": 0, "y": 0}


def test_jobs_that_were_given_in_are_copied():
    job = Job("A", data={"x": 1}, timeout=2)
    one, two = Pipeline({job: None}, data={"n": 1}), Pipeline({job: None}, data={"n": 2})
    assert job.data == {"x": 1}
    assert not hasattr(job, "pipeline")
    assert [p.jobs[0].data["n"] for p in (one, two)] == [1, 2]
    assert Pipeline({one.jobs[0]: None}).jobs[0].data == {"x": 1}
    assert one.jobs[0].timeout == 2.0


def test_functions_and_classes_given_as_workers_are_known():
    def double(x):
        return 2 * x

    class Notify:
        pass

    inner = Pipeline({Job(len): None}, title="inner")
    pipeline = Pipeline({Job(double): [Job("B"), Job(inner)], Job("C"): Job(double)}, hooks={"failure": Job(Notify)})
    assert pipeline.workers == (double, len, Notify)


def test_a_pipeline_can_be_copied_and_pickled():
    for back in (copy.deepcopy(rich()), pickle.loads(pickle.dumps(rich()))):
        assert back == rich()
        assert back.definition() == rich().definition()
        assert [job.own_data for job in back.jobs] == [job.own_data for job in rich().jobs]


def test_the_graph_can_be_read_as_pairs_of_jobs():
    pipeline = Pipeline({(Job("A"), Job("B")): Job("C"), Job("C"): None})
    assert pipeline._graph == [(Job("A"), Job("C")), (Job("B"), Job("C")), (Job("C"), None)]
    assert Pipeline(pipeline._graph) == pipeline


# Equality -----------------------------------------------------------------------------------------------------------


def test_pipelines_are_equal_by_their_edges_and_their_data():
    assert chain() == chain()
    assert chain({"a": [1]}) == chain({"a": [1]})
    assert chain() != Pipeline({Job("A"): Job("B"), Job("B"): None})
    assert chain() != chain({"a": 1})
    assert chain() != "A"
    assert Pipeline({Job("A"): [Job("B"), Job("C")]}) == Pipeline({Job("A"): [Job("C"), Job("B")]})
    assert Pipeline({Job("A"): [Job("B"), Job("B")]}) != Pipeline({Job("A"): Job("B")})


def test_equal_pipelines_hash_equal():
    assert len({chain(), chain(), chain({"a": 1, "b": 2}), chain({"b": 2, "a": 1})}) == 2
    assert hash(Pipeline({Job("A"): None, Job("B"): None})) == hash(Pipeline({Job("B"): None, Job("A"): None}))
    assert hash(chain(7)) == hash(chain(7))


@pytest.mark.parametrize("data", [{"a": []}, [1], {"a": {}}])
def test_unhashable_data_makes_a_pipeline_unhashable(data):
    with pytest.raises(TypeError):
        hash(chain(data))


def test_the_repr_names_the_jobs():
    assert repr(chain()) == "<Pipeline: A, B, C>"
    assert repr(Pipeline({Job("A"): None}, data={"x": 1})) == "<Pipeline: A, data=...>"


# Options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("title", 3),
        ("key", ""),
        ("key", 7),
        ("on_duplicate", "ignore"),
        ("priority", "high"),
        ("priority", True),
        ("on_error", "stop"),
        ("deadline", 0),
        ("deadline", -3),
        ("not_before", "tomorrow"),
        ("not_before", float("nan")),
        ("not_before", datetime(2030, 1, 1)),
        ("after", ["abc"]),
        ("after", 3),
        ("after", {RUN: 1}),
        ("max_active", 0),
        ("hooks", [Job("A")]),
        ("hooks", {"failure": "Notify"}),
        ("hooks", {"failed": Job("Notify")}),
        ("hooks", {"always": Job("Notify", spread=True)}),
        ("hooks", {"always": Job.gate("Notify")}),
        ("groups", ["A"]),
        ("groups", {"A": "B"}),
        ("groups", 3),
    ],
)
def test_an_option_that_cannot_be_is_refused_naming_it(option, value):
    with pytest.raises(ValueError, match=option.rstrip("s")) as caught:
        chain(**{option: value})
    assert str(caught.value).startswith("pipeline")


def test_a_wrong_option_names_the_pipeline_by_its_title():
    with pytest.raises(DefinitionError, match=r"^pipeline 'nightly': deadline"):
        chain(title="nightly", deadline="soon")


def test_a_moment_is_an_aware_datetime_or_epoch_seconds():
    assert chain(not_before=datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)).not_before == 1e9
    assert chain(not_before=1_000_000_000).not_before == 1e9


def test_a_group_names_jobs_of_its_pipeline():
    with pytest.raises(DefinitionError, match="group 'g': unknown job 'Bb'; did you mean 'B'"):
        chain(groups=[Group("g", ["A", "Bb"])])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"title": 3, "jobs": []}, "title"),
        ({"title": "g", "jobs": "AB"}, "jobs"),
        ({"title": "g", "jobs": [3]}, "a member"),
        ({"title": "g", "jobs": [], "on_error": "stop"}, "on_error"),
        ({"title": "g", "jobs": [], "hooks": {"failure": ["A"]}}, "hooks"),
    ],
)
def test_a_group_that_cannot_be_is_refused(arguments, says):
    with pytest.raises(DefinitionError, match=says):
        Group(**arguments)


def test_a_group_shows_its_title_and_jobs():
    assert repr(Group("g", ["A", Job("B")])) == "<Group: 'g', A, B>"


def test_options_are_fixed():
    with pytest.raises(AttributeError, match="make a new Pipeline"):
        chain().deadline = 3


def test_an_item_comes_from_one_job():
    with pytest.raises(DefinitionError, match=r"'C': bind='item' .* 2 come before it \(A, B\)"):
        Pipeline({(Job("A"), Job("B")): Job("C", bind="item")})
    assert Pipeline({Job("A"): [Job("C", bind="item"), Job("C", bind="item")]})


def test_branches_that_cannot_meet_are_refused_when_the_pipeline_is_made():
    spread = {Job("A", spread=True): Job("C"), Job("B", spread=True): Job("C")}
    with pytest.raises(DefinitionError, match="gather"):
        Pipeline(spread)
    assert Pipeline({Job("A", spread=True): Job("B"), Job("B"): Job("C", gather=Gather())})


# DOT and drawings ---------------------------------------------------------------------------------------------------


def test_str_is_the_dot_text_and_save_dot_writes_it(tmp_path):
    pipeline = Pipeline({Job("A"): Job("ção")})
    pipeline.save_dot(tmp_path / "a.dot")
    pipeline.save_dot(str(tmp_path / "b.dot"), encoding="iso-8859-1")
    assert (tmp_path / "a.dot").read_bytes() == f"{pipeline}\n".encode()
    assert (tmp_path / "b.dot").read_bytes() == f"{pipeline}\n".encode("iso-8859-1")


def test_without_graphviz_a_sentence_says_so_and_notebooks_fall_back(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="install graphviz"):
        chain().to_svg()
    assert chain()._repr_svg_() is None


def test_with_graphviz_it_is_drawn():
    if not shutil.which("dot"):
        assert not os.environ.get("CI"), "graphviz has to be there in CI"
        pytest.skip("graphviz is not installed")
    svg = chain()._repr_svg_()
    assert svg is not None
    assert "<svg" in svg
    assert ">B</text>" in svg


# The tuple form -----------------------------------------------------------------------------------------------------


def test_serialized_it_is_a_tuple_with_graph_and_data():
    serialized = Pipeline({Job("A"): Job("B"), Job("B"): None}).serialize()
    a, b = Job("A").serialize(), Job("B").serialize()
    assert dict(serialized) == {"graph": ((a, b), (b, None)), "data": None}
    assert dict(chain({"x": 1}).serialize())["data"] == (("x", 1),)
    assert dict(chain({"x": 1}).serialize())["graph"][0][0] == Job("A", data={"x": 1}).serialize()


@pytest.mark.parametrize(
    "pipeline",
    [
        chain(),
        chain({"a": 1}),
        chain({"a": [1]}),
        chain([1, 2]),
        chain((("a", 1),)),
        rich(),
        Pipeline({Job("A", data={"a": 1}): Job("B", data=7)}),
        Pipeline({Job("A", data={"a": 1}): Job("B", data=7)}, data={"a": 1}),
        Pipeline({Job("A"): [Job("B"), Job("B"), None]}),
    ],
    ids=repr,
)
def test_a_serialized_pipeline_comes_back_whole(pipeline):
    back = Pipeline.deserialize(pipeline.serialize())
    assert back == pipeline
    assert back.serialize() == pipeline.serialize()
    for job in pipeline.jobs:
        (same,) = [other for other in back.jobs if other == job]
        assert (same.data, same.own_data, same.options) == (job.data, job.own_data, job.options)


def test_it_comes_back_from_lists_as_json_gives_them():
    back = Pipeline.deserialize(json.loads(json.dumps(chain({"a": 1}).serialize())))
    assert back == chain({"a": 1})


def test_without_a_graph_nothing_can_be_deserialized():
    with pytest.raises(KeyError, match="graph"):
        Pipeline.deserialize({"data": None})


def test_a_sub_pipeline_has_no_tuple_form():
    with pytest.raises(DefinitionError, match="to_dict"):
        Pipeline({Job(chain(title="inner")): None}).serialize()


# The document form --------------------------------------------------------------------------------------------------


def same(one, other):
    return one.to_dict() == other.to_dict() and one == other and one.definition() == other.definition()


@pytest.mark.parametrize(
    "pipeline",
    [
        chain(),
        rich(),
        Pipeline({Job("A"): [Job("B"), Job("B"), None]}),
        Pipeline({Job(rich()): Job(chain(), name="c")}),
    ],
    ids=repr,
)
def test_a_document_is_clean_for_json_and_msgpack_and_comes_back_whole(pipeline):
    document = pipeline.to_dict()
    assert document["version"] == 1
    for back in (
        Pipeline.from_dict(document),
        Pipeline.from_dict(json.loads(json.dumps(document, allow_nan=False))),
        Pipeline.from_dict(msgpack.unpackb(msgpack.packb(document))),
    ):
        assert same(back, pipeline)
        assert back.options.keys() == pipeline.options.keys()


def test_values_that_json_does_not_have_come_back_too():
    data = {"when": date(2024, 2, 29), "t": (1, 2), "nan": float("inf"), "big": 2**70, "raw": b"\0", "k": {3: "x"}}
    document = json.loads(json.dumps(chain(data).to_dict(), allow_nan=False))
    assert Pipeline.from_dict(document).data == data
    tricky = {"$packed": "not packed", "deep": {"$packed": 3}}
    assert Pipeline.from_dict(json.loads(json.dumps(chain(tricky).to_dict()))).data == tricky


def test_data_that_is_nested_deep_comes_back_too():
    deep = []
    for _ in range(300):
        deep = [deep]
    assert Pipeline.from_dict(json.loads(json.dumps(chain({"d": deep}).to_dict()))).data == {"d": deep}


def test_texts_that_are_no_unicode_are_kept_or_refused_but_never_break_the_file():
    document = chain({"x": "\udc80", "\udc80": 1}).to_dict()
    assert (
        Pipeline.from_dict(json.loads(json.dumps(document, ensure_ascii=False).encode())).data
        == chain({"x": "\udc80", "\udc80": 1}).data
    )


def test_a_document_nested_deeper_than_any_is_written_is_refused():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(DefinitionError, match="nested too deep"):
        Pipeline.from_dict({"version": 1, "jobs": ["A"], "data": deep})


def test_data_that_cannot_travel_is_refused_naming_its_place():
    with pytest.raises(ValueNotSupported, match=r"data\['a'\]\[1\]"):
        chain({"a": [0, object()]}).to_dict()
    with pytest.raises(ValueNotSupported, match="job 'A'"):
        Pipeline({Job("A", data={"x": object()}): None}).to_dict()


def test_a_document_may_be_written_by_hand():
    pipeline = Pipeline.from_dict(
        {"version": 1, "jobs": ["A", {"worker": "B", "timeout": 3}, "C"], "edges": [["A", "B"]]}
    )
    assert pipeline == Pipeline([(Job("A"), Job("B")), (Job("C"), None)])
    assert pipeline.jobs[1].timeout == 3.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version must be 1"),
        ({"version": None}, "version must be 1"),
        ({"version": True}, "version must be 1"),
        ({"titel": "x"}, "unknown key 'titel'; did you mean 'title'"),
        ({"jobs": {"A": 1}}, "jobs must be a list"),
        ({"jobs": [3]}, r"jobs\[0\] must be a map"),
        ({"jobs": [{"worker": 3}]}, r"jobs\[0\]: worker must be a text"),
        ({"jobs": [{"name": "A"}]}, r"jobs\[0\]: a job needs a worker"),
        ({"jobs": [{"worker": "A", "tiemout": 3}]}, r"jobs\[0\]: unknown key 'tiemout'; did you mean 'timeout'"),
        ({"jobs": [{"worker": "A", "timeout": "3"}]}, r"jobs\[0\]: job 'A': timeout must be"),
        ({"jobs": [{"worker": "A", "retry": {"trys": 3}}]}, r"jobs\[0\].*retry: unknown option 'trys'"),
        ({"jobs": [{"worker": "A", "retry": {}}]}, "retry"),
        ({"jobs": [{"worker": "A", "gather": {"size": 0}}]}, "size must be"),
        ({"jobs": [{"worker": "A", "command": {"args": ["x"]}}]}, "unknown option 'args'"),
        ({"jobs": [{"gate": True}]}, "a gate has a name and nothing else"),
        ({"jobs": [{"gate": True, "name": "g", "timeout": 1}]}, "a gate has a name and nothing else"),
        ({"jobs": [{"pipeline": {}, "name": "g"}]}, r"jobs\[0\].pipeline: version"),
        ({"jobs": [{"pipeline": {}, "worker": "g"}]}, "not both"),
        ({"jobs": ["A", "A"]}, "two jobs are named 'A'"),
        ({"jobs": ["A"], "edges": [["A", "B"]]}, "unknown job in an edge 'B'"),
        ({"jobs": ["A"], "edges": ["AA"]}, r"edges\[0\] must be a pair"),
        ({"jobs": ["A"], "edges": [["A"]]}, r"edges\[0\] must be a pair"),
        ({"jobs": ["A"], "edges": [[None, "A"]]}, r"edges\[0\] must be a pair"),
        ({"jobs": ["A"], "edges": [["A", "A"]]}, "A > A"),
        ({"jobs": []}, NO_ORDER),
        ({"data": {"$packed": "!"}}, "holds no packed value"),
        ({"data": {"$packed": 3}}, "must stand alone"),
        ({"data": {"x": {"$packed": "wA==", "y": 1}}}, r"data\['x'\]: '\$packed' must stand alone"),
        ({"hooks": ["A"]}, "hooks must be a map"),
        ({"hooks": {"failed": "A"}}, "unknown hook 'failed'"),
        ({"hooks": {"failure": 3}}, r"hooks\['failure'\] must be a map"),
        ({"groups": [{"title": "g", "jobs": ["X"]}]}, "unknown job 'X'"),
        ({"groups": [{"title": "g", "hooks": []}]}, None),
        ({"groups": [{"title": "g", "hooks": [1]}]}, "hooks must be a map"),
        ({"groups": [{"title": "g", "members": []}]}, "unknown key 'members'"),
        ({"deadline": "soon"}, "deadline must be"),
        ({"after": [3]}, "after must be"),
    ],
)
def test_a_document_that_cannot_be_is_refused_naming_the_place(change, says):
    document = {"version": 1, "jobs": ["A"], "edges": [], **change}
    if says is None:
        assert Pipeline.from_dict(document).groups[0].hooks == {}
        return
    with pytest.raises(DefinitionError, match=says):
        Pipeline.from_dict(document)


@pytest.mark.parametrize("document", [None, [], "pipeline", 3])
def test_what_is_no_document_is_refused(document):
    with pytest.raises(DefinitionError, match="must be a map"):
        Pipeline.from_dict(document)


def test_pipelines_nested_without_end_are_refused():
    document = {"version": 1, "jobs": ["A"]}
    for _ in range(40):
        document = {"version": 1, "jobs": [{"name": "x", "pipeline": document}]}
    with pytest.raises(DefinitionError, match="nested more than 16 deep"):
        Pipeline.from_dict(document)


# The pipeline that counts its own progress --------------------------------------------------------------------------


def test_available_are_jobs_whose_predecessors_have_finished():
    a, b, c, d = Job("A"), Job("B"), Job("C"), Job("D")
    pipeline = PipelineForPipeliner({a: (b, c), (b, c): d})
    assert pipeline.available_jobs() == {a}
    pipeline.add_finished_job(a)
    assert pipeline.available_jobs() == {b, c}
    pipeline.add_finished_job(b)
    assert pipeline.available_jobs() == {c}
    assert pipeline.finished_job(b)
    assert not pipeline.finished_job(c)
    pipeline.add_finished_job(c)
    assert (pipeline.available_jobs(), pipeline.finished()) == ({d}, False)
    pipeline.add_finished_job(d)
    assert (pipeline.available_jobs(), pipeline.finished()) == (set(), True)


def test_an_edge_that_stands_twice_is_waited_for_once():
    pipeline = PipelineForPipeliner({Job("A"): [Job("B"), Job("B")]})
    pipeline.add_finished_job(Job("A"))
    assert pipeline.available_jobs() == {Job("B")}


def test_a_strange_job_and_a_job_finished_twice_are_errors():
    pipeline = PipelineForPipeliner({Job("A"): Job("B")})
    with pytest.raises(ValueError) as strange:
        pipeline.add_finished_job(Job("X"))
    assert str(strange.value) == "Job <Job worker=X> not in pipeline"
    pipeline.add_finished_job(Job("A"))
    with pytest.raises(RuntimeError) as twice:
        pipeline.add_finished_job(Job("A"))
    assert str(twice.value) == "Job <Job worker=A> was already declared as finished"


def test_a_job_finished_before_its_predecessors_is_not_available_again():
    pipeline = PipelineForPipeliner({Job("A"): Job("B")})
    pipeline.add_finished_job(Job("B"))
    pipeline.add_finished_job(Job("A"))
    assert pipeline.available_jobs() == set()
    assert pipeline.finished()


def test_it_is_made_from_a_serialized_pipeline():
    pipeline = PipelineForPipeliner.deserialize(chain({"a": 1}).serialize())
    assert type(pipeline) is PipelineForPipeliner
    assert pipeline.available_jobs() == {Job("A")}
    assert PipelineForPipeliner.from_dict(rich().to_dict()).available_jobs() == {Job("A"), Job("B"), Job("gate")}


def test_importing_the_model_loads_no_daemon_no_store_and_no_worker():
    code = (
        "import sys; from headrace import Job, Pipeline; Pipeline({Job('A'): None}).definition();"
        "print([m for m in sys.modules if m == 'zmq' or m.startswith(('headrace.d', 'headrace.s', 'headrace.w'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_levels_are_gathered_only_where_there_are_branches():
    Pipeline({Job("A"): Job("B", gather=Gather())})
    Pipeline({Job("A", spread=True): Job("B", gather=Gather(level=1))})
    with pytest.raises(DefinitionError, match="gathers 1 levels of branches, but 0 are open"):
        Pipeline({Job("A"): Job("B", gather=Gather(level=1))})
