"""The Store contract, and the stores that come with Headrace."""

from __future__ import annotations

from importlib import import_module

_WHERE = {
    "FileStore": "file",
    "MemoryStore": "memory",
    "MongoStore": "mongo",
    "PipelineStore": "pipeline",
    "SQLiteStore": "sqlite",
    "Store": "base",
}

__all__ = sorted(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    try:
        module = import_module(f".{_WHERE[name]}", __name__)
    except KeyError:
        raise AttributeError(f"module 'headrace.stores' has no attribute {name!r}") from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
