"""The sample's mosaics hold what their truth says, read through the platform's own source and science."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arctic_assets import glaciers
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample import itslive as sample
from arctic_assets.sample import rgi7
from arctic_assets.science import velocity
from arctic_assets.settings import load
from arctic_assets.sources import itslive
from arctic_assets.sources.base import Delivery, Missing

Truth = dict[str, dict[int, sample.VelocityTruth]]
ARCHIPELAGO = "novaya_zemlya"
SPARSE_YEARS = range(1985, 1999)


@pytest.fixture(scope="module")
def land() -> rgi7.Landscape:
    return rgi7.landscape(tuple(glaciers.load()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, land: rgi7.Landscape) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("mirror")
    return root, sample.write(root / "itslive", land, tuple(glaciers.load()))


def means(
    root: Path, land: rgi7.Landscape, glacier_id: str, years: list[int], folder: Path
) -> dict[int, velocity.LineMean | str]:
    """Along all measured main lines of a glacier, of a group's outlets, as if they were one; the reason where there is
    no window."""
    members = land.of(glacier_id)
    outlets = [m for m in members if m.marine] if len(members) > 1 else []
    lines = [m.piece.lines[-1] for m in outlets or members if m.area_km2 >= sample.SMALLEST_KM2]
    points = [velocity.sample_points(line) for line in lines]
    lon, lat, weights = (np.concatenate(part) for part in zip(*points, strict=True))
    regions = {glacier_id: glaciers.load()[glacier_id].itslive_region}
    found: dict[int, velocity.LineMean | str] = {}
    with itslive.open_mosaics(load(mirror=str(root), home=folder)) as mosaics:
        for remote in itslive.remotes({glacier_id: lines}, regions, years):
            assert isinstance(remote, itslive.WindowRemote)
            target = folder / Path(remote.path).name
            answer = mosaics.fetch(remote, target, None)
            if isinstance(answer, Missing):
                found[remote.year] = answer.reason
                continue
            assert isinstance(answer, Delivery)
            assert itslive.verify(target).is_synthetic
            cells = itslive.read_points(target, lon, lat)
            found[remote.year] = velocity.line_mean(cells.v, cells.v_error, cells.count, weights)
    return found


def test_small_and_complete(made: tuple[Path, Truth]) -> None:
    files = list((made[0] / "itslive").rglob("*.tif"))
    assert sum(path.stat().st_size for path in files) < 15e6
    regions, years = {g.itslive_region for g in glaciers.load()}, range(1985, 2025)
    assert len(files) == 3 * (len(regions) * (len(years) + 1) - len(sample.MISSING))
    assert all(path.read_bytes()[4:8] == b"\x08\0\0\0" for path in files)  # the header comes first, as in a COG
    assert not list((made[0] / "itslive/velocity_mosaic/v2").rglob("*_2023_*"))
    assert len(list((made[0] / "itslive/velocity_mosaic/v2.1").rglob("*_2024_V02.1_v.tif"))) == len(regions)


def test_format_is_the_providers(made: tuple[Path, Truth]) -> None:
    folder = made[0] / "itslive/velocity_mosaic/v2/annual/cog"
    expected = {"v": ("float32", -32767), "v_error": ("uint16", 0), "count": ("uint32", 0)}
    for band, (dtype, nodata) in expected.items():
        with rasterio.open(folder / f"ITS_LIVE_velocity_120m_RGI07A_2005_v02_{band}.tif") as raster:
            assert (raster.dtypes, raster.nodata, raster.crs.to_epsg()) == ((dtype,), nodata, 3413)
            assert raster.res == (120, 120) and raster.transform.e < 0 and raster.is_tiled
            assert SYNTHETIC in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"]
            if band == "v_error":
                assert 32767 in raster.read(1)


@pytest.mark.parametrize("glacier_id", ["wykeham_south", "taku", "parrish", "engabreen", "austre_broeggerbreen"])
def test_what_went_in_comes_out(
    made: tuple[Path, Truth], land: rgi7.Landscape, tmp_path: Path, glacier_id: str
) -> None:
    root, truth = made
    years = [0, 1986, 1989, 1990, 1993, 1996, 1998, 2000, 2003, 2012, 2022, 2023, 2024]
    found = means(root, land, glacier_id, years, tmp_path)
    assert set(found) == set(years)
    for year, mean in found.items():
        if isinstance(mean, str):
            assert year not in truth[glacier_id] and mean == "no ITS_LIVE mosaic for region 07 in 1986"
            continue
        put = truth[glacier_id][year]
        assert mean.coverage_fraction == pytest.approx(put.coverage_fraction, abs=0.03)
        assert bool(mean.low_coverage) == (put.coverage_fraction < 0.5)
        if not mean.low_coverage:
            assert mean.speed_m_yr == pytest.approx(put.speed_m_yr, rel=0.03)
            assert mean.sigma_correlated_m_yr == pytest.approx(put.sigma_m_yr)
            assert mean.count_median == put.count
            assert mean.below_noise == (put.speed_m_yr < 2 * put.sigma_m_yr)


def test_archipelago(made: tuple[Path, Truth], land: rgi7.Landscape, tmp_path: Path) -> None:
    (mean,) = means(made[0], land, ARCHIPELAGO, [2010], tmp_path).values()
    assert isinstance(mean, velocity.LineMean)
    put = made[1][ARCHIPELAGO][2010]
    assert mean.coverage_fraction == 1
    assert mean.speed_m_yr == pytest.approx(put.speed_m_yr, rel=0.02)
    assert put.whole_line_m_yr == put.speed_m_yr
    outlets = [m for m in land.of(ARCHIPELAGO) if m.marine]
    assert put.n_outlets == sum(m.area_km2 >= sample.SMALLEST_KM2 for m in outlets) < len(outlets) < 480
    assert 0.98 < put.coverage_fraction < 1


def test_years_without_some_outlets(made: tuple[Path, Truth], land: rgi7.Landscape, tmp_path: Path) -> None:
    """The slow ones, the fast ones, or nearly all: the rest is as in other years."""
    years = [2000, 2001, 2002, 2006]
    found = means(made[0], land, ARCHIPELAGO, years, tmp_path)
    put = made[1][ARCHIPELAGO]
    for year in years:
        mean = found[year]
        assert isinstance(mean, velocity.LineMean)
        assert mean.coverage_fraction == pytest.approx(put[year].coverage_fraction, abs=0.02)
        if year != 2006:
            assert mean.speed_m_yr == pytest.approx(put[year].speed_m_yr, rel=0.03)
    assert put[2000].speed_m_yr < 0.9 * put[2000].whole_line_m_yr
    assert put[2002].speed_m_yr > 1.1 * put[2002].whole_line_m_yr
    assert put[2006].coverage_fraction < 0.15 and found[2006].low_coverage  # type: ignore[union-attr]
    assert put[2000].n_outlets > put[2002].n_outlets > put[2006].n_outlets > 1


def test_ice_moves_as_its_thickness_and_slope_make_it(made: tuple[Path, Truth]) -> None:
    """By the relation written anew: 460 m of ice under a slope of the least 1.5 degrees, of which half slides."""
    truth = {name: by_year[itslive.CLIMATOLOGY] for name, by_year in made[1].items()}
    assert {name for name, put in truth.items() if put.thickness_m is None} == {"alexander", ARCHIPELAGO}
    assert all(put.thickness_m is None for by_year in made[1].values() for year, put in by_year.items() if year)
    stress = 917 * 9.81 * np.sin(np.radians(1.5))
    speed = 2 * 2.4e-24 / 4 * stress**3 * 460.8**4 / (1 - 0.5) * 365.25 * 86400
    assert truth["taku"].thickness_m == pytest.approx(460.8, abs=1)
    assert 1 < truth["taku"].whole_line_m_yr / speed < 2  # some of it is steeper


def test_small_ice_is_not_measured(made: tuple[Path, Truth], land: rgi7.Landscape, tmp_path: Path) -> None:
    root, truth = made
    assert set(glaciers.load().ids) - set(truth) == {"yuri", "west_gulkana"}
    (yuri,) = land.of("yuri")
    with itslive.open_mosaics(load(mirror=str(root), home=tmp_path)) as mosaics:
        (remote,) = itslive.remotes({"yuri": [yuri.piece.lines[-1]]}, {"yuri": "RGI01A"}, [2010])
        assert not isinstance(remote, Missing)
        mosaics.fetch(remote, tmp_path / "yuri_2010.tif", None)
    assert itslive.verify(tmp_path / "yuri_2010.tif").content["n_valid"] == 0


def test_the_difficult_years_are_there(made: tuple[Path, Truth]) -> None:
    root, truth = made
    assert truth["parrish"][1987].coverage_fraction < 0.01
    assert truth["geitlandsjokull"][1990].version == "v2.1"
    assert 1986 not in truth["austre_broeggerbreen"] and 1988 not in truth["mittivakkat"]
    assert {truth["taku"][year].version for year in (2022, 2023)} == {"v2", "v2.1"}
    early = [truth["taku"][year].coverage_fraction for year in SPARSE_YEARS]
    assert min(early) < 0.5 < max(early) < 1
    spoilt = truth["taku"][sample.SPOILT_YEAR]
    assert spoilt.coverage_fraction == pytest.approx(0.8)
    stem = root / "itslive/velocity_mosaic/v2/annual/cog/ITS_LIVE_velocity_120m_RGI08A_2003_v02_"
    v, error, count = (rasterio.open(f"{stem}{band}.tif").read(1) for band in itslive.BANDS)
    assert ((v > 0) & (error == 32767)).any() and ((v > 0) & (count == 0)).any()


def test_same_bytes_again(tmp_path: Path) -> None:
    registry = tuple(g for g in glaciers.load() if g.o1region in ("06", "07"))
    land = rgi7.landscape(registry)
    for name in ("one", "other"):
        sample.write(tmp_path / name, land, registry)
    digests = [
        {
            str(path.relative_to(tmp_path / name)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / name).rglob("*.tif")
        }
        for name in ("one", "other")
    ]
    assert digests[0] == digests[1] and len(digests[0]) == 3 * (2 * 41 - 1)
