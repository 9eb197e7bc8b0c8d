"""What attempts have written, on its way from a Broker's files to whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from dispatching import World

from headrace.daemons.dispatch.outputs import UNDER_WAY, Outputs
from headrace.daemons.output import OutputReader, read_file
from headrace.daemons.protocol import Output, ReadOutput


def wanted(**fields: object) -> ReadOutput:
    return ReadOutput(**{"id": "ask", "run": "r1", "job": "A", "attempt": 1, **fields})  # type: ignore[arg-type]


# The Broker's files -------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "broker-7").mkdir()
    return tmp_path / "broker-7"


@pytest.fixture
def reader(own: Path) -> OutputReader:
    return OutputReader(own.parent, own)


def test_output_of_the_running_attempt_begins_behind_that_of_the_one_before(own: Path, reader: OutputReader) -> None:
    log = own / "worker-0.log"
    log.write_text("starting\n")
    reader.up(0)
    log.write_text("starting\nfirst\n")
    assert reader.of_running(wanted(), 0) == Output("ask", b"first\n", runs=True)
    reader.ended(0, (str(log), 9, 6))
    reader.ended(0, None)  # one that has written nothing
    log.write_text("starting\nfirst\nsecond\n")
    assert reader.of_running(wanted(), 0).data == b"second\n"
    assert reader.of_running(wanted(offset=3, size=2), 0).data == b"on"


def test_a_full_file_is_followed_by_another(own: Path, reader: OutputReader) -> None:
    (own / "worker-1.log").write_text("x" * 100)
    reader.up(1)
    (own / "worker-1.9.log").write_text("")
    (own / "worker-1.10.log").write_text("new")
    assert reader.of_running(wanted(), 1).data == b"new"


def test_an_attempt_that_waits_for_its_turn_has_written_nothing(reader: OutputReader) -> None:
    assert reader.of_running(wanted(), None) == Output("ask", runs=True)


def test_a_slot_without_a_file_says_why(reader: OutputReader) -> None:
    assert "No such file" in reader.of_running(wanted(), 5).missing


def test_a_part_of_an_ended_attempt_is_read_from_any_broker_of_the_folder(own: Path, reader: OutputReader) -> None:
    other = own.parent / "broker-8"
    other.mkdir()
    (other / "worker-0.log").write_text("abcdef")
    asked = wanted(file=str(other / "worker-0.log"), offset=2, size=3)
    assert reader.of_ended(asked) == Output("ask", b"cde")


@pytest.mark.parametrize("file", ["/etc/passwd", "{folder}/../secret.log", "{folder}/x.txt", "\0", "x" * 5000])
def test_nothing_but_output_is_read(own: Path, file: str) -> None:
    folder = own.parent
    (folder.parent / "secret.log").write_text("secret")
    (folder / "x.txt").write_text("no log")
    answer = read_file(folder, wanted(file=file.format(folder=folder)))
    assert answer.data == b"" and "no output of a worker process" in answer.missing


def test_a_link_out_of_the_folder_is_not_followed(own: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.log"
    secret.write_text("secret")
    (own / "worker-0.log").symlink_to(secret)
    assert read_file(own.parent, wanted(file=str(own / "worker-0.log"))).data == b""


# The Router in between ----------------------------------------------------------------------------------------------


class Between:
    """A Router's machine with a run on a Broker, and the forwarder beside it."""

    def __init__(self) -> None:
        self.world = World()
        self.world.broker()
        self.world.pipeliner()
        self.world.submit("r1")
        self.world.enqueue("r1", "A", "B", "C")  # two slots: C waits
        here = lambda asked: Output(asked.id, b"here")  # noqa: E731
        self.outputs = Outputs(self.world.dispatch.cluster, "this-host", here)

    def read(self, asked: ReadOutput) -> None:
        self.outputs.read("someone", asked)
        self.world.flush()

    def answer(self) -> Output | None:
        found: Output | None = self.world.last("someone", Output)
        return found

    def passed_on(self) -> ReadOutput | None:
        found: ReadOutput | None = self.world.last("broker", ReadOutput)
        return found


@pytest.fixture
def between() -> Between:
    return Between()


def test_a_question_about_a_running_attempt_goes_to_its_broker_and_the_answer_back(between: Between) -> None:
    between.read(wanted(offset=5))
    asked = between.passed_on()
    assert asked is not None and (asked.offset, asked.lease) == (5, between.world.assigned()[0].lease)
    between.outputs.told(Output(asked.id, b"text", runs=True))
    between.outputs.told(Output(asked.id, b"again"))  # nobody asks for that any more
    between.world.flush()
    assert between.answer() == Output("ask", b"text", runs=True)


def test_an_attempt_that_waits_runs_nowhere_and_one_that_is_over_does_not_run(between: Between) -> None:
    between.read(wanted(job="C"))
    assert between.answer() == Output("ask", runs=True)
    between.read(wanted(attempt=2))
    assert between.answer() == Output("ask")
    between.read(wanted(run="gone"))
    assert between.answer() == Output("ask")


def test_what_an_ended_attempt_has_written_is_read_by_a_broker_of_its_machine(between: Between) -> None:
    between.read(wanted(file="/data/logs/x.log", place="host/a-predecessor"))
    asked = between.passed_on()
    assert asked is not None and (asked.file, asked.lease) == ("/data/logs/x.log", 0)


def test_without_a_broker_the_router_reads_on_its_own_machine_and_names_any_other(between: Between) -> None:
    between.read(wanted(file="/data/logs/x.log", place="this-host/1"))
    assert between.answer() == Output("ask", b"here")
    between.read(wanted(file="/data/logs/x.log", place="far-away/1"))
    answer = between.answer()
    assert answer is not None and "on far-away in /data/logs/x.log" in answer.missing


def test_questions_that_are_never_answered_are_forgotten(between: Between) -> None:
    between.read(wanted())
    first = between.passed_on()
    for _ in range(UNDER_WAY):
        between.read(wanted())
    assert first is not None
    between.outputs.told(Output(first.id, b"late"))
    between.world.flush()
    assert between.answer() is None
