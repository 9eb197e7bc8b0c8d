"""Frames survive whatever the kernel does to a stream."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import ProtocolError
from headrace.pipeline.task import Outcome
from headrace.workers.framing import frame, from_worker, to_worker
from headrace.workers.messages import Ended, Leave, Progress, Stop


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 300), max_size=8), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_messages_come_out_whole_and_in_order_however_the_bytes_are_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = [Ended(Outcome(number, result=b"x" * size)) for number, size in enumerate(sizes)]
    data = b"".join(map(frame, sent))
    reader = from_worker()
    received = []
    while data:
        for cut in cuts:
            received += reader.feed(data[:cut])
            data = data[cut:]
    assert received == sent


def test_many_frames_in_one_read_are_all_returned() -> None:
    messages = [Stop(1, "timeout"), Leave(), Stop(2, "cancelled")]
    assert to_worker().feed(b"".join(map(frame, messages))) == messages


def test_an_absurd_length_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(ProtocolError, match="out of step"):
        from_worker().feed(b"\xff\xff\xff\xff")


def test_an_unreadable_body_is_refused() -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        from_worker().feed(b"\x00\x00\x00\x02\xc1\xc1")
    with pytest.raises(ProtocolError, match="cannot be read"):
        to_worker().feed(frame(Progress(1, 2.0)))
