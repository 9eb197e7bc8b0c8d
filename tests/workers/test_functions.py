"""How the input of a job becomes the arguments of a function."""

from collections.abc import Callable
from typing import Any

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.workers.base import Worker
from headrace.workers.functions import worker
from headrace.workers.runnable import runnable


def test_a_decorated_function_stays_the_function_that_it_is() -> None:
    @worker
    def double(number: int) -> int:
        return 2 * number

    @worker(name="thrice", role="math", requires=["number"])
    def triple(number: int) -> int:
        return 3 * number

    assert (double(2), triple(2)) == (4, 6)
    entry = runnable(triple)
    assert (entry.name, entry.role, entry.requires) == ("thrice", "math", ("number",))


def test_parameters_without_a_default_are_required_and_the_others_optional() -> None:
    @worker
    def words(text: str, /, page: int, limit: int = 3, *, strict: bool, loud: bool = False, **rest: Any) -> None: ...

    assert runnable(words).requires == ("text", "page", "strict")
    assert runnable(words).optional == ("limit", "loud")


def test_a_decorator_used_with_a_name_alone_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"name='\.\.\.'"):
        worker("resize")  # type: ignore[type-var]


def test_one_text_is_no_list_of_names() -> None:
    with pytest.raises(ConfigError, match="a list of names, not 'text'"):
        worker(requires="text")

    class Slip(Worker):
        requires = "text"

        def process(self, data: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"Slip\.requires"):
        runnable(Slip)


# bind store, named, literal -----------------------------------------------------------------------------------------


def test_under_store_a_function_gets_what_it_requires_and_what_it_may_have(lab: Any, given: Callable[..., Any]) -> None:
    def scale(width: int, factor: int = 10) -> int:
        return width * factor

    assert lab.result(scale, {"width": 2, "factor": 3}) == 6
    assert lab.result(scale, {"factor": 3}, inputs=[given("size", {"width": 5, "other": 1})]) == 15


def test_under_store_a_missing_requirement_names_key_worker_and_places(lab: Any, told: Callable[..., str]) -> None:
    def scale(width: int, factor: int) -> int:
        return width * factor

    text = "failed: MissingInput: worker 'scale' requires 'factor', which is not in the results"
    assert told(lab.run(scale, {"width": 2})).startswith(text)

    class Blind:
        def retrieve(self, info: dict[str, Any]) -> Any:
            return {"width": 3}

        def save(self, info: dict[str, Any]) -> None: ...

    text = told(lab.run(scale, store=Blind()))
    assert text == "failed: MissingInput: worker 'scale' requires 'factor', which is not in what the store retrieved"


def test_under_named_a_function_gets_upstream_results_over_the_data(lab: Any, given: Callable[..., Any]) -> None:
    def report(title: str, rows: list[int], limit: int = 1) -> Any:
        return [title, rows, limit]

    inputs = [given("rows", [1, 2]), given("unused", 9)]
    assert lab.result(report, {"title": "T", "rows": "old"}, bind="named", inputs=inputs) == ["T", [1, 2], 1]


def test_a_function_of_one_parameter_gets_the_whole_map_when_nothing_has_its_name(
    lab: Any, given: Callable[..., Any]
) -> None:
    def report(outcome: Any) -> Any:
        return outcome

    assert lab.result(report, {"a": 1}, bind="named", inputs=[given("b", 2)]) == {"a": 1, "b": 2}
    assert lab.result(report, bind="named", inputs=[given("outcome", 2)]) == 2


def test_rest_takes_all_other_keys(lab: Any) -> None:
    def everything(first: int, **rest: Any) -> Any:
        return [first, rest]

    assert lab.result(everything, {"first": 1, "b": 2, "c": 3}, bind="named") == [1, {"b": 2, "c": 3}]


def test_under_literal_a_key_too_many_is_told_like_python_does(lab: Any, told: Callable[..., str]) -> None:
    def echo(message: str) -> str:
        return message

    assert lab.result(echo, {"run": "data"}, bind="literal", data={"message": "hello"}) == "hello"
    assert lab.result(echo, bind="literal", data="plain text") == "plain text"
    assert "got an unexpected keyword argument 'mesage'" in told(lab.run(echo, bind="literal", data={"mesage": ""}))


