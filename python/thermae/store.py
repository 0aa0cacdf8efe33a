"""A feature store, over the wire or in this process."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import time
import warnings as python_warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from . import _thermae
from .answers import OnlineAnswer
from .entities import columns_of
from .errors import InvalidRequestError, StalePlanError
from .tables import time_us, times_in_utc, to_arrow

if TYPE_CHECKING:
    import pandas
    import polars

Features = str | Sequence[str | Mapping[str, Any]]

_EVENT_TIME_NAMES = ("event_timestamp", "event_time")
_CREATED_TIME_NAMES = ("created_timestamp", "created_time", "created")
#: Prepared reads that a store remembers.
_PLANS_MAX = 1_024


@dataclass(frozen=True)
class WriteReport:
    """What a write did."""

    #: Rows of the table.
    rows: int = 0
    #: Rows newly written.
    accepted: int = 0
    #: Rows that the same producer had brought before: written, or refused then; nothing changed.
    duplicate: int = 0
    #: Rows outside the window of event time.
    outside: int = 0


@dataclass(frozen=True)
class _LayoutOptions:
    """What the caller says of a table."""

    event_time: str | None = None
    created_time: str | None = None
    at: Any = None
    partial: bool = False
    narrow_floats: bool = False


@dataclass(frozen=True)
class _Layout:
    """The same, found."""

    event_time: str | None
    created_time: str | None
    at_us: int | None
    partial: bool
    narrow_floats: bool


class TrainingData:
    """A spine with its features."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def __repr__(self) -> str:
        return f"<TrainingData of {len(self)} rows x {self._table.num_columns} columns>"

    def to_arrow(self) -> pa.Table:
        """An Arrow table."""
        return self._table

    def to_pandas(self, **options: Any) -> pandas.DataFrame:
        """A pandas data frame; options go to ``pyarrow.Table.to_pandas``."""
        return self._table.to_pandas(**options)

    #: Feast's name for it.
    to_df = to_pandas

    def to_polars(self) -> polars.DataFrame:
        """A Polars data frame."""
        import polars

        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame


