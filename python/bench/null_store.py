"""Online stores that answer what they were asked before: the work that is left is Feast's."""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.repo_config import FeastConfigBaseModel, RepoConfig


class NullOnlineStoreConfig(FeastConfigBaseModel):
    type: Literal["null_store.NullOnlineStore"] = "null_store.NullOnlineStore"


class NullOnlineStore(OnlineStore):
    """Answers by ``online_read``, as most of Feast's stores do: values that are made already, view by view."""

    def __init__(self) -> None:
        self.source: OnlineStore | None = None
        self.config: RepoConfig | None = None
        self._kept: dict[Any, Any] = {}

    def online_write_batch(self, *_: Any) -> None: ...

    def update(self, *_: Any, **__: Any) -> None: ...

    def teardown(self, *_: Any) -> None: ...

    def online_read(self, config: Any, table: Any, entity_keys: list[Any], requested_features: Any = None) -> Any:
        key = (len(entity_keys), len(requested_features))
        if key not in self._kept:
            self._kept[key] = self.source.online_read(self.config, table, entity_keys, requested_features)
        return self._kept[key]


class DirectNullOnlineStoreConfig(FeastConfigBaseModel):
    type: Literal["null_store.DirectNullOnlineStore"] = "null_store.DirectNullOnlineStore"


class DirectNullOnlineStore(NullOnlineStore):
    """Answers where Thermae's plug-in does, all views at once: with the bytes of a response that is made already. What
    it takes is the bound of a plug-in that goes this way, whatever store is below it."""

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[Any, list[str]]],
        join_key_values: dict[str, list[Any]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        rows = len(next(iter(join_key_values.values())))
        key = (rows, sum(len(names) for _, names in grouped_refs))
        if key not in self._kept:
            made = GetOnlineFeaturesResponse()
            self.source._read_features_per_fv(
                self.config,
                grouped_refs,
                join_key_values,
                entity_name_to_join_key_map,
                made,
                full_feature_names,
                include_feature_view_version_metadata,
            )
            self._kept[key] = made.SerializeToString()
        online_features_response.MergeFromString(self._kept[key])
