"""Arrays and numbers of numpy as extension types of `payload`.

Packing never imports numpy: a value of its can only exist in a process that has. Unpacking imports it, and says so in
one sentence when it is not installed. Arrays of Python objects are refused: only pickle could carry them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .errors import ConfigError

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]

NDARRAY, SCALAR = 20, 21


class NotPlain(TypeError):
    """An array that holds something other than plain numbers, text, bytes or dates. The text is a hint."""


def encode(value: Any, pack: Pack) -> tuple[int, bytes] | None:
    """The extension code and bytes; None when it is no value of numpy's."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) in (numpy.ndarray, numpy.memmap):
        return NDARRAY, _pack_array(value, pack)
    if isinstance(value, numpy.generic):
        return SCALAR, _pack_array(numpy.asarray(value), pack)
    if isinstance(value, numpy.ndarray):
        raise NotPlain("make a plain array of it: numpy.asarray(value)")
    return None


def library(name: str) -> Any:
    """The library that a value to be read was made with."""
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"this value was made with {name}, which is not installed here; install it with `pip install {name}`"
        ) from None


def _pack_array(array: Any, pack: Pack) -> bytes:
    dtype = array.dtype
    if dtype.hasobject:
        raise NotPlain("an array of Python objects cannot travel; give it a plain dtype, or make a list of it")
    described = dtype.str if dtype.fields is None else dtype.descr
    if _dtype(described) != dtype or not dtype.itemsize:
        raise NotPlain(f"the dtype {dtype} cannot be written down; convert the array with astype()")
    return pack([described, list(array.shape), array.tobytes()])


def _dtype(described: Any) -> Any:
    """The dtype that a text or a list of fields describes; None when it describes none."""
    try:
        return library("numpy").dtype(described)
    except (TypeError, ValueError):
        return None


def _unpack_array(data: bytes, unpack: Unpack) -> Any:
    described, shape, raw = unpack(data)
    dtype = _dtype(described)
    if dtype is None or dtype.hasobject:
        raise ValueError(f"an array of {described!r}")
    numpy = library("numpy")
    flat = numpy.frombuffer(bytearray(raw), dtype) if raw else numpy.empty(0, dtype)
    return flat.reshape(shape)


DECODERS: dict[int, Callable[[bytes, Unpack], Any]] = {
    NDARRAY: _unpack_array,
    SCALAR: lambda data, unpack: _unpack_array(data, unpack)[()],
}