def test_positional_only_parameters_are_found_by_name_too(lab: Any) -> None:
    def minus(left: int, right: int, /) -> int:
        return left - right

    assert lab.result(minus, {"right": 1, "left": 5}) == 4


# bind args, item, gather --------------------------------------------------------------------------------------------


def test_under_args_results_come_in_the_order_of_the_edges(lab: Any, given: Callable[..., Any]) -> None:
    def minus(left: int, right: int) -> int:
        return left - right

    assert lab.result(minus, bind="args", inputs=[given("five", 5), given("three", 3)]) == 2


def test_parameters_that_are_left_over_are_filled_from_the_data_by_name(lab: Any, given: Callable[..., Any]) -> None:
    def power(base: int, exponent: int = 1, *, plus: int = 0) -> int:
        return int(base**exponent) + plus

    data = {"base": 99, "exponent": 3, "plus": 1, "unknown": 5}
    assert lab.result(power, data, bind="args", inputs=[given("two", 2)]) == 9
    assert lab.result(power, data, bind="item", inputs=[given("two", 2)]) == 9
    assert lab.result(power, {}, bind="item", inputs=[given("two", 2)]) == 2


def test_open_positional_parameters_are_not_filled_from_the_data(lab: Any, given: Callable[..., Any]) -> None:
    def total(*numbers: int, start: int = 0) -> int:
        return sum(numbers, start)

    inputs = [given("a", 1), given("b", 2)]
    assert lab.result(total, {"numbers": 50, "start": 10}, bind="args", inputs=inputs) == 13


@pytest.mark.parametrize("bind", ["args", "item"])
def test_without_anything_upstream_the_data_stands_in(lab: Any, bind: str) -> None:
    def load(name: str, depth: int = 1) -> Any:
        return [name, depth]

    def plain(text: str) -> str:
        return text

    class Load(Worker):
        def process(self, data: Any) -> Any:
            return data

    assert lab.result(load, {"name": "x", "depth": 2}, bind=bind) == ["x", 2]
    assert lab.result(plain, "text", bind=bind) == "text"
    assert lab.result(Load, {"name": "x"}, bind=bind) == {"name": "x"}


def test_under_gather_there_is_one_list(lab: Any, given: Callable[..., Any]) -> None:
    def total(numbers: list[int], factor: int = 1) -> int:
        return sum(numbers) * factor

    inputs = [given("a", 1), given("b", 2)]
    assert lab.result(total, {"factor": 10}, bind="gather", inputs=inputs) == 30
    assert lab.result(total, bind="gather", inputs=[given("many", [4, 5], many=True)]) == 9
    assert lab.result(total, bind="gather", inputs=[given("many", [], many=True)]) == 0


def test_a_class_gets_its_input_as_one_value_and_under_args_as_several(lab: Any, given: Callable[..., Any]) -> None:
    class Collect(Worker):
        def process(self, *values: Any) -> Any:
            return list(values)

    inputs = [given("a", 1), given("b", 2)]
    assert lab.result(Collect, bind="args", inputs=inputs) == [1, 2]
    assert lab.result(Collect, bind="gather", inputs=inputs) == [[1, 2]]
    assert lab.result(Collect, {"x": 0}, bind="named", inputs=inputs) == [{"x": 0, "a": 1, "b": 2}]
    assert lab.result(Collect, bind="literal", data=[7]) == [[7]]


# async --------------------------------------------------------------------------------------------------------------


def test_async_functions_and_methods_are_awaited(lab: Any) -> None:
    import asyncio

    @worker
    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    class Later(Worker):
        requires = ["number"]

        async def process(self, data: Any) -> int:
            await asyncio.sleep(0)
            return int(data["number"]) + 2

    assert lab.result(later, {"number": 1}) == 2
    assert lab.result(Later, {"number": 1}) == 3


def test_async_workers_run_where_a_loop_runs_already(lab: Any) -> None:
    import asyncio

    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    async def notebook() -> Any:
        return lab.result(later, {"number": 1})

    assert asyncio.run(notebook()) == 2


def test_the_failure_of_an_async_worker_is_the_jobs(lab: Any, told: Callable[..., str]) -> None:
    async def broken() -> None:
        raise ValueError("no")

    assert told(lab.run(broken)) == "failed: ValueError: no"
