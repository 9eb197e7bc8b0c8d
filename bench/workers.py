"""Workers of the benchmarks: they do as little as there is to do."""

from headrace import worker

BLOCK = b"x" * 1_000_000


@worker
def nothing() -> None:
    return None


@worker
def megabyte() -> bytes:
    return BLOCK


@worker
def measure(block: bytes) -> int:
    return len(block)
