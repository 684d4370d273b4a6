"""What Dagster itself calls stale (the UI: "unsynced")."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from arctic_assets.definitions import build_defs
from arctic_assets_tests.testkit.platform import Platform


def stale(found: Platform, *names: str) -> set[str]:
    """Stale partitions of some assets, as `asset partition`; what was never materialised is not stale."""
    graph = build_defs(found.current).resolve_asset_graph()
    with found.instance() as instance:
        resolver = CachingStaleStatusResolver(
            instance=instance, asset_graph=graph, loading_context=LoadingContextForTest(instance)
        )
        found_stale = set()
        for name in names:
            key = dg.AssetKey.from_user_string(name)
            assert graph.get(key).partitions_def is not None
            for partition in instance.get_materialized_partitions(key):
                if resolver.get_status(key, partition).value == "STALE":
                    found_stale.add(f"{name} {partition}")
        return found_stale
