"""Workers of the soak: they do as little as there is to do."""

from headrace import worker


@worker
def nothing() -> None:
    return None


@worker
def numbers(count: int) -> list[int]:
    return list(range(count))


@worker
def same(number: int) -> int:
    return number


@worker
def total(numbers: list[int]) -> int:
    return sum(numbers)
