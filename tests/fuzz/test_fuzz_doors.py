"""A slice of what `make fuzz` does by the hundred thousand: decoders, journals, job files, job maps, raw bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from attack import Target
from documents import NAMESPACE, Documents, check_job, check_map
from doors import Decoders, Journals, check_decoder, check_journal
from sockets import Sockets


def test_whatever_comes_a_decoder_reads_or_refuses_it() -> None:
    decoders = Decoders(1)
    outcomes = Counter(check_decoder(decoders.next()) for _ in range(3000))
    assert len(outcomes) == 10 and min(outcomes.values()) > 10, outcomes


@pytest.mark.parametrize("seed", [1, 2])
def test_a_damaged_journal_is_refused_or_read(tmp_path: Path, seed: int) -> None:
    journals = Journals(seed, tmp_path)
    outcomes = Counter(check_journal(journals.next()) for _ in range(40))
    assert min(outcomes["refused"], outcomes["opened"]) > 3, outcomes


def test_any_job_file_is_read_or_refused() -> None:
    documents = Documents(1)
    outcomes = Counter(check_job(documents.job()) for _ in range(1000))
    assert min(outcomes["read"], outcomes["refused"]) > 50, outcomes


def test_any_job_map_is_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words").mkdir()
    for name, text in NAMESPACE.items():
        (tmp_path / "words" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    documents = Documents(1)
    outcomes = Counter(check_map(documents.map()) for _ in range(200))
    assert min(outcomes["read"], outcomes["refused"]) > 10, outcomes


def test_raw_bytes_at_the_ports_harm_nobody(tmp_path: Path) -> None:
    with Target(tmp_path, tcp=True) as target:
        sockets = Sockets(1, [target.api, target.broadcast])
        try:
            for _ in range(200):
                sockets.throw(sockets.next())
        finally:
            sockets.close()
        target.check()
