"""The offline store: ``type: thermae.feast.ThermaeOfflineStore``.

Rows of a view's file source are loaded into Thermae when they are first asked for, and again when the file has
changed; rows that are pushed to the offline store join them. They lie in a project of their own (``PROJECT__offline``)
with their whole history: what is served online stays what was materialised or pushed there, as everywhere in Feast.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.file_source import (
    FileLoggingDestination,
    FileSource,
    SavedDatasetFileStorage,
)
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.utils import _get_requested_feature_views_to_features_dict, _run_pyarrow_field_mapping

from ..errors import InvalidRequestError
from ..store import FeatureStore
from ..tables import times_in_utc, to_arrow
from . import _sources
from ._kinds import Kind, key_arrow
from ._views import apply, definition, known_versions, store_of

#: The tag of a view that says which state of its source has been loaded.
_STATE = "feast_source_state"
_ENTITY_TIME = "event_timestamp"


class ThermaeOfflineStoreConfig(FeastConfigBaseModel):
    """Where the store is: a server's address, or a directory that this process opens."""

    type: Literal["thermae.feast.ThermaeOfflineStore"] = "thermae.feast.ThermaeOfflineStore"
    #: ``host:port`` or ``unix:/path``.
    address: str = "127.0.0.1:7400"
    #: A directory, instead of a server; one process at a time. Relative to the repository.
    path: str | None = None
    timeout_s: float = 60.0
    pool_size: int = 1


class ThermaeRetrievalJob(RetrievalJob):
    """A table that is made when it is asked for."""

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
        repo_path: Path | None = None,
    ) -> None:
        self._evaluate = evaluate
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata
        self._repo_path = repo_path

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._evaluate().to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        if not isinstance(storage, SavedDatasetFileStorage):
            raise InvalidRequestError(f"a data set is saved to files, not to a {type(storage).__name__}")
        uri = FileSource.get_uri_for_file_path(repo_path=self._repo_path, uri=storage.file_options.uri)
        filesystem, path = FileSource.create_filesystem_and_path(str(uri), storage.file_options.s3_endpoint_override)
        if not allow_overwrite and filesystem is None and Path(path).exists():
            raise SavedDatasetLocationAlreadyExists(location=storage.file_options.uri)
        _write(self.to_arrow(timeout=timeout), path, filesystem)


class ThermaeOfflineStore(OfflineStore):
    """Point-in-time joins by Thermae: each row of the entity frame once, in its order."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        if not isinstance(entity_df, pd.DataFrame):
            what = "no entity_df" if entity_df is None else f"a {type(entity_df).__name__}"
            raise InvalidRequestError(f"ThermaeOfflineStore joins onto a pandas data frame, and was given {what}")
        time = _time_column(entity_df)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        groups, _on_demand = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, on_demand)

        def evaluate() -> pa.Table:
            store = store_of(config, config.offline_store)
            for table in groups:
                _load(store, config, table)
            spine = times_in_utc(to_arrow(entity_df), time)
            wanted = [_pick(config, table, names) for table, names in groups.items()]
            joined = store.get_historical_features(
                spine,
                wanted,
                event_time=time,
                full_names=full_feature_names,
                as_of_known=filter_by_created_timestamp,
            ).to_arrow()
            return _decoded(joined, groups, full_feature_names)

        times = entity_df[time]
        return ThermaeRetrievalJob(
            evaluate,
            full_feature_names,
            on_demand,
            RetrievalMetadata(
                features=feature_refs,
                keys=[str(name) for name in entity_df.columns if name != time],
                min_event_timestamp=times.min() if len(times) else None,
                max_event_timestamp=times.max() if len(times) else None,
            ),
            config.repo_path,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        def evaluate() -> pa.Table:
            table = _sources.within(_sources.read(config, data_source), timestamp_field, start_date, end_date)
            table = _sources.latest(table, join_key_columns, timestamp_field, created_timestamp_column)
            return _sources.columns(table, _wanted(), join_key_columns, data_source)

        def _wanted() -> list[str]:
            created = [created_timestamp_column] if created_timestamp_column else []
            return [*join_key_columns, *feature_name_columns, timestamp_field, *created]

        return ThermaeRetrievalJob(evaluate, repo_path=config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        def evaluate() -> pa.Table:
            table = _sources.within(_sources.read(config, data_source), timestamp_field, start_date, end_date)
            created = [created_timestamp_column] if created_timestamp_column else []
            names = [*join_key_columns, *feature_name_columns, timestamp_field, *created]
            return _sources.columns(table, names, join_key_columns, data_source)

        return ThermaeRetrievalJob(evaluate, repo_path=config.repo_path)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        store = store_of(config, config.offline_store)
        _define(store, config, feature_view)
        _push(store, config, feature_view, table, None)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise InvalidRequestError(f"features are logged to files, not to a {type(destination).__name__}")
        logged = pq.read_table(data) if isinstance(data, Path) else data
        uri = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=destination.path)
        filesystem, path = FileSource.create_filesystem_and_path(str(uri), destination.s3_endpoint_override)
        pq.write_to_dataset(
            logged,
            root_path=path,
            partition_cols=destination.partition_by or None,
            basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
            filesystem=filesystem,
            existing_data_behavior="overwrite_or_ignore",
        )


def _project(config: RepoConfig) -> str:
    return f"{config.project}__offline"


def _pick(config: RepoConfig, table: FeatureView, names: list[str]) -> dict[str, Any]:
    renamed = table.projection.join_key_map or {}
    return {
        "view": f"{_project(config)}/{table.name}",
        "features": names,
        "as": table.projection.name_to_use(),
        "join_keys": {key: renamed[key] for key in sorted(renamed)},
    }


def _define(store: FeatureStore, config: RepoConfig, table: FeatureView, state: str | None = None) -> str | None:
    """Defines the view, and says which state of its source has been loaded."""
    wanted = replace(definition(_project(config), table), history="full")
    known = known_versions(store, wanted.project, wanted.name)
    loaded = known[max(known)].get("tags", {}).get(_STATE) if known else None
    tag = state or loaded
    apply(store, replace(wanted, tags={**wanted.tags, **({_STATE: tag} if tag else {})}))
    is_new_version = len(known_versions(store, wanted.project, wanted.name)) > len(known)
    return None if is_new_version else loaded


def _load(store: FeatureStore, config: RepoConfig, table: FeatureView) -> None:
    """Loads the view's source, unless this state of it has been loaded."""
    source = table.batch_source
    state = _sources.state(config, source)
    if _define(store, config, table) == state:
        return
    _push(store, config, table, _sources.read(config, source), state)
    _define(store, config, table, state)


