"""Garbage: what a hostile, broken or much older peer may send, without end, the same for the same seed.

Every kind of it is a method. `strange` is the worst: messages whose types are right, with values that nobody sane sends
(numbers that are none, the largest of them, names that exist next to names that do not), made by walking the types of
the protocol itself, so that a new message is attacked on the day it is added.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from headrace.daemons.protocol import PROTOCOL, FromRouter, Inbound, Outbound, ToRouter

NUMBERS = (0, 1, -1, 2, 7, 255, 1 << 31, 1 << 40, (1 << 40) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e9, 1e18, 1e300, -1e300, 5e-324, float("nan"), float("inf"), float("-inf"))
WORDS = (
    "", "a", "b", "nothing", "0", "..", "../..", "/", "~", "~a", "!command", "x\0y", "é", "\U0001f600", "\ufffe",
    "f" * 32, "0" * 32, "a/b/c/d", "a.b", "'; DROP TABLE facts; --", "%s %d {}", "\n", "x" * 5000, "success", "None",
)  # fmt: skip
BYTES = (b"", b"\x80", b"\x90", b"\xc0", b"\xff", b"\x91" * 2000, b"\xdf\xff\xff\xff\xff", b"x" * 5000, b"null")
ANCESTOR = (
    {"command": "get configuration"},
    {"command": "add job", "worker": "Downloader", "data": {"url": "http://localhost/"}},
    {"command": "get job"},
    {"command": "job finished", "job id": "0" * 32, "duration": 0.1},
    {"command": "add pipeline", "pipeline": {"graph": [[[["worker_name", "A"]], None]], "data": None}},
    {"command": "get pipeline"},
    {"command": "pipeline finished", "pipeline id": "0" * 32},
    {},
    [],
    "spam",
)
RIGHTS = ("drain", "pause")
"""Any client may stop work by these, for as long as it likes: no attack."""
DEEP = 100_000

Frames = list[bytes]


class Garbage:
    """`way` is the envelope under attack: `Inbound` for the Router's api, `Outbound` for everybody else's door."""

    def __init__(self, seed: int, way: type = Inbound, words: tuple[str, ...] = WORDS) -> None:
        self._random = random.Random(seed)
        self._way = way
        self._types = inspect.type_info(ToRouter if way is Inbound else FromRouter).types  # type: ignore[attr-defined]
        self.words = words
        self.session, self.number = "", 1
        """Of an answer: rubbish of any other session would not even be looked at."""
        self._sent: dict[str, int] = {}
        self._kinds: tuple[tuple[int, Callable[[], Frames]], ...] = (
            (30, self.strange),
            (30, self.misplaced),
            (10, self.flipped),
            (10, self.cut),
            (8, self.noise),
            (4, self.of_the_ancestor),
            (4, self.of_another_version),
            (3, self.in_many_frames),
            (1, self.nested),
        )

    def next(self) -> Frames:
        weights = [weight for weight, _ in self._kinds]
        (made,) = self._random.choices(self._kinds, weights)
        return made[1]()

    # Kinds ------------------------------------------------------------------------------------------------------

    def strange(self) -> Frames:
        """Types as they should be, values as they should not."""
        return [msgspec.msgpack.encode(self._envelope())]

    def misplaced(self) -> Frames:
        """Somewhere inside a good message stands something else: a list for a map, a text for a number, nothing."""
        whole = msgspec.msgpack.decode(msgspec.msgpack.encode(self._envelope()))
        return [msgspec.msgpack.encode(self._damaged(whole))]

    def flipped(self) -> Frames:
        frame = bytearray(self.strange()[0])
        for _ in range(self._random.randint(1, 8)):
            frame[self._random.randrange(len(frame))] = self._random.randrange(256)
        return [bytes(frame)]

    def cut(self) -> Frames:
        frame = self.strange()[0]
        at = self._random.randrange(len(frame))
        return [frame[:at] if self._random.random() < 0.5 else frame + frame[:at]]

    def noise(self) -> Frames:
        return [self._random.randbytes(self._random.choice((0, 1, 2, 30, 3000)))]

    def of_the_ancestor(self) -> Frames:
        return [json.dumps(self._random.choice(ANCESTOR)).encode()]

    def of_another_version(self) -> Frames:
        return [msgspec.msgpack.encode([self._random.choice(NUMBERS[2:]), "a", "s", 1, []])]

    def in_many_frames(self) -> Frames:
        count = self._random.choice((2, 3, 50))
        return [self.strange()[0] if self._random.random() < 0.5 else b"" for _ in range(count)]

    def nested(self) -> Frames:
        """Lists in lists, where a value is expected and everywhere else."""
        opener = self._random.choice((b"\x91", b"\x81\xa1a", b"\xdd\x00\x00\x00\x01"))
        begin = self._random.choice((b"", b"\x95\x01\xa1a\xa1s\x01", b"\x95\x01\xa1a\xa1s\x01\x91\x94"))
        return [begin + opener * DEEP]

    # Values -----------------------------------------------------------------------------------------------------

    def _envelope(self) -> list[Any]:
        messages = [self._made(self._random.choice(self._types)) for _ in range(self._random.choice((1, 1, 1, 2, 5)))]
        chaos = self._random.random()
        if self._way is Outbound:
            session, number = self.session, self.number
        else:
            session = "t" if chaos > 0.9 else "s"
            sender = self._random.choice(self.words[:8])
            number = self._sent[sender] = self._sent.get(sender, 0) + 1 if chaos < 0.8 else 1
        if chaos < 0.05:
            number = self._random.choice(NUMBERS)
        return [PROTOCOL, 1 if self._way is Outbound else sender, session, number, messages]

    def _made(self, kind: Any) -> Any:
        """A value of this type, as it stands on the wire."""
        choose = self._random.choice
        match kind:
            case inspect.IntType():
                return choose(_allowed(kind, NUMBERS))
            case inspect.FloatType():
                return choose(_allowed(kind, FLOATS))
            case inspect.BoolType():
                return choose((True, False))
            case inspect.StrType():
                least, most = kind.min_length or 0, kind.max_length or 5000
                return choose([word for word in self.words if least <= len(word) <= most])
            case inspect.BytesType():
                return choose(BYTES)
            case inspect.NoneType():
                return None
            case inspect.LiteralType():
                return choose([value for value in kind.values if value not in RIGHTS])
            case inspect.UnionType():
                return self._made(choose(kind.types))
            case inspect.ListType() | inspect.VarTupleType():
                return [self._made(kind.item_type) for _ in range(choose((0, 1, 1, 2, 3)))]
            case inspect.TupleType():
                return [self._made(item) for item in kind.item_types]
            case inspect.DictType():
                return {
                    self._made(kind.key_type): self._made(kind.value_type) for _ in range(self._random.randrange(3))
                }
            case inspect.StructType():
                return self._struct(kind)
            case _:
                return choose((None, 1, "a", [], {}))

    def _struct(self, kind: Any) -> Any:
        fields = [(field.encode_name, self._made(field.type)) for field in kind.fields]
        if kind.array_like:
            return [*([kind.tag] if kind.tag is not None else []), *(value for _, value in fields)]
        return {name: value for name, value in fields if self._random.random() < 0.5}

    def _damaged(self, whole: list[Any]) -> Any:
        """One node of the tree replaced; most of the time deep inside."""
        place: Any = whole
        while True:
            keys = list(range(len(place))) if isinstance(place, list) else list(place)
            if not keys:
                return whole
            key = self._random.choice(keys)
            inside = place[key]
            if not isinstance(inside, list | dict) or not inside or self._random.random() < 0.2:
                place[key] = self._anything()
                return whole
            place = inside

    def _anything(self) -> Any:
        choose = self._random.choice
        return choose(
            (None, True, [], {}, [[]], {"a": 1}, [None] * 40, choose(NUMBERS), choose(FLOATS), choose(self.words),
             choose(BYTES), msgspec.msgpack.Ext(5, b"12"))
        )  # fmt: skip


def _allowed(kind: Any, values: tuple[Any, ...]) -> list[Any]:
    """Within the bounds of this type, at their very edges too."""
    bounds = [bound for bound in (kind.ge, kind.le) if bound is not None]
    bounds += [bound - 1 for bound in (kind.lt,) if bound is not None]
    return bounds + [
        value
        for value in values
        if (kind.ge is None or value >= kind.ge)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    ]
