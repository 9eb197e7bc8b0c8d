"""Steps: the promises of the ancestor's README, plans, graphs, and what is refused before anything runs."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import DefinitionError, ValueNotSupported
from headrace.pipeline.pipeline import Pipeline
from headrace.pipeline.styles.stepplan import StepPlan
from headrace.steps import Context, Step

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_has_run() -> Iterator[None]:
    RAN.clear()
    yield


class Cook(Step):
    def run(self, *ingredients: Any) -> Any:
        RAN.append(str(self))
        return f"{self}({', '.join(ingredients)})"


class BoilWater(Cook): ...


class BrownOnions(Cook): ...


class CutTomatoes(Cook): ...


class PourTomatoes(Cook): ...


class Salt(Cook): ...


class PourPasta(Cook): ...


class PickBasil(Cook): ...


class PanFry(Step):
    def run(self, *ingredients: Any) -> Any:
        RAN.append(str(self))
        return {"output": list(ingredients)}


LEGEND = (
    "Execution plan. Result availability: [*] available - [ ] n/a - [x] no context. \n"
    "                Scheduled execution: (H) head - (>) scheduled run on materialize - ( ) no run required.\n"
)
NOTHING_THERE = """ [x] (>) BrownOnions
 [x] (>) CutTomatoes
 [x] (>) BoilWater
 [x] (>) Salt
 [x] (>) PickBasil
 [x] (>) PourTomatoes
 [x] (>) PourPasta
 [x] (H) PanFry"""
TOMATOES_MISSING = NOTHING_THERE.replace("[x] (>) PourTomatoes", "[ ] (>) PourTomatoes")
TOMATOES_THERE = """ [x] ( ) BrownOnions
 [x] ( ) CutTomatoes
 [x] (>) BoilWater
 [x] (>) Salt
 [x] (>) PickBasil
 [*] ( ) PourTomatoes
 [x] (>) PourPasta
 [x] (H) PanFry"""
LUNCH = [
    "PourPasta(Salt(BoilWater()))",
    "PourTomatoes(CutTomatoes(BrownOnions()), BrownOnions())",
    "PickBasil()",
]


def pasta_recipe(ctx: Context | None = None) -> PanFry:
    water = BoilWater()
    brown_onions = BrownOnions()
    cut_tomatoes = CutTomatoes(depends_on=brown_onions)
    pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions], ctx=ctx)
    salt = Salt(depends_on=water)
    pasta = PourPasta(depends_on=salt)
    basil = PickBasil()
    return PanFry(depends_on=[pasta, pour_tomatoes, basil])


# The README ---------------------------------------------------------------------------------------------------------


def test_the_plan_before_anything_ran(capsys: pytest.CaptureFixture[str]) -> None:
    text = pasta_recipe().execution_plan()
    assert text == LEGEND + NOTHING_THERE
    assert capsys.readouterr().out == text + "\n"


def test_materialize_runs_every_step_once_and_returns_what_the_head_returned() -> None:
    lunch = pasta_recipe().materialize()
    assert lunch.output == lunch["output"] == LUNCH
    assert sorted(RAN) == sorted(set(RAN))
    assert len(RAN) == 8


def test_a_context_is_missing_a_result_until_it_was_made() -> None:
    ctx = Context()
    assert pasta_recipe(ctx).execution_plan() == LEGEND + TOMATOES_MISSING


def test_a_result_that_is_there_hides_what_only_it_needs() -> None:
    ctx = Context()
    merge = pasta_recipe(ctx)
    assert merge.materialize().output == LUNCH
    assert merge.execution_plan() == LEGEND + TOMATOES_THERE
    RAN.clear()
    assert merge.materialize().output == LUNCH
    assert sorted(RAN) == ["BoilWater", "PanFry", "PickBasil", "PourPasta", "Salt"]


def test_materialize_on_a_step_with_a_result_returns_it_without_a_run() -> None:
    ctx = Context(PourTomatoes="from a tin")
    step = PourTomatoes(depends_on=CutTomatoes(), ctx=ctx)
    assert step.materialize() == "from a tin"
    assert RAN == []
    assert step.execution_plan() == LEGEND + " [x] ( ) CutTomatoes\n [*] (H) PourTomatoes"


def test_a_context_on_disk_resumes_a_pipeline(tmp_path: Any) -> None:
    ctx = Context()
    pasta_recipe(ctx).materialize()
    ctx.store(str(tmp_path / "path"))
    RAN.clear()
    merge = pasta_recipe(Context.load(str(tmp_path / "path")))
    assert merge.execution_plan() == LEGEND + TOMATOES_THERE
    assert merge.materialize().output == LUNCH
    assert "PourTomatoes" not in RAN


def test_a_class_is_used_twice_under_two_aliases() -> None:
    water, brown_onions, basil = BoilWater(), BrownOnions(), PickBasil()
    cut_tomatoes = CutTomatoes(depends_on=brown_onions)
    pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions])
    salt_water = Salt(depends_on=water, name_alias="SaltWater")
    salt_tomatoes = Salt(depends_on=pour_tomatoes, name_alias="SaltTomatoes")
    pasta = PourPasta(depends_on=salt_water)
    merge = PanFry(depends_on=[pasta, salt_tomatoes, basil])
    assert merge.materialize().output == [
        "PourPasta(SaltWater(BoilWater()))",
        "SaltTomatoes(PourTomatoes(CutTomatoes(BrownOnions()), BrownOnions()))",
        "PickBasil()",
    ]


# Order and shape ----------------------------------------------------------------------------------------------------


def test_depending_steps_are_listed_breadth_first_and_depth_first() -> None:
    merge = pasta_recipe()
    assert merge.depending_steps_breadth_first() == [
        "PourPasta", "PourTomatoes", "PickBasil", "Salt", "BoilWater", "CutTomatoes", "BrownOnions",
    ]  # fmt: skip
    assert merge.depending_steps_depth_first() == [
        "BoilWater", "Salt", "PourPasta", "BrownOnions", "CutTomatoes", "PourTomatoes", "PickBasil",
    ]  # fmt: skip


def named(name: str, *before: Step, ctx: Context | None = None) -> Step:
    return Cook(before, ctx=ctx, name_alias=name)


def rows(plan: str) -> list[str]:
    return [line[9:] for line in plan.splitlines()[2:]]


def test_a_plan_is_in_topological_order_where_the_ancestor_was_not() -> None:
    a = named("A")
    c = named("C", named("B", a))
    assert rows(named("D", a, c).execution_plan()) == ["A", "B", "C", "D"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=9))
def test_the_orders_are_those_of_the_ancestors_lists(numbers: list[list[int]]) -> None:
    """Which it wrote out with every repetition; a plan takes the last one where it took the first."""
    steps: list[Step] = []
    for name, before in enumerate(numbers):
        steps.append(named(str(name), *(steps[one % name] for one in before if name)))
    head = steps[-1]

    def depth_first(step: Step) -> list[str]:
        return [name for one in step.dependencies for name in (*depth_first(one), str(one))]

    def breadth_first(step: Step) -> list[str]:
        return [str(one) for one in step.dependencies] + [n for one in step.dependencies for n in breadth_first(one)]

    assert head.depending_steps_depth_first() == list(dict.fromkeys(depth_first(head)))
    assert head.depending_steps_breadth_first() == list(dict.fromkeys(breadth_first(head)))
    plan = [line[9:] for line in StepPlan(head).text().splitlines()[2:]]
    assert plan == [*dict.fromkeys(reversed(breadth_first(head))), str(head)]


def test_a_ladder_of_shared_steps_takes_no_longer_than_its_length() -> None:
    class Rung(Step):
        def run(self, *below: int) -> int:
            RAN.append(str(self))
            return max(below, default=-1) + 1

    left, right = Rung(name_alias="L0"), Rung(name_alias="R0")
    for rung in range(1, 60):
        both = [left, right]
        left, right = Rung(both, name_alias=f"L{rung}"), Rung(both, name_alias=f"R{rung}")
    top = Rung([left, right])
    assert len(rows(top.execution_plan())) == 121
    assert len(top.depending_steps_breadth_first()) == len(top.depending_steps_depth_first()) == 120
    assert top.materialize() == 60
    assert len(RAN) == len(set(RAN)) == 121


def test_a_very_long_chain_needs_no_stack() -> None:
    step = Step.stepify(0, name_alias="0")
    for number in range(1, 3000):
        step = Step.stepify(number, depends_on=step, name_alias=str(number))
    assert len(step.depending_steps_depth_first()) == 2999
    assert rows(step.execution_plan())[-1] == "2999"
    assert step.materialize() == 2999


def test_outputs_come_in_the_order_of_depends_on_and_as_often_as_they_stand_there() -> None:
    a, b = named("A"), named("B")
    assert Step.join([b, a, b]).materialize() == ("B()", "A()", "B()")
    assert RAN.count("B") == 1


def test_depends_on_takes_a_step_a_list_or_a_tuple() -> None:
    a = named("A")
    for depends_on in (a, [a], (a,)):
        assert Cook(depends_on).materialize() == "Cook(A())"


def test_a_dependency_may_be_added_later() -> None:
    step = Cook()
    step.depends_on.append(named("A"))
    assert step.materialize() == "Cook(A())"
    step.dependencies = named("B")
    assert step.materialize() == "Cook(B())"


# Drawings -----------------------------------------------------------------------------------------------------------


def test_the_dependency_graph_is_dot_text_whatever_the_context_holds() -> None:
    ctx = Context(PourTomatoes="tin")
    text = str(pasta_recipe(ctx).dependency_graph())
    assert text.startswith("digraph graphname {\n")
    edges = {line.strip(" ;") for line in text.splitlines() if "->" in line}
    assert edges == {
        '"BoilWater" -> "Salt"',
        '"Salt" -> "PourPasta"',
        '"BrownOnions" -> "CutTomatoes"',
        '"CutTomatoes" -> "PourTomatoes"',
        '"BrownOnions" -> "PourTomatoes"',
        '"PourPasta" -> "PanFry"',
        '"PourTomatoes" -> "PanFry"',
        '"PickBasil" -> "PanFry"',
    }


def test_a_notebook_shows_svg_and_a_console_dot(tmp_path: Any) -> None:
    graph = pasta_recipe().dependency_graph()
    assert repr(graph) == str(graph)
    drawn = graph._repr_svg_()
    assert drawn is None or "<svg" in drawn  # None without graphviz: the notebook shows the text then
    graph.save_dot(tmp_path / "pasta.dot")
    assert (tmp_path / "pasta.dot").read_text() == f"{graph}\n"


def test_steps_are_the_pipeline_that_one_would_write_by_hand() -> None:
    from headrace import Job

    a, b, c, d = Job("A"), Job("B"), Job("C"), Job("D")
    one = named("A")
    pipeline = named("D", named("B", one), named("C", one)).to_pipeline()
    assert pipeline == Pipeline({a: [b, c], b: d, c: d})
    assert str(pipeline) == str(Pipeline([(a, b), (a, c), (b, d), (c, d)]))


# Ready-made steps ---------------------------------------------------------------------------------------------------


def test_from_data_gives_an_output() -> None:
    step = Step.from_data([1, 2])
    assert str(step) == "Data"
    assert step.materialize().output == [1, 2]
    assert Cook.from_data(1, "Other").materialize() == {"output": 1}


def test_stepify_returns_its_value_whatever_it_depends_on() -> None:
    assert Step.stepify(7).materialize() == 7
    assert str(Step.stepify(7)) == "Step"
    assert Step.stepify({"a": 1}, depends_on=named("A"), name_alias="V").materialize().a == 1
    assert RAN == ["A"]


def test_join_makes_a_tuple() -> None:
    step = Step.join([named("A"), named("B")])
    assert str(step) == "Join"
    assert step.materialize() == ("A()", "B()")
    assert str(Step.join(named("A"), name_alias="Both")) == "Both"


def test_noop_step_is_the_old_name_of_join() -> None:
    with pytest.warns(DeprecationWarning, match="join"):
        step = Step.noop_step([named("A")])
    assert str(step) == "NoOpNode"
    assert step.materialize() == ("A()",)


# Results ------------------------------------------------------------------------------------------------------------


class Returns(Step):
    def __init__(self, value: Any, ctx: Context | None = None) -> None:
        super().__init__(ctx=ctx)
        self.value = value

    def run(self, *_: Any) -> Any:
        RAN.append(str(self))
        return self.value


def test_a_dict_is_readable_by_attributes_and_inner_dicts_stay_plain() -> None:
    result = Returns({"output": {"rate": 1}, "My Model": 2}).materialize()
    assert result.output == {"rate": 1}
    assert type(result.output) is dict
    assert result.My_Model == 2
    with pytest.raises(AttributeError, match="no 'outputs'; it holds output, My Model"):
        result.outputs  # noqa: B018


def test_a_step_before_gets_readable_results_too() -> None:
    class Reads(Step):
        def run(self, before: Any) -> Any:
            return before.output

    assert Reads(Step.from_data(5)).materialize() == 5


@pytest.mark.parametrize("value", [0, "", [], False])
def test_empty_results_are_results(value: Any) -> None:
    ctx = Context()
    assert Returns(value, ctx).materialize() == value
    assert Returns(value, ctx).materialize() == value
    assert RAN == ["Returns"]


def test_none_is_not_kept() -> None:
    ctx = Context()
    for _ in range(2):
        assert Returns(None, ctx).materialize() is None
    assert RAN == ["Returns", "Returns"]
    assert "Returns" not in ctx


def test_objects_that_cannot_travel_are_handed_over_as_they_are() -> None:
    thing = object()
    received = []

    class Takes(Step):
        def run(self, given: Any) -> Any:
            received.append(given)
            return lambda: given

    assert Takes(Returns(thing)).materialize()() is thing
    assert received == [thing]


def test_coroutines_are_awaited() -> None:
    class Later(Step):
        async def run(self, *outputs: Any) -> Any:
            return {"output": outputs}

    assert Later(named("A")).materialize().output == ("A()",)


def test_objects_are_let_go_when_nobody_needs_them_any_more() -> None:
    class Thing: ...

    things: list[weakref.ref[Thing]] = []

    class Makes(Step):
        def run(self, *before: Any) -> Any:
            thing = Thing()
            things.append(weakref.ref(thing))
            return thing

    class Looks(Step):
        def run(self, before: Any) -> Any:
            gc.collect()
            return [thing() is None for thing in things]

    assert Looks(Makes(Makes(name_alias="first"))).materialize() == [True, False]


def test_a_subclass_without_the_constructor_of_steps_depends_on_nothing() -> None:
    class Own(Step):
        def __init__(self, rate: int) -> None:
            self.rate = rate

        def run(self) -> int:
            return self.rate

    assert Cook(Step.stepify("x", depends_on=Own(3))).materialize() == "Cook(x)"
    assert Own(3).materialize() == 3


def test_attributes_may_be_called_like_methods() -> None:
    class Busy(Step):
        def __init__(self) -> None:
            super().__init__()
            self.join = self.materialized = self.to_pipeline = self.execution_plan = 3  # type: ignore[assignment]

        def run(self) -> Any:
            return self.join

    assert Busy().materialize() == 3


def test_a_step_is_tried_again_when_its_options_say_so() -> None:
    from headrace import Retry

    class Flaky(Step):
        job_options = {"retry": Retry(3)}

        def run(self) -> Any:
            RAN.append("try")
            if len(RAN) < 3:
                raise OSError("not yet")
            return len(RAN)

    assert Flaky().materialize() == 3


# Errors -------------------------------------------------------------------------------------------------------------


class Fails(Step):
    def __init__(self, error: BaseException, **options: Any) -> None:
        super().__init__(**options)
        self.error = error

    def run(self, *_: Any) -> Any:
        raise self.error


def test_an_exception_reaches_the_caller_as_it_is_with_the_name_of_the_step() -> None:
    error = ZeroDivisionError("no pan")
    with pytest.raises(ZeroDivisionError) as caught:
        named("head", Fails(error, name_alias="Pan")).materialize()
    assert caught.value is error
    assert error.__notes__ == ["while running step 'Pan'"]
    with pytest.raises(ZeroDivisionError):
        Fails(error, name_alias="Pan").materialize()
    assert error.__notes__ == ["while running step 'Pan'"]
    assert RAN == []


def test_the_traceback_leads_into_the_users_code() -> None:
    with pytest.raises(ValueError) as caught:
        Fails(ValueError("here")).materialize()
    assert caught.traceback[-1].name == "run"
    assert caught.traceback[-1].path.name == "test_steps.py"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_exits_and_interrupts_reach_the_caller_too(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Fails(error).materialize()


def test_what_was_done_before_a_failure_is_kept() -> None:
    ctx = Context()
    with pytest.raises(ValueError):
        Fails(ValueError(), depends_on=named("A", ctx=ctx)).materialize()
    assert ctx.A == "A()"


def test_a_step_without_run_says_that_it_is_not_written_before_anything_runs() -> None:
    class Unwritten(Step):
        def rnu(self) -> None:
            """A slip."""

    ran: list[str] = []

    class First(Step):
        def run(self) -> None:
            ran.append("first")

    with pytest.raises(
        NotImplementedError, match=r"step 'Unwritten': Unwritten\.run\(self, \*outputs\) is not written"
    ):
        Unwritten(depends_on=First()).materialize()
    with pytest.raises(NotImplementedError, match="run"):
        Step().materialize()
    assert ran == []


@dataclass
class Number(Step):
    """Equal to another of its value, and not hashable: a dataclass is both."""

    value: int

    def run(self, *others: int) -> int:
        return self.value + sum(others)


def test_steps_may_be_dataclasses() -> None:
    one, same = Number(1), Number(1)
    same.name_alias, same.depends_on = "same", [one, one]
    head = Number(10)
    head.name_alias, head.depends_on = "head", (one, same)
    assert one == same
    assert head.materialize() == head.materialize(executor="processes", processes=1) == 14
    assert head.execution_plan().splitlines()[2:] == [" [x] (>) Number", " [x] (>) same", " [x] (H) head"]


@pytest.mark.parametrize(
    "use",
    [Step.materialize, Step.execution_plan, Step.dependency_graph, Step.to_pipeline, Step.depending_steps_depth_first],
)
def test_two_steps_of_one_name_are_refused_everywhere(use: Any) -> None:
    head = Cook([Salt(), PourPasta(depends_on=Salt())])
    with pytest.raises(DefinitionError, match=r"\['Salt'\] appear more than once .* Use Step\(name_alias\) to fix it"):
        use(head)
    assert RAN == []


def test_the_head_counts_among_the_names() -> None:
    with pytest.raises(DefinitionError, match="Salt"):
        Salt(depends_on=Salt()).materialize()


def test_a_circle_is_refused_with_its_path() -> None:
    a = named("A")
    b = named("B", a)
    head = named("head", b)
    a.depends_on.append(b)
    for use in (head.materialize, head.execution_plan, head.dependency_graph, a.materialize):
        with pytest.raises(DefinitionError, match=r"circle: (B > A > B|A > B > A)"):
            use()
    a.dependencies = [a]
    with pytest.raises(DefinitionError, match="circle: A > A"):
        a.materialize()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (3, "must be a Step, or a list or tuple of Steps, not 3"),
        ("Salt", "not 'Salt'"),
        (None, "not None"),
        ([Salt(), None], "None is none"),
        (Salt, r"the class Salt \(its steps are made like this: Salt\(\)\)"),
        ([Salt], "the class Salt"),
        ({"a": Salt()}, "must be a Step"),
    ],
)
def test_what_is_no_step_is_refused_at_once(wrong: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=f"step 'Cook': depends_on .*{text}"):
        Cook(depends_on=wrong)


def test_what_is_no_step_is_refused_when_it_was_added_later() -> None:
    step = Cook()
    step.dependencies.append("Salt")
    with pytest.raises(DefinitionError, match="'Salt' is none"):
        Cook(step, name_alias="head").materialize()


def test_wrong_names_contexts_and_options_are_refused() -> None:
    with pytest.raises(DefinitionError, match="name_alias must be a text, not 3"):
        Cook(name_alias=3)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="ctx must be a Context"):
        Cook(ctx={})  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="a step with a Context cannot be called 'context_meta'"):
        Cook(ctx=Context(), name_alias="context_meta").materialize()
    step = Cook()
    step.job_options = {"retries": 3}
    with pytest.raises(DefinitionError, match="step 'Cook': job_options: unknown option 'retries'; did you mean"):
        step.materialize()
    step.job_options = {"spread": True}
    with pytest.raises(DefinitionError, match="'spread' is not for steps"):
        step.materialize()
    step.job_options = 3  # type: ignore[assignment]
    with pytest.raises(DefinitionError, match="must be a dict"):
        step.materialize()
    assert RAN == []


@pytest.mark.parametrize(
    "options",
    [
        {"executor": "threads"},
        {"processes": 0},
        {"executor": "inline", "processes": 2},
        {"timeout": 3.0},
        {"manager": object(), "processes": 2},
        {"manager": object()},
    ],
)
def test_wrong_ways_to_materialize_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="materialize: "):
        named("A").materialize(**options)
    assert RAN == []


def test_an_attribute_that_cannot_travel_is_named() -> None:
    with pytest.raises(ValueNotSupported, match=r"step 'Returns': attribute value.*type object"):
        named("A", Returns(object())).to_pipeline()


# Elsewhere ----------------------------------------------------------------------------------------------------------


def test_the_import_is_light() -> None:
    heavy = "('pandas', 'numpy', 'pyarrow', 'zmq', 'pymongo', 'click', 'msgspec', 'asyncio')"
    code = f"import headrace.steps, sys; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert shown.stdout.strip() == "[]"
