"""The compiled form: what of a pipeline travels, and in which part."""

import itertools
from time import perf_counter

import pytest

from headrace.pipeline.compile import compile_pipeline, data_of, options_of
from headrace.pipeline.definition import (
    CommandLine,
    Definition,
    GatherRule,
    Node,
    RetryRule,
    RunOptions,
    unpack_definition,
)
from headrace.pipeline.errors import DefinitionError, ValueNotSupported
from headrace.pipeline.group import Group
from headrace.pipeline.job import Job
from headrace.pipeline.options import Gather, Retry
from headrace.pipeline.payload import unpack
from headrace.pipeline.pipeline import Pipeline

RUN = "0123456789abcdef" * 2


def test_a_plain_pipeline_is_names_and_order_edges():
    definition = compile_pipeline(Pipeline({Job("A"): Job("B"), Job("B"): None}, data={"x": 1}))
    assert definition == Definition(nodes=(Node(name="A"), Node(name="B")), edges=((0, 1, "order"),))


def test_a_packed_definition_comes_back():
    pipeline = Pipeline({Job("W", name="A", data={"x": (1, 2)}): Job("B", retry=Retry(2))})
    assert unpack_definition(pipeline.definition()) == compile_pipeline(pipeline)


def test_the_runs_data_travels_once_and_a_jobs_own_data_with_its_node():
    pipeline = Pipeline({Job("A", data={"own": 1}): Job("B")}, data={"shared": 2})
    definition = compile_pipeline(pipeline)
    assert unpack(data_of(pipeline)) == {"shared": 2}
    assert [node.data and unpack(node.data) for node in definition.nodes] == [{"own": 1}, None]
    assert data_of(Pipeline({Job("A"): None})) is None


def test_every_option_of_a_job_reaches_its_node():
    job = Job(
        "W",
        {"d": 1},
        name="N",
        bind="named",
        gather=Gather(by="k"),
        when="always",
        retry=Retry(3, 1, on=ValueError),
        timeout=1,
        queue_timeout=2,
        role="gpu",
        resources={"gpu": 1},
        limits=["licence"],
        priority=5,
        on_error="continue",
        cache="content",
    )
    node = compile_pipeline(Pipeline({Job("S", spread=True): Job("K"), Job("K"): job})).nodes[2]
    assert unpack(node.data) == {"d": 1}
    assert node == Node(
        name="N",
        worker="W",
        data=node.data,
        bind="named",
        gather=GatherRule(by="k"),
        when="always",
        retry=RetryRule(tries=3, delay=1.0, on=("ValueError",)),
        timeout=1.0,
        queue_timeout=2.0,
        role="gpu",
        resources={"gpu": 1.0},
        limits=("licence",),
        priority=5,
        on_error="continue",
        cache="content",
    )


def test_commands_gates_and_pipelines_are_nodes_too():
    inner = Pipeline({Job("A"): Job("B")}, data={"x": 1, "y": 1}, title="inner")
    pipeline = Pipeline({Job.gate("g"): [Job.command(["ls", "-l"]), Job(inner, data={"y": 2})]})
    gate, command, sub = compile_pipeline(pipeline).nodes
    assert (gate.kind, command.kind, sub.kind) == ("gate", "job", "pipeline")
    assert command.command == CommandLine(argv=("ls", "-l"))
    assert unpack(sub.data) == {"x": 1, "y": 2}
    assert unpack_definition(sub.definition) == compile_pipeline(inner)


@pytest.mark.parametrize(
    ("bind", "kind"),
    [
        ("store", "order"),
        ("literal", "order"),
        ("args", "value"),
        ("named", "value"),
        ("item", "value"),
        ("gather", "value"),
    ],
)
def test_results_are_handed_over_where_the_input_is_made_of_them(bind, kind):
    definition = compile_pipeline(Pipeline({Job("A"): Job("B", bind=bind)}))
    assert definition.edges == ((0, 1, kind),)
    assert definition.nodes[1].bind == bind


def test_gather_alone_implies_value_edges():
    definition = compile_pipeline(Pipeline({Job("A", spread=True): Job("B", gather=Gather())}))
    assert definition.edges == ((0, 1, "value"),)
    assert (definition.nodes[1].bind, definition.nodes[1].gather) == ("gather", GatherRule())


def test_an_edge_that_stands_twice_counts_twice_for_positional_arguments_only():
    assert len(compile_pipeline(Pipeline({Job("A"): [Job("B"), Job("B")]})).edges) == 1
    assert len(compile_pipeline(Pipeline({Job("A"): [Job("B", bind="named"), Job("B")]})).edges) == 1
    assert len(compile_pipeline(Pipeline({Job("A"): [Job("B", bind="args"), Job("B")]})).edges) == 2


def test_hooks_groups_and_the_error_policy_are_part_of_the_definition():
    pipeline = Pipeline(
        {Job("A"): Job("B")},
        on_error="block",
        hooks={"failure": Job("Notify", data={"to": "me"})},
        groups=[Group("g", ["B"], on_error="continue", hooks={"always": [Job("X"), Job("Y")]})],
    )
    definition = compile_pipeline(pipeline)
    assert definition.on_error == "block"
    assert definition.hooks["failure"].name == "Notify"
    (group,) = definition.groups
    assert (group.title, group.members, group.on_error) == ("g", (1,), "continue")
    assert [node.name for node in group.hooks["always"]] == ["X", "Y"]


def test_the_options_of_the_run_are_for_the_router():
    earlier = Pipeline({Job("A"): None})
    earlier.id = RUN
    pipeline = Pipeline(
        {Job("A"): None},
        title="t",
        key="k",
        on_duplicate="reject",
        priority=2,
        deadline=5,
        not_before=7,
        after=[earlier, "f" * 32],
        max_active=3,
    )
    assert options_of(pipeline) == RunOptions(
        title="t",
        key="k",
        on_duplicate="reject",
        priority=2,
        deadline=5.0,
        not_before=7.0,
        after=(RUN, "f" * 32),
        max_active=3,
    )
    assert options_of(earlier) == RunOptions()


def test_to_run_after_a_pipeline_it_has_to_be_started():
    pipeline = Pipeline({Job("A"): None}, after=Pipeline({Job("B"): None}))
    with pytest.raises(DefinitionError, match="<Pipeline: B>, which was not started yet"):
        options_of(pipeline)


def test_data_that_cannot_travel_is_named_with_its_job_and_place():
    with pytest.raises(ValueNotSupported, match=r"data of job 'A'\['x'\]"):
        Pipeline({Job("A", data={"x": object()}): None}).definition()
    with pytest.raises(ValueNotSupported, match=r"data\['x'\]"):
        data_of(Pipeline({Job("A"): None}, data={"x": object()}))


def test_a_hundred_thousand_jobs_compile_in_seconds():
    jobs = [Job(f"J{n}") for n in range(100_000)]
    pipeline = Pipeline(list(itertools.pairwise(jobs)))
    began = perf_counter()
    assert len(pipeline.definition()) > 1_000_000
    assert perf_counter() - began < 10
