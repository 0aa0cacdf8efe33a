"""Feast's file sources as Arrow tables."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from ..errors import InvalidRequestError
from ..tables import times_in_utc

_ROW = "__row"


def read(config: RepoConfig, source: DataSource) -> pa.Table:
    """All rows of a source, columns as the file calls them."""
    filesystem, path = _place(config, source)
    return ds.dataset(path, filesystem=filesystem, format="parquet").to_table()


def state(config: RepoConfig, source: DataSource) -> str:
    """Says which state of a source this is: another one when a file of it was written."""
    filesystem, path = _place(config, source)
    names = ds.dataset(path, filesystem=filesystem, format="parquet").files
    parts = [str(path)]
    for name in sorted(names):
        if filesystem is None:
            stat = Path(name).stat()
            parts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
        else:
            (info,) = filesystem.get_file_info([name])
            parts.append(f"{name} {info.size} {info.mtime_ns}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def within(table: pa.Table, time: str, start: datetime | None, end: datetime | None) -> pa.Table:
    """Rows between two times, both included; the time is UTC afterwards."""
    table = times_in_utc(table, time)
    for bound, compare in ((start, pc.greater_equal), (end, pc.less_equal)):
        if bound is not None:
            aware = bound if bound.tzinfo else bound.replace(tzinfo=timezone.utc)
            table = table.filter(compare(table[time], pa.scalar(aware, pa.timestamp("us", tz="UTC"))))
    return table


def latest(table: pa.Table, keys: list[str], time: str, created: str | None) -> pa.Table:
    """The newest row of each entity: by event time, then created time, then place in the file."""
    order = [(time, "ascending")] + ([(created, "ascending")] if created else [])
    table = table.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    indices = pc.sort_indices(table, sort_keys=[*order, (_ROW, "ascending")], null_placement="at_start")
    table = table.take(indices).set_column(table.num_columns - 1, _ROW, pa.array(range(table.num_rows), pa.int64()))
    if keys:
        groups = pa.TableGroupBy(table.select([*keys, _ROW]), keys, use_threads=False).aggregate([(_ROW, "max")])
        newest = groups[f"{_ROW}_max"]
        table = table.take(newest.take(pc.sort_indices(newest)))
    else:
        table = table.slice(max(0, table.num_rows - 1))
    return table.drop_columns([_ROW])


def columns(table: pa.Table, names: list[str], keys: list[str], source: Any) -> pa.Table:
    """Some columns; a view without entity gets Feast's stand-in for one."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InvalidRequestError(
            f"the source {source.name or source.path!r} has no column {missing[0]!r}; there are: "
            f"{', '.join(table.column_names)}"
        )
    table = table.select(list(dict.fromkeys(names)))
    if not keys:
        table = table.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * table.num_rows))
    return table


def _place(config: RepoConfig, source: DataSource) -> tuple[Any, str]:
    if not isinstance(source, FileSource):
        raise InvalidRequestError(
            f"ThermaeOfflineStore reads FileSource; {getattr(source, 'name', '')!r} is a {type(source).__name__}: load "
            "it with thermae ingest, or write its rows with offline_write_batch"
        )
    path = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.file_options.uri)
    return FileSource.create_filesystem_and_path(str(path), source.file_options.s3_endpoint_override)
