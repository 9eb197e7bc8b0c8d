"""Raw bytes at the ports of a real Router: greetings that are none, handshakes that end early, frames that lie."""

from __future__ import annotations

import random
import select
import socket
import struct
from collections import deque

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
HELD = 100
"""Connections that stay open at a time."""


def _ready(kind: bytes) -> bytes:
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return b"\x04" + bytes([len(body)]) + body


class Sockets:
    """Of a seed, for the ports of these addresses."""

    def __init__(self, seed: int, addresses: list[str]) -> None:
        self._random = random.Random(seed)
        self._ports = [int(address.rsplit(":", 1)[1]) for address in addresses]
        self._held: deque[socket.socket] = deque()

    def next(self) -> bytes:
        pick = self._random
        good = GREETING + _ready(pick.choice((b"DEALER", b"REQ", b"SUB", b"ROUTER", b"", b"x" * 200)))
        match pick.randrange(6):
            case 0:
                return pick.randbytes(pick.choice((0, 1, 10, 64, 5000)))
            case 1:
                return good[: pick.randrange(len(good))]
            case 2:
                bent = bytearray(good)
                for _ in range(pick.choice((1, 3, 10))):
                    bent[pick.randrange(len(bent))] = pick.randrange(256)
                return bytes(bent)
            case 3:
                return (
                    good + b"\x02" + struct.pack(">Q", pick.choice((0, 1 << 31, 1 << 40, (1 << 63) - 1))) + b"x" * 100
                )
            case 4:
                return good + bytes([pick.randrange(256), pick.randrange(256)]) + pick.randbytes(pick.randrange(300))
            case _:
                flags = pick.choice((0, 1, 3, 4, 7))
                frame = pick.randbytes(pick.randrange(255))
                return good + bytes([flags, len(frame)]) + frame

    def throw(self, data: bytes) -> str:
        """At one of the ports; whether it was heard to the end."""
        connection = socket.create_connection(("127.0.0.1", self._random.choice(self._ports)), 60)
        try:
            connection.sendall(data)
            if select.select([connection], [], [], 0)[0]:
                connection.recv(1000)
            told = "taken"
        except (BrokenPipeError, ConnectionResetError):
            told = "thrown out"
        self._held.append(connection)
        if len(self._held) > HELD:
            self._held.popleft().close()
        return told

    def close(self) -> None:
        while self._held:
            self._held.popleft().close()