class FeatureStore:
    """A store of features. Make one by :func:`thermae.connect` or :func:`thermae.open`.

    Every method may be called from any thread; the GIL is released while the store works.
    """

    def __init__(self, core: _thermae.Remote | _thermae.Embedded, place: str, reads_here: bool) -> None:
        self._core = core
        self._place = place
        #: Rows are judged in this process: one time for all views is given.
        self._reads_here = reads_here
        self._plans: dict[Any, Any] = {}
        self._sources: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<FeatureStore {self._place}>"

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it: a connection goes when nothing uses it any more, an embedded store is stopped in order."""
        self._plans.clear()
        if isinstance(self._core, _thermae.Embedded):
            self._core.close()

    # Definitions

    def apply(self, definitions: str | os.PathLike[str], *, dry_run: bool = False) -> dict[str, Any]:
        """Applies a definitions file, or the text of one: all of it or nothing. Says what changes."""
        name, text = "definitions", definitions
        if isinstance(definitions, os.PathLike) or "\n" not in definitions and definitions.endswith(".toml"):
            name = os.fspath(definitions)
            text = Path(definitions).read_text(encoding="utf-8")
        applied = json.loads(self._core.apply(name, str(text), dry_run))
        self._plans.clear()
        self._sources.clear()
        return applied

    def views(self) -> list[dict[str, Any]]:
        """The feature views, as their definitions."""
        return [view["definition"] for view in json.loads(self._core.describe())["views"]]

    # Online reads

    def entities(self, view: str) -> dict[str, list[Any]]:
        """Join keys of all entities that a view has a row of: columns, as online reads take them."""
        core: Any = self._core
        return core.entity_keys(self._plan([view], False))

    def get_online_features(
        self,
        features: Features,
        entities: Any = None,
        *,
        full_names: bool = False,
        read_time: Any = None,
    ) -> OnlineAnswer:
        """The newest features of entities.

        ``features`` is a service's name, or a list of ``"view:f1,f2"``, each with an alias or version where one is
        meant (``"there=weather@2:temp"``); the long form of definitions is a dictionary, ``{"view": "weather", "as":
        "there", "join_keys": {"origin": "dest"}}``. ``entities`` has a column for each join key: a dictionary of
        columns, a list of rows, or a data frame; for features of on-demand views it has, too, what they are computed
        from. ``read_time`` judges TTL by another time than now.
        """
        return self._read(features, entities, full_names, read_time, False)

    def get_online_matrix(self, features: Features, entities: Any = None, *, read_time: Any = None) -> np.ndarray:
        """The same as one float32 matrix, entities x features, NaN for null: it is copied as a block."""
        return self._read(features, entities, True, read_time, True)._core.matrix()

    async def get_online_features_async(
        self,
        features: Features,
        entities: Any = None,
        *,
        full_names: bool = False,
        read_time: Any = None,
    ) -> OnlineAnswer:
        """As :meth:`get_online_features`; the event loop goes on meanwhile."""
        read = functools.partial(self._read, features, entities, full_names, read_time, False)
        if isinstance(self._core, _thermae.Embedded):
            return await asyncio.to_thread(read)
        plan: Any = self._plans.get((_asked(features), full_names))
        if plan is None:
            plan = await asyncio.to_thread(self._plan, features, full_names)
        columns = columns_of(entities, plan)
        pending = self._core.send_read(plan, columns, _time_or_none(read_time), False)
        if pending is None:
            return await asyncio.to_thread(read)
        try:
            return OnlineAnswer(await _arrival(pending), plan.warnings)
        except StalePlanError:
            # What was prepared has changed: the blocking way prepares again.
            return await asyncio.to_thread(read)

    def _read(self, features: Features, entities: Any, full_names: bool, read_time: Any, matrix: bool) -> OnlineAnswer:
        judged_at = _time_or_none(read_time)
        if judged_at is None and self._reads_here:
            judged_at = time.time_ns() // 1_000
        for attempt in range(2):
            plan = self._plan(features, full_names)
            columns = columns_of(entities, plan)
            core: Any = self._core
            try:
                if isinstance(core, _thermae.Embedded):
                    return OnlineAnswer(core.read(plan, columns, judged_at or 0), plan.warnings)
                return OnlineAnswer(core.read(plan, columns, judged_at, matrix), plan.warnings)
            except StalePlanError:
                self._plans.clear()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def _plan(self, features: Features, full_names: bool) -> Any:
        asked = _asked(features)
        key = (asked, full_names)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._core.prepare(*asked, full_names)
            for warning in plan.warnings:
                python_warnings.warn(warning, DeprecationWarning, stacklevel=4)
            if len(self._plans) >= _PLANS_MAX:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    # Writes

    def push(
        self,
        view: str,
        rows: Any,
        *,
        event_time: str | None = None,
        created_time: str | None = None,
        at: Any = None,
        partial: bool = False,
        narrow_floats: bool = False,
        durable: bool = True,
        producer: str | int | None = None,
    ) -> WriteReport:
        """Writes rows into a feature view, online and history at once.

        ``rows`` is a table of any kind with a column for each join key and feature. ``event_time`` names the column
        with the time of each row, ``at`` is one time for all of them; without either it is as the view's ``source``
        says, or the column ``event_timestamp`` or ``event_time``. A feature without a column takes its default;
        without one it is an error, or null with ``partial``. Every row is judged before the first is written.
        ``producer`` names the load: pushing the same rows under the same name again changes nothing.
        """
        options = _LayoutOptions(event_time, created_time, at, partial, narrow_floats)
        layout, table = self._layout(view, to_arrow(rows), options)
        report = json.loads(self._core.push(view, table, layout, durable, _producer_id(producer)))
        return _report(report)

    async def push_async(self, view: str, rows: Any, **options: Any) -> WriteReport:
        """As :meth:`push`; the event loop goes on meanwhile."""
        return await asyncio.to_thread(functools.partial(self.push, view, rows, **options))

    def materialize(
        self,
        view: str,
        source: Any,
        start: Any = None,
        end: Any = None,
        *,
        source_name: str | None = None,
        **layout: Any,
    ) -> WriteReport:
        """Loads the rows of a source whose event time lies between two times, both included.

        ``source`` is a Parquet, CSV, NDJSON or Arrow file, or a table of any kind. Doing it again changes nothing: a
        file is recognised by its bytes, a table by its ``source_name``; one without a name is written again. Options
        are those of :meth:`push`.
        """
        table, name = _source(source, source_name)
        found, table = self._layout(view, table, _LayoutOptions(**layout))
        window = (
            -(2**62) if start is None else time_us(start),
            2**62 if end is None else time_us(end),
        )
        if source_name is None and name is not None:
            # A file that is loaded by other columns is another load.
            name = f"{name} {found}"
        if isinstance(self._core, _thermae.Embedded) and name is not None:
            return _report(json.loads(self._core.materialize(view, name, table, found, window)))
        rows = table.num_rows
        table = _within(table, found, window)
        # Another window is another load: its rows are numbered from 1.
        producer = _producer_id(None if name is None else f"window\0{view}\0{name}\0{window}")
        report = json.loads(self._core.push(view, table, found, True, producer))
        return _report({**report, "rows": rows, "outside": rows - table.num_rows})

    def materialize_incremental(self, view: str, source: Any, *, source_name: str, **layout: Any) -> WriteReport:
        """Loads what a source has received since the last time: rows behind those that were loaded under its name.

        A source only grows at its end. The mark is a row's place in it, not its event time: a late row is not missed.
        """
        table, _ = _source(source, source_name)
        found, table = self._layout(view, table, _LayoutOptions(**layout))
        if isinstance(self._core, _thermae.Embedded):
            return _report(json.loads(self._core.materialize(view, source_name, table, found, None)))
        # The server recognises what it has taken of this producer.
        producer = _producer_id(f"arrival\0{view}\0{source_name}")
        return _report(json.loads(self._core.push(view, table, found, True, producer)))

    def _layout(self, view: str, table: pa.Table, said: _LayoutOptions) -> tuple[_Layout, pa.Table]:
        """Which columns are times; and the table with them as UTC microseconds, and names as the view's source maps."""
        source = self._source_of(view)
        renamed = source.get("map") or {}
        table = table.rename_columns([renamed.get(name, name) for name in table.column_names])
        if said.event_time is not None and said.at is not None:
            raise InvalidRequestError("give event_time or at, not both")
        event_time, at = said.event_time, said.at
        if event_time is None and at is None:
            hinted = source.get("event_time")
            hinted = renamed.get(hinted, hinted)
            event_time = hinted if hinted in table.column_names else None
            at = source.get("at") if event_time is None else None
        if at is None:
            event_time = _event_time(table, event_time)
            table = times_in_utc(table, event_time)
        names = [said.created_time] if said.created_time else [source.get("created_time"), *_CREATED_TIME_NAMES]
        created_time = said.created_time or next((name for name in names if name in table.column_names), None)
        if created_time is not None:
            table = times_in_utc(table, created_time)
        at_us = None if at is None else time_us(at)
        return _Layout(event_time, created_time, at_us, said.partial, said.narrow_floats), table

    def _source_of(self, view: str) -> dict[str, Any]:
        """What the view's definition says of the files that feed it."""
        if view not in self._sources:
            path, _, version = view.partition("@")
            project, _, name = path.rpartition("/")
            found = [
                one
                for one in self.views()
                if one["name"] == name
                and project in ("", one["project"])
                and version.lstrip("v") in ("", str(one.get("version", 1)))
            ]
            hint = (found[-1].get("source") if found else None) or "{}"
            self._sources[view] = json.loads(hint) if hint.startswith("{") else {}
        return self._sources[view]

    # Training reads

    def get_historical_features(
        self,
        spine: Any,
        features: Features,
        *,
        event_time: str | None = None,
        full_names: bool = False,
        as_of_known: bool = False,
    ) -> TrainingData:
        """Joins features onto a spine, each as it was at its row's time: the same rows, in the same order.

        ``spine`` is a table of any kind with join keys, a time, and whatever else is to be kept, such as labels; for
        features of on-demand views it has, too, what they are computed from.
        ``as_of_known`` leaves out what was learnt only later.
        """
        table = to_arrow(spine)
        time_column = _event_time(table, event_time)
        plan = self._plan(features, full_names)
        needs = {**dict.fromkeys(plan.request, "what features are computed from")}
        needs.update(dict.fromkeys(plan.join_keys, "a join key of the features"))
        missing = [name for name in needs if name not in table.column_names]
        if missing:
            there = ", ".join(table.column_names) or "none"
            what = needs[missing[0]]
            raise InvalidRequestError(f"the spine has no column {missing[0]!r}, {what}; there are: {there}")
        # Only what the join needs is sent.
        needed = times_in_utc(table.select(list(dict.fromkeys([*needs, time_column]))), time_column)
        core: Any = self._core
        joined = core.history(*_asked(features), full_names, time_column, as_of_known, needed)
        added = joined.column_names[needed.num_columns :]
        for name in added:
            if name in table.column_names:
                raise InvalidRequestError(
                    f"the answer would have two columns {name!r}: ask for full names, or rename the spine's column"
                )
            table = table.append_column(joined.schema.field(name), joined.column(name))
        return TrainingData(table)


