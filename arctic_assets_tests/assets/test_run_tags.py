"""A run that fetches says in its tags whose files it brought, and which version; the others say nothing."""

from __future__ import annotations

from arctic_assets.assets.wiring import PROVIDER, VERSION, shortened
from arctic_assets_tests.testkit.platform import Platform


def test_every_run_that_fetches_names_provider_and_version(small_home: Platform) -> None:
    with small_home.instance() as instance:
        runs = {
            tuple(sorted(k.to_user_string() for k in run.asset_selection or ())): run for run in instance.get_runs()
        }
    tags = {assets: (run.tags.get(PROVIDER), run.tags.get(VERSION)) for assets, run in runs.items()}
    fetching = {assets: found for assets, found in tags.items() if any(a.startswith("raw/") for a in assets)}
    assert fetching and all(provider and version for provider, version in fetching.values())
    assert {found for assets, found in tags.items() if assets not in fetching} == {(None, None)}
    assert next(found for assets, found in tags.items() if "raw/itslive" in assets) == ("itslive", "itslive v2")
    both = next(found for assets, found in tags.items() if {"raw/fog", "raw/amce"} <= set(assets))
    assert both[0] == "literature; wgms" and "fog 2026-02-10" in str(both[1]) and "amce 2026-02-10" in str(both[1])


def test_a_tag_is_short() -> None:
    assert shortened("x" * 200) == "x" * 200 and len(shortened("x" * 300)) == 200
