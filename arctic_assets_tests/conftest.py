"""Homes that several tests look at: built once per session, never written to by a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from arctic_assets import glaciers, sample
from arctic_assets.automation.build import Extent
from arctic_assets_tests.testkit.platform import SHARED, Platform, copy_of, platform, small_registry

hypothesis.settings.register_profile("no_deadline", deadline=None)  # no test depends on the clock
hypothesis.settings.load_profile("no_deadline")

SMALL = ("geitlandsjokull", "austre_broeggerbreen", "engabreen")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Each test finds the environment as it was: the command line and the test kit set variables."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The real mirror, built whole."""
    if not (SHARED / "real").is_dir():
        pytest.skip("the real provider files (../shared/real) are not here")
    found = platform(tmp_path_factory.mktemp("real"), SHARED / "real/mirror", SHARED / "real/glaciers.csv")
    assert found.build().is_good
    return found


@pytest.fixture(scope="session")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Real outlines of three glaciers (there is none of the fourth), months from July 2026, and nothing else."""
    if not (SHARED / "real").is_dir():
        pytest.skip("the real provider files (../shared/real) are not here")
    folder = tmp_path_factory.mktemp("outlined")
    shutil.copytree(SHARED / "real/mirror/rgi7", folder / "mirror/rgi7")
    start = {"start_year": 2026, "start_month": "2026-07"}
    found = platform(folder / "home", folder / "mirror", SHARED / "real/glaciers.csv", **start)
    assert found.build('key:"raw/rgi7" or key:"derived/outline"').is_good
    return found


@pytest.fixture(scope="session")
def whole_sample(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The SYNTHETIC sample of all 16 glaciers, built whole."""
    found = platform(tmp_path_factory.mktemp("sample"), "sample")
    assert found.build(workers=2).is_good
    return found


@pytest.fixture(scope="session")
def small_mirror(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A SYNTHETIC mirror of three glaciers, and a platform on it of which nothing is built."""
    folder = tmp_path_factory.mktemp("small")
    registry = small_registry(folder / "glaciers.csv", SMALL)
    sample.write(folder / "mirror", glaciers.load(registry), "2020-12")
    return platform(folder / "home", folder / "mirror", registry)


@pytest.fixture(scope="session")
def small_home(small_mirror: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Raw and derived assets of three glaciers in 2019 and 2020; `copy_of` gives a test its own."""
    folder = tmp_path_factory.mktemp("small_home")
    shutil.copytree(small_mirror.current.mirror, folder / "mirror")
    found = platform(folder / "home", folder / "mirror", small_mirror.current.glaciers)
    assert found.build("group:raw or group:derived", Extent(start="2019-01", end="2020-12")).is_good
    return found


@pytest.fixture
def built(small_home: Platform, tmp_path: Path) -> Platform:
    """A home in which all went well, and its mirror."""
    return copy_of(small_home, tmp_path)