async def _arrival(pending: _thermae.Pending) -> _thermae.Answer:
    loop = asyncio.get_running_loop()
    while True:
        arrived: asyncio.Future[None] = loop.create_future()

        def wake(arrived: asyncio.Future[None] = arrived) -> None:
            loop.call_soon_threadsafe(_settle, arrived)

        answer = pending.poll(wake)
        if answer is not None:
            return answer
        await arrived


def _settle(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)


def _asked(features: Features) -> tuple[tuple[str, ...] | None, str | None]:
    """Features, or a service."""
    if not isinstance(features, str):
        return tuple(pick if isinstance(pick, str) else json.dumps(pick) for pick in features), None
    return ((features,), None) if ":" in features else (None, features)


def _time_or_none(when: Any) -> int | None:
    return None if when is None else time_us(when)


def _event_time(table: pa.Table, named: str | None) -> str:
    if named is not None:
        return named
    found = [name for name in _EVENT_TIME_NAMES if name in table.column_names]
    if not found:
        there = ", ".join(table.column_names) or "none"
        raise InvalidRequestError(
            f"no column is called event_timestamp: say which one is the time by event_time=; there are: {there}"
        )
    return found[0]


def _within(table: pa.Table, layout: _Layout, window: tuple[int, int]) -> pa.Table:
    first, last = window
    if layout.event_time is None:
        is_within = layout.at_us is not None and first <= layout.at_us <= last
        return table if is_within else table.slice(0, 0)
    import pyarrow.compute as pc

    times = table.column(layout.event_time).cast(pa.int64())
    # A row without a time is kept: it is refused by name.
    outside = pc.or_(pc.less(times, first), pc.greater(times, last))
    return table.filter(pc.invert(pc.fill_null(outside, False)))


def _source(source: Any, name: str | None) -> tuple[pa.Table, str | None]:
    """A source's rows, and what names it."""
    if not isinstance(source, (str, os.PathLike)):
        return to_arrow(source), name
    import pyarrow.dataset as ds

    path = Path(source)
    kind = {".csv": "csv", ".ndjson": "json", ".jsonl": "json", ".arrow": "arrow", ".feather": "feather"}
    table = ds.dataset(path, format=kind.get(path.suffix, "parquet")).to_table()
    return table, name or _digest(path)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _producer_id(name: str | int | None) -> int:
    """The number of a producer; 0 is nobody."""
    if name is None:
        return 0
    if isinstance(name, int):
        return name
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1


def _report(told: Mapping[str, Any]) -> WriteReport:
    return WriteReport(**{name: int(told.get(name, 0)) for name in WriteReport.__dataclass_fields__})
