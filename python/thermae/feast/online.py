"""The online store: ``type: thermae.feast.ThermaeOnlineStore``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

import pyarrow as pa
from feast.entity import Entity
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from ..answers import OnlineAnswer
from ..errors import InvalidRequestError
from . import _documents
from ._kinds import Kind, key_arrow, key_value, utc_us
from ._views import apply, definition, retire, store_of

#: A row of Feast's: key, values, event time, created time.
Row = tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]
#: What became of an entity: its event time and values, or nothing.
Read = tuple[datetime | None, dict[str, ValueProto] | None]

#: Rows that are written together.
_BATCH_ROWS = 10_000
_EVENT_TIME, _CREATED_TIME = "event timestamp", "created timestamp"


class ThermaeOnlineStoreConfig(FeastConfigBaseModel):
    """Where the store is: a server's address, or a directory that this process opens."""

    type: Literal["thermae.feast.ThermaeOnlineStore"] = "thermae.feast.ThermaeOnlineStore"
    #: ``host:port`` or ``unix:/path``.
    address: str = "127.0.0.1:7400"
    #: A directory, instead of a server; one process at a time. Relative to the repository.
    path: str | None = None
    timeout_s: float = 10.0
    pool_size: int = 1
    #: A write returns when it survives a power cut; otherwise when it survives the server's end.
    durable: bool = True


