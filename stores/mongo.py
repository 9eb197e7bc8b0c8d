"""A store in MongoDB, for Brokers on several machines.

Every result is a document of its own with the fields `document`, `run`, `job`, `path`, `fence`, `saved_at` and `result`
(`readable`). Saves are conditional updates that wait for the journal of the majority, so that a saved result stays
saved. MongoDB takes documents of up to 16 MB: a larger result is cut into parts (GridFS).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ..pipeline.errors import ConfigError
from ..pipeline.payload import pack, unpack
from .document import MONITORING_KEPT, DocumentStore, Place, Saved
from .readable import dumps, from_readable, to_readable

try:
    from gridfs import GridFS
    from pymongo import DESCENDING, MongoClient
    from pymongo.errors import DuplicateKeyError, PyMongoError
    from pymongo.write_concern import WriteConcern
except ImportError:
    raise ConfigError(
        "MongoStore needs the package pymongo, which is not installed here: pip install 'headrace[mongo]'"
    ) from None

_LARGE = 8 << 20
_TRIM_EVERY = 20


class MongoStore(DocumentStore):
    """Results in `<database>.<collection>`. `host` may be a whole mongodb:// address; `options` go to MongoClient."""

    faults = (PyMongoError, OSError, ValueError)

    def __init__(
        self,
        host: str = "localhost",
        port: int = 27017,
        database: str = "headrace",
        collection: str = "results",
        monitoring_collection: str = "monitoring",
        document: str | None = None,
        monitoring_kept: int = MONITORING_KEPT,
        timeout: float = 20.0,
        **options: Any,
    ) -> None:
        super().__init__(document, monitoring_kept)
        options.setdefault("timeoutMS", int(timeout * 1000))
        options.setdefault("appname", "headrace")
        self._client: MongoClient[dict[str, Any]] = MongoClient(host, port, tz_aware=True, connect=False, **options)
        base = self._client.get_database(database, write_concern=WriteConcern(w="majority", j=True))
        self._results = base[collection]
        self._records = base[monitoring_collection]
        self._large = GridFS(base, collection=f"{collection}_large")
        self._indexed = False
        self._added = 0

    def close(self) -> None:
        self._client.close()

    def _put(self, place: Place, fence: str, result: Any) -> str | None:
        self._make_index()
        fields = {**_fields(place), "fence": fence, "saved_at": datetime.now(UTC), **self._value(result)}
        key = _key(place)
        newer: str | None = None
        while newer is None:
            try:
                old = self._results.find_one_and_update(
                    {"_id": key, "fence": {"$lte": fence}}, {"$set": fields}, {"large": 1}, upsert=True
                )
                self._drop(old)
                return None
            except DuplicateKeyError:  # somebody else is there: with a newer fence, or at the same moment
                known = self._results.find_one({"_id": key}, {"fence": 1})
                newer = known["fence"] if known is not None and known["fence"] > fence else None
        self._drop(fields)
        return newer

    def _get(self, place: Place) -> Saved | None:
        found = self._results.find_one({"_id": _key(place)})
        return None if found is None else self._saved(found)

    def _all(self, document: str) -> Iterable[Saved]:
        return map(self._saved, self._results.find({"document": document}))

    def _add_monitoring(self, record: dict[str, Any]) -> None:
        self._records.insert_one({"saved_at": datetime.now(UTC), "record": to_readable(record)})
        self._added += 1
        if self._added % _TRIM_EVERY == 1:
            newest = self._records.find({}, {"_id": 1}).sort("_id", DESCENDING).skip(self.monitoring_kept).limit(1)
            for surplus in newest:
                self._records.delete_many({"_id": {"$lte": surplus["_id"]}})

    def _monitoring(self) -> list[dict[str, Any]]:
        newest = self._records.find().sort("_id", DESCENDING).limit(self.monitoring_kept)
        return [from_readable(found["record"]) for found in reversed(list(newest))]

    def _value(self, result: Any) -> dict[str, Any]:
        packed = pack(result, "the result")
        if len(packed) > _LARGE or len(dumps(readable := to_readable(result))) > _LARGE:
            return {"large": self._large.put(packed), "result": None}
        return {"result": readable, "large": None}

    def _saved(self, found: dict[str, Any]) -> Saved:
        large = found.get("large")
        result = from_readable(found["result"]) if large is None else unpack(self._large.get(large).read())
        return Saved(found["run"], found["job"], tuple(found["path"]), found["fence"], result)

    def _drop(self, replaced: dict[str, Any] | None) -> None:
        """The parts of a large result that nothing names any more."""
        if replaced is not None and replaced.get("large") is not None:
            self._large.delete(replaced["large"])

    def _make_index(self) -> None:
        if not self._indexed:
            self._results.create_index("document")
            self._indexed = True


def _fields(place: Place) -> dict[str, Any]:
    return {"document": place.document, "run": place.run, "job": place.job, "path": list(place.path)}


def _key(place: Place) -> dict[str, Any]:
    return {**_fields(place), "path": ".".join(map(str, place.path))}