def _push(store: FeatureStore, config: RepoConfig, table: FeatureView, rows: pa.Table, state: str | None) -> None:
    source = table.batch_source
    rows = _run_pyarrow_field_mapping(rows, source.field_mapping or {})
    columns: dict[str, Any] = {}
    keep: Any = None
    for column in table.entity_columns:
        if column.name == DUMMY_ENTITY_ID:
            continue
        values = _column(rows, column.name, table).cast(key_arrow(column.name, column.dtype.to_value_type()))
        columns[column.name] = values
        # A null key is nobody's: no row of an entity frame finds it.
        keep = pc.is_valid(values) if keep is None else pc.and_(keep, pc.is_valid(values))
    for feature in table.features:
        columns[feature.name] = _feature(_column(rows, feature.name, table), Kind(feature))
    for time in (source.timestamp_field, source.created_timestamp_column):
        if time:
            columns[time] = _column(rows, time, table)
    stored = pa.table(columns)
    store.push(
        f"{_project(config)}/{table.name}",
        stored if keep is None else stored.filter(keep),
        event_time=source.timestamp_field,
        created_time=source.created_timestamp_column or None,
        producer=None if state is None else f"{_project(config)}/{table.name} {state}",
    )


def _column(rows: pa.Table, name: str, table: FeatureView) -> pa.ChunkedArray:
    if name not in rows.column_names:
        there = ", ".join(rows.column_names)
        raise InvalidRequestError(f"the source of {table.name!r} has no column {name!r}; there are: {there}")
    return rows.column(name)


def _feature(values: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray | pa.Array:
    """A source's column as the feature is stored."""
    if kind.is_native and not pa.types.is_fixed_size_binary(kind.arrow):
        # A time is cut to the microsecond; a number that does not fit is an error.
        return values.cast(kind.arrow, safe=not pa.types.is_timestamp(kind.arrow))
    made = python_values_to_proto_values(values.to_pylist(), kind.feast)
    return kind.column(made)


def _decoded(joined: pa.Table, groups: dict[FeatureView, list[str]], full_feature_names: bool) -> pa.Table:
    """Features that are stored as Feast's messages or as 16 bytes, as Feast's offline stores give them."""
    for table, names in groups.items():
        kinds = {feature.name: Kind(feature) for feature in table.features}
        for name in names:
            kind = kinds[name]
            if kind.is_native and kind.value_type != "uuid":
                continue
            shown = f"{table.projection.name_to_use()}__{name}" if full_feature_names else name
            values = joined.column(shown).to_pylist()
            made = [None if value is None else _python(kind, value) for value in values]
            joined = joined.set_column(joined.schema.get_field_index(shown), shown, pa.array(made))
    return joined


def _python(kind: Kind, value: Any) -> Any:
    if kind.is_native:
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value))
    return feast_value_type_to_python_type(ValueProto.FromString(value))


def _time_column(frame: pd.DataFrame) -> str:
    if _ENTITY_TIME in frame.columns:
        return _ENTITY_TIME
    times = list(frame.select_dtypes(include=["datetime", "datetimetz"]).columns)
    if len(times) != 1:
        raise InvalidRequestError(f"the entity frame needs a column {_ENTITY_TIME!r} with the time of each row")
    return str(times[0])


def _write(table: pa.Table, path: str, filesystem: Any) -> None:
    if path.endswith(".parquet"):
        pq.write_table(table, where=path, filesystem=filesystem)
    else:
        pq.write_to_dataset(table, root_path=path, filesystem=filesystem)