class ThermaeOnlineStore(OnlineStore):
    """Features of all views of a request in one round trip, TTL judged when they are read."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[int, tuple[FeatureView, dict[str, Kind]]] = {}

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Defines the views. One that changes incompatibly begins anew, as a new version without rows."""
        store = store_of(config, config.online_store)
        for table in tables_to_delete:
            retire(store, config.project, table.name)
        for table in tables_to_keep:
            apply(store, definition(config.project, table))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Ends the views: nothing of them is read any more."""
        store = store_of(config, config.online_store)
        for table in tables:
            retire(store, config.project, table.name)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        store = store_of(config, config.online_store)
        for begin in range(0, len(data), _BATCH_ROWS):
            batch = data[begin : begin + _BATCH_ROWS]
            has_created = any(row[3] is not None for row in batch)
            store.push(
                f"{config.project}/{table.name}",
                self._table(table, batch, has_created),
                event_time=_EVENT_TIME,
                created_time=_CREATED_TIME if has_created else None,
                durable=config.online_store.durable,
            )
            if progress is not None:
                progress(len(batch))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        store = store_of(config, config.online_store)
        request = _Request(config, [(table, requested_features or _names(table))], self.kinds)
        answer = store.get_online_features(request.features, _key_columns(0, table, entity_keys), full_names=True)
        return request.rows(answer)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        store = store_of(config, config.online_store)
        request = _Request(config, [(table, requested_features or _names(table))], self.kinds)
        keys = _key_columns(0, table, entity_keys)
        return request.rows(await store.get_online_features_async(request.features, keys, full_names=True))

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, list[ValueProto]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """All views in one round trip."""
        if not grouped_refs:
            return
        store = store_of(config, config.online_store)
        request = _Request(config, grouped_refs, self.kinds)
        columns = request.columns(join_key_values, entity_name_to_join_key_map)
        answer = store.get_online_features(request.features, columns, full_names=True)
        request.fill(online_features_response, answer, full_feature_names, include_feature_view_version_metadata)

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, list[ValueProto]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        if not grouped_refs:
            return
        store = store_of(config, config.online_store)
        request = _Request(config, grouped_refs, self.kinds)
        columns = request.columns(join_key_values, entity_name_to_join_key_map)
        answer = await store.get_online_features_async(request.features, columns, full_names=True)
        request.fill(online_features_response, answer, full_feature_names, include_feature_view_version_metadata)

    def retrieve_online_documents_v2(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: Any = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[tuple[datetime | None, EntityKeyProto | None, dict[str, ValueProto] | None]]:
        """The nearest vectors, exactly: every newest row of the view is looked at. They come in the order of keys."""
        if embedding is None or query_string is not None or filters is not None:
            raise NotImplementedError(
                "ThermaeOnlineStore finds documents by embedding alone: give one, and no query_string or filters"
            )
        store = store_of(config, config.online_store)

        def read(keys: list[EntityKeyProto], names: list[str]) -> list[Read]:
            return self.online_read(config, table, keys, names)

        return _documents.nearest(store, config, table, requested_features, embedding, top_k, distance_metric, read)

    def kinds(self, table: FeatureView) -> dict[str, Kind]:
        """How the features of a view are stored."""
        known = self._kinds.get(id(table))
        if known is None or known[0] is not table:
            if len(self._kinds) >= 1_024:
                self._kinds.clear()
            known = (table, {feature.name: Kind(feature) for feature in table.features})
            self._kinds[id(table)] = known
        return known[1]

    def _table(self, table: FeatureView, rows: list[Row], has_created: bool) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        for column in _keys(table):
            values = [key_value(_key_proto(row[0], column.name)) for row in rows]
            columns[column.name] = pa.array(values, key_arrow(column.name, column.dtype.to_value_type()))
        for name, kind in self.kinds(table).items():
            columns[name] = kind.column([row[1].get(name) for row in rows])
        times = pa.timestamp("us", tz="UTC")
        columns[_EVENT_TIME] = pa.array([utc_us(row[2]) for row in rows], pa.int64()).cast(times)
        if has_created:
            created = [None if row[3] is None else utc_us(row[3]) for row in rows]
            columns[_CREATED_TIME] = pa.array(created, pa.int64()).cast(times)
        return pa.table(columns)


class _Request:
    """What Feast asks for, as one read: each view under a name of its own, so that none is in another's way."""

    def __init__(
        self,
        config: RepoConfig,
        groups: list[tuple[FeatureView, list[str]]],
        kinds: Callable[[FeatureView], dict[str, Kind]],
    ) -> None:
        self._groups = groups
        self.features: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        for at, (table, names) in enumerate(groups):
            known = kinds(table)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InvalidRequestError(f"the feature view {table.name!r} has no feature {unknown[0]!r}")
            self.features.append(
                {
                    "view": f"{config.project}/{table.name}",
                    "features": names,
                    "as": f"view{at}",
                    "join_keys": {column.name: _request_key(at, column.name) for column in _keys(table)},
                }
            )
            self._numbers += [known[name].number for name in names]

    def columns(
        self, values: dict[str, list[ValueProto]], entity_name_to_join_key_map: dict[str, str]
    ) -> dict[str, list[Any]]:
        """The join keys of every view, row by row as they were asked."""
        columns: dict[str, list[Any]] = {}
        for at, (table, _) in enumerate(self._groups):
            renamed = table.projection.join_key_map or {}
            for column in _keys(table):
                name = renamed.get(column.name, column.name)
                given = values.get(name)
                if given is None:
                    raise KeyError(
                        f"Missing join key values for keys: ['{name}']. Provided join_key_values: {list(values.keys())}"
                    )
                columns[_request_key(at, column.name)] = [key_value(value) for value in given]
        if not columns:
            # Views without entity alone: as many rows as the request has.
            columns["rows"] = [0] * max((len(given) for given in values.values()), default=1)
        return columns

    def fill(
        self,
        response: GetOnlineFeaturesResponse,
        answer: OnlineAnswer,
        full_feature_names: bool,
        include_version_metadata: bool,
    ) -> None:
        """Appends the answer to a response of Feast's."""
        for table, names in self._groups:
            prefix = table.projection.name_to_use()
            response.metadata.feature_names.val.extend(
                [f"{prefix}__{name}" if full_feature_names else name for name in names]
            )
            if include_version_metadata:
                clean = table.projection.name_alias or table.projection.name
                if clean not in [known.name for known in response.metadata.feature_view_metadata]:
                    known = response.metadata.feature_view_metadata.add()
                    known.name = clean
                    known.version = getattr(table, "current_version_number", 0) or 0
        response.MergeFromString(answer._core.feast(self._numbers))

    def rows(self, answer: OnlineAnswer) -> list[Read]:
        """The answer of one view, entity by entity."""
        response = GetOnlineFeaturesResponse.FromString(answer._core.feast(self._numbers))
        names = self._groups[0][1]
        rows: list[Read] = []
        for row in range(len(answer)):
            status = response.results[0].statuses[row]
            if status not in (1, 2):
                rows.append((None, None))
                continue
            time = response.results[0].event_timestamps[row].ToDatetime(tzinfo=timezone.utc)
            rows.append((time, {name: result.values[row] for name, result in zip(names, response.results)}))
        return rows


def _keys(table: FeatureView) -> list[Any]:
    return [column for column in table.entity_columns if column.name != DUMMY_ENTITY_ID]


def _request_key(at: int, name: str) -> str:
    return f"{name}__{at}"


def _names(table: FeatureView) -> list[str]:
    return [feature.name for feature in table.features]


def _key_proto(key: EntityKeyProto, name: str) -> ValueProto:
    for join_key, value in zip(key.join_keys, key.entity_values):
        if join_key == name:
            return value
    raise InvalidRequestError(f"an entity key has no {name!r}: it has {list(key.join_keys)}")


def _key_columns(at: int, table: FeatureView, entity_keys: list[EntityKeyProto]) -> dict[str, list[Any]]:
    columns = {
        _request_key(at, column.name): [key_value(_key_proto(key, column.name)) for key in entity_keys]
        for column in _keys(table)
    }
    return columns or {"rows": [0] * len(entity_keys)}
