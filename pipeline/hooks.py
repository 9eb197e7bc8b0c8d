"""What a hook is given: how its run (or group) ended, and why.

The data of a hook is packed user data, which nobody decodes on the way; the two fields that are added to it are written
before its own in the same packed map, so that a field of that name of its own wins.
"""

from __future__ import annotations

import msgspec

from .facts import RunError

_pack = msgspec.msgpack.Encoder().encode


def hook_data(own: bytes | None, state: str, error: RunError | None) -> bytes:
    """The hook's own data laid over `state` and `error`; data that is no map stands under `data`."""
    fields = _pack("state") + _pack(state) + _pack("error") + _pack(described(error))
    size, rest = _entries(own) if own else (0, b"")
    if size is None:
        size, rest = 1, _pack("data") + (own or b"")
    return b"\xdf" + (size + 2).to_bytes(4, "big") + fields + rest


def described(error: RunError | None) -> dict[str, object] | None:
    if error is None:
        return None
    return {
        "job": error.job,
        "path": list(error.path),
        "reason": error.reason,
        "traceback": error.traceback,
        "kind": error.kind,
    }


def _entries(packed: bytes) -> tuple[int | None, bytes]:
    """The size of a packed map, and the bytes of its entries; None for anything else."""
    first = packed[0]
    if 0x80 <= first <= 0x8F:
        return first & 0x0F, packed[1:]
    if first == 0xDE and len(packed) >= 3:
        return int.from_bytes(packed[1:3], "big"), packed[3:]
    if first == 0xDF and len(packed) >= 5:
        return int.from_bytes(packed[1:5], "big"), packed[5:]
    return None, b""
