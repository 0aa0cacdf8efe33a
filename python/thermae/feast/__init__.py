"""Plug-ins for Feast: ``type: thermae.feast.ThermaeOnlineStore`` and ``type: thermae.feast.ThermaeOfflineStore``."""

from .offline import ThermaeOfflineStore, ThermaeOfflineStoreConfig
from .online import ThermaeOnlineStore, ThermaeOnlineStoreConfig

__all__ = [
    "ThermaeOfflineStore",
    "ThermaeOfflineStoreConfig",
    "ThermaeOnlineStore",
    "ThermaeOnlineStoreConfig",
]
