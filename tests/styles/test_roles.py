"""Roles: functions that actions call by name, the built-in ones, and what they are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.blocks import Action, InputHandler, Job, Task, role
from headrace.pipeline.errors import ConfigError, NotFound
from headrace.pipeline.local import LocalEvent
from headrace.workers.catalog import Catalog


@role("encode")
def encode(source: str, crf: int = 23) -> str:
    return f"{source} at {crf}"


@role("later")
async def later(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@role("counter")
class Counter:
    def process(self, data: dict[str, Any]) -> int:
        return len(data["text"])


def of(*actions: Callable[[], object]) -> Job:
    with Job("j") as job:
        for action in actions:
            action()
    return job


def test_an_action_calls_the_function_of_its_role_with_its_inputs() -> None:
    job = of(
        lambda: Action(_role="encode", source="a.mov", crf=30),
        lambda: Action(_role="later", number=1),
        lambda: Action(_role="counter", text="four"),
    )
    run = job.run([encode, later, Counter])
    assert run.state == "success"
    assert run.results == {"Action1": "a.mov at 30", "Action2": 2, "Action3": 4}


def test_a_function_with_a_role_stays_the_function_that_it_is() -> None:
    assert encode("b.mov") == "b.mov at 23"


def test_inputs_may_have_any_name() -> None:
    @role("any")
    def anything(name: str, title: str, self: int, **rest: Any) -> list[Any]:
        return [name, title, self, rest]

    job = of(lambda: Action(_role="any", name="n", title="t", self=1, data=2, children=[]))
    assert job.run([anything]).results == {"Action1": ["n", "t", 1, {"data": 2, "children": []}]}


def test_an_input_that_the_function_does_not_take_fails_the_action() -> None:
    run = of(lambda: Action(_role="encode", _retry=1, source="a", colour="red")).run([encode])
    assert run.state == "failed"
    assert "got an unexpected keyword argument 'colour'" in run.error.reason


def test_a_role_that_nobody_has_is_named() -> None:
    with pytest.raises(NotFound, match="there is no worker 'encoed'; job 'Action1' needs it"):
        of(lambda: Action(_role="encoed")).run([encode])


def test_what_an_action_is_given_is_its_own_and_nothing_else() -> None:
    @role("sees")
    def sees(**given: Any) -> dict[str, Any]:
        return given

    run = of(lambda: Action(_role="sees", a=1), lambda: Action(_role="sees")).run([sees])
    assert run.results == {"Action1": {"a": 1}, "Action2": {}}


def test_a_role_without_its_name_says_what_to_write() -> None:
    def encode() -> None:
        pass

    with pytest.raises(ConfigError, match=r"write @role\('encode'\)"):
        role(encode)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "!slow", "a&&b", 7])
def test_a_role_is_named_by_one_word(name: Any) -> None:
    with pytest.raises(ConfigError, match="a role is named by one word"):
        role(name)


def test_a_function_has_one_role() -> None:
    with pytest.raises(ConfigError, match="has a role or a worker's name already"):
        role("other")(encode)


# The built-in ones ------------------------------------------------------------------------------------------------


def test_echo_prints_what_it_is_given(capfd: pytest.CaptureFixture[str]) -> None:
    run = of(
        lambda: Action("a text"),
        lambda: Action(_role="echo", msg="hello"),
        lambda: Action(number=1, text="x"),
        lambda: Action("text", then=2),
        lambda: Action(),
    ).run()
    assert capfd.readouterr().out == "a text\nhello\nnumber=1 text='x'\ntext then=2\n\n"
    assert run.results == dict.fromkeys([f"Action{n}" for n in range(1, 6)])


def test_cmd_and_shell_run_shell_text(tmp_path: Path) -> None:
    run = of(
        lambda: Action("echo $((1 + 2))", _role="cmd"),
        lambda: Action(_role="shell", cmd="pwd; echo $GREETING", _cwd=str(tmp_path), _env={"GREETING": "hi"}),
        lambda: Action(_role="cmd", cmd="cat", more=[1], input="x"),
        lambda: Action(_role="shell", input="true"),
    ).run()
    assert run.results == {
        "Action1": 3,
        "Action2": {"stdout": f"{tmp_path}\nhi\n"},
        "Action3": {"more": [1], "input": "x"},
        "Action4": None,
    }


def test_a_shell_that_fails_fails_the_action_with_its_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    run = of(lambda: Action("echo trouble >&2; exit 3", _role="cmd", _retry={"tries": 3, "on": [4]})).run()
    assert run.state == "failed"
    assert run.error.reason == ("CommandFailed: command `echo trouble >&2; exit 3` ended with exit code 3: trouble")
    assert capfd.readouterr().err.count("trouble") == 1


@pytest.mark.parametrize("inputs", [{}, {"cmd": ""}, {"input": 7}, {"cmd": ["ls"]}])
def test_a_shell_without_text_says_what_is_missing(inputs: dict[str, Any]) -> None:
    run = of(lambda: Action(_role="cmd", _retry=1, **inputs)).run()
    assert "shell text is needed, given as cmd= or input=" in run.error.reason


def test_a_shell_is_stopped_when_its_time_is_over(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def hold(event: LocalEvent) -> None:
        """No time is over before this process looks, and it looks when the shell has begun."""
        while (event.kind, event.job) == ("started", "Action2") and not begun.exists():
            time.sleep(0.01)

    with Job("j", parallel=True, _role="cmd", _retry=1) as job:
        Action(f"touch {begun}; sleep 600", _timeout=0.1)
        Action("true")
    run = job.run(processes=2, on_event=hold)
    assert (run.state, run.error.job, run.error.kind) == ("failed", "Action1", "timeout")
    assert begun.exists()


def test_a_module_may_have_its_own_function_for_a_built_in_role() -> None:
    @role("echo")
    def louder(input: str) -> str:
        return input.upper()

    assert of(lambda: Action("text")).run([louder]).results == {"Action1": "TEXT"}


def test_the_built_in_roles_are_in_every_catalog() -> None:
    assert {card.name: card.role for card in Catalog().cards()} == {"echo": "echo", "cmd": "cmd", "shell": "shell"}


# Handlers ---------------------------------------------------------------------------------------------------------


def test_a_handler_of_errors_is_told_what_it_has_parameters_for() -> None:
    told: list[Any] = []

    @role("tell")
    def tell(who: str, state: str, error: dict[str, Any]) -> None:
        told.append((who, state, error["job"], error["reason"]))

    @role("plain")
    def plain(who: str) -> None:
        told.append(who)

    with Job("j") as job, Task("t"):
        Action("exit 1", _role="cmd", _retry=1)
        Action(_role="tell", who="me", _whenerror=True)
        Action(_role="plain", who="you", _whenerror=True)
    assert job.run([tell, plain]).state == "failed"
    assert told == [("me", "failed", "t/Action1", "CommandFailed: command `exit 1` ended with exit code 1"), "you"]


# Inputs that are kept elsewhere -----------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> InputHandler:
    """A file per action, named by its genealogy; the path is sent."""
    import json

    handler = InputHandler("local")

    @handler.saver("local")
    def save(data: Any, genealogy: tuple[str, ...]) -> str:
        path = tmp_path / "__".join(genealogy)
        path.write_text(json.dumps(data))
        return str(path)

    @handler.loader("local")
    def load(path: str) -> Any:
        return json.loads(Path(path).read_text())

    return handler


def test_large_inputs_are_kept_beside_the_pipeline(shelf: InputHandler, tmp_path: Path) -> None:
    with Job("Film", _role="encode") as job:
        with Task("Scenes"):
            Action(source="x" * 100_000)
        Action(source="b")
    pipeline = job.to_pipeline(inputs=shelf)
    assert [one.data for one in pipeline.jobs] == [
        {"_protocol": "local", "_saved": str(tmp_path / "Film__Scenes__Action1")},
        {"_protocol": "local", "_saved": str(tmp_path / "Film__Action1")},
    ]
    assert len(pipeline.definition()) < 1000
    run = pipeline.run(workers=[encode, shelf])
    assert run.results == {"Scenes/Action1": "x" * 100_000 + " at 23", "Action1": "b at 23"}


def test_handlers_in_a_module_of_workers_are_found(shelf: InputHandler) -> None:
    import types

    module = types.ModuleType("worker_module")
    module.shelf = shelf  # type: ignore[attr-defined]
    encode_here = role("encode_here")(lambda source: source)
    encode_here.__module__ = "worker_module"
    module.encode_here = encode_here  # type: ignore[attr-defined]
    job = of(lambda: Action(_role="encode_here", source=5))
    assert job.to_pipeline(inputs=shelf).run(workers=module).results == {"Action1": 5}


def test_saved_inputs_without_a_loader_say_what_to_do(shelf: InputHandler) -> None:
    job = of(lambda: Action(_role="encode", _retry=1, source="a"))
    run = job.to_pipeline(inputs=shelf).run(workers=[encode])
    assert "there is no loader for protocol 'local'" in run.error.reason


def test_a_saver_is_given_what_it_names() -> None:
    handler = InputHandler("p")
    handler.saver()(lambda data: ("data", data))
    assert handler.save(1, ["a"]) == ("data", 1)
    handler.saver("p")(lambda genealogy: genealogy)
    assert handler.save(1, ["a", "b"]) == ("a", "b")
    handler.saver("p")(lambda **all_of_it: all_of_it)
    assert handler.save(1, ["a"]) == {"data": 1, "genealogy": ("a",)}


def test_without_a_protocol_inputs_pass_through() -> None:
    handler = InputHandler()
    assert handler.save({"a": 1}, ["j"]) == {"a": 1}
    assert handler.load("x") == "x"
    job = of(lambda: Action("a"))
    assert job.to_pipeline(inputs=handler).jobs[0].data == {"input": "a"}


def test_unknown_protocols_are_key_errors() -> None:
    handler = InputHandler("s3")
    with pytest.raises(KeyError, match=r"there is no saver for protocol 's3'; known: none; add one with"):
        handler.save({}, [])
    with pytest.raises(KeyError, match="there is no loader for protocol 's3'"):
        handler.load("x")


def test_a_saver_without_any_protocol_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"@handler\.saver\('name'\)"):
        InputHandler().saver()
    with pytest.raises(AssertionError):
        InputHandler().loader()
