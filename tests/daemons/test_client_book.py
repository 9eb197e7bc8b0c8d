"""The book of a manager: which pipelines it has started, and what became of them."""

from __future__ import annotations

import gc
from itertools import count

import pytest

from headrace.daemons.client.book import Book
from headrace.daemons.protocol import Receipt, RunEnd
from headrace.pipeline.errors import Refused
from headrace.pipeline.facts import RunError
from headrace.pipeline.job import Job
from headrace.pipeline.pipeline import Pipeline


def new_book() -> Book:
    numbers = count(1)
    return Book(lambda: f"run{next(numbers)}")


def start(book: Book, pipeline: Pipeline) -> str:
    run = book.begin(pipeline)
    assert book.acknowledge(pipeline, Receipt(run), 5.0) is None
    return run


def end(run: str, verdict: str = "success") -> RunEnd:
    error = None if verdict == "success" else RunError("A", (), "it broke", "Traceback ...")
    return RunEnd(run, verdict, 1.25, 9.0, error)  # type: ignore[arg-type]


def new_pipeline() -> Pipeline:
    return Pipeline({Job("A"): Job("B")}, data={"unhashable": []})


def test_an_acknowledged_pipeline_has_its_id_and_is_not_finished() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = start(book, pipeline)
    assert (pipeline.id, pipeline.started_at, pipeline.finished, pipeline.duration) == (run, 5.0, False, None)
    assert (book.started, book.finished, list(book)) == (1, 0, [pipeline])


def test_a_pipeline_is_started_once() -> None:
    book, pipeline = new_book(), new_pipeline()
    book.begin(pipeline)
    with pytest.raises(ValueError, match="This pipeline was already started"):
        book.begin(pipeline)
    start(book, other := new_pipeline())
    with pytest.raises(ValueError, match="This pipeline was already started"):
        book.begin(other)


def test_only_pipelines_are_started() -> None:
    with pytest.raises(TypeError, match="'A'"):
        new_book().begin("A")  # type: ignore[arg-type]


def test_an_end_is_written_into_the_pipeline_once() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = start(book, pipeline)
    book.ended(end(run, "failed"))
    book.ended(end(run))
    assert pipeline.finished is True and pipeline.failed is True and pipeline.duration == 1.25
    assert pipeline.error is not None
    assert (pipeline.error.job, pipeline.error.path, pipeline.error.reason) == ("A", (), "it broke")
    assert book.finished == 1


def test_a_cancelled_pipeline_has_not_succeeded() -> None:
    book, pipeline = new_book(), new_pipeline()
    book.ended(end(start(book, pipeline), "cancelled"))
    assert pipeline.finished is True and pipeline.failed is True


def test_an_end_before_the_acknowledgement_counts() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = book.begin(pipeline)
    book.ended(end(run))
    book.acknowledge(pipeline, Receipt(run), 5.0)
    assert pipeline.finished is True and pipeline.failed is False and book.finished == 1
    assert book.end_of(run) is None, "nothing is kept of what nobody waits for"


def test_a_refused_pipeline_can_be_started_again_under_another_id() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = book.begin(pipeline)
    refused = book.acknowledge(pipeline, Receipt("other", False, True, "key 'k' is held by run other"), 5.0)
    assert isinstance(refused, Refused) and "key 'k' is held" in str(refused)
    assert pipeline.id is None and book.started == 0
    assert book.begin(pipeline) != run


def test_a_pipeline_without_an_answer_is_started_again_under_the_same_id() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = book.begin(pipeline)
    book.give_up(pipeline, run)
    assert book.begin(pipeline) == run
    book.acknowledge(pipeline, Receipt(run, existed=True), 5.0)
    assert pipeline.id == run and book.started == 1


def test_an_id_without_an_answer_goes_with_its_pipeline() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = book.begin(pipeline)
    book.give_up(pipeline, run)
    del pipeline
    gc.collect()
    for _ in range(100):  # some of these stand where the old one stood
        fresh = new_pipeline()
        assert book.begin(fresh) != run
        book.drop(fresh)


def test_pipelines_with_one_key_are_one_run_and_finish_together() -> None:
    book, first, second = new_book(), new_pipeline(), new_pipeline()
    run = start(book, first)
    book.begin(second)
    book.acknowledge(second, Receipt(run, existed=True), 6.0)
    assert first.id == second.id and len(list(book)) == 2
    book.ended(end(run))
    assert first.finished and second.finished and book.finished == 2


def test_what_is_forgotten_leaves_nothing_but_the_counts() -> None:
    book = new_book()
    for number in range(50):
        pipeline = new_pipeline()
        run = start(book, pipeline)
        if number % 2:
            book.ended(end(run))
    book.forget_finished()
    assert len(list(book)) == 25 and (book.started, book.finished) == (50, 25)
    last = next(iter(book))
    assert last.id is not None
    book.forget(last.id)
    assert not book.holds(last) and not book.is_open(last.id)


def test_whoever_waits_for_a_run_by_its_id_gets_its_end_and_then_it_is_forgotten() -> None:
    book = new_book()
    book.wait_for("theirs")
    book.wait_for("theirs")
    assert book.is_open("theirs") and book.end_of("theirs") is None
    book.ended(end("theirs"))
    book.wait_no_more("theirs")
    assert book.end_of("theirs") is not None
    book.wait_no_more("theirs")
    assert book.end_of("theirs") is None and not book.is_open("theirs")


def test_a_reopened_pipeline_is_under_way_again() -> None:
    book, pipeline = new_book(), new_pipeline()
    run = start(book, pipeline)
    book.ended(end(run, "failed"))
    assert book.reopen(run) and not book.reopen("another")
    assert (pipeline.finished, pipeline.failed, pipeline.error, pipeline.duration) == (False, False, None, None)
    assert book.finished == 0
    book.ended(end(run))
    assert pipeline.finished is True and pipeline.failed is False and book.finished == 1


def test_news_is_what_has_ended_since_somebody_looked() -> None:
    book = new_book()
    runs = [start(book, new_pipeline()) for _ in range(3)]
    book.ended(end(runs[0]))
    book.ended(end(runs[1]))
    assert (book.take_news(), book.take_news()) == (2, 0)
