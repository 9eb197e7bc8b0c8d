"""An entry of the cache: an earlier result, and what it was made from; as it stands in its file.

    magic, SHA-256 of all that follows, header as msgpack (with the result, when that is small)

A file that does not begin like that, or does not have the content that its digest says, is damaged.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from ...pipeline.facts import Path, Signs
from ...pipeline.recipe import FORMAT, Recipe

MAGIC = b"HRc" + bytes([FORMAT])
SUM = 32


class Damaged(Exception):
    """An entry that is there and cannot be read. It was removed."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An earlier result."""

    key: str
    recipe: Recipe
    run: str = ""
    job: str = ""
    path: Path = ()
    at: float = 0.0
    """Wall time."""
    duration: float = 0.0
    """Seconds that it took to make the result."""
    size: int = 0
    signs: Signs | None = None
    packed: bytes = b""
    sum: str = ""
    """Of a large result, which has a file of its own: the digest of that."""

    @property
    def origin(self) -> str:
        """Whose result it is, for people."""
        where = f"job {self.job}" + (f" {list(self.path)}" if self.path else "")
        return f"{where} of run {self.run[:12]}"


def pack_entry(entry: Entry) -> bytes:
    body = _encoder.encode(entry)
    return b"".join((MAGIC, sha256(body).digest(), body))


def unpack_entry(content: bytes, key: str) -> Entry:
    """Raises ValueError for what is no entry of that key."""
    body = content[len(MAGIC) + SUM :]
    if content[: len(MAGIC)] != MAGIC or content[len(MAGIC) :][:SUM] != sha256(body).digest():
        raise ValueError("its content is not what was written")
    entry = _decoder.decode(body)
    if entry.key != key:
        raise ValueError(f"it is the entry of {entry.key}")
    return entry


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)
