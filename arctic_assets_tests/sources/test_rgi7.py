from __future__ import annotations

import datetime as dt
import shutil
import zipfile
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from arctic_assets.errors import SourceError
from arctic_assets.sources import rgi7
from arctic_assets.sources.base import Missing, Remote
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, LiveOrigin
from arctic_assets_tests.testkit import server as faults
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.server import StaticServer

REAL = Path(__file__).parents[3] / "shared/real/mirror/rgi7"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real provider files (../shared/real) are not here")
STEM = "RGI2000-v7.0-G-07_svalbard_jan_mayen"
LINKS = (
    "rgi7_id,rgi6_id,rgi7_reg,rgi6_reg,overlap_area_km2,rgi7_area_fraction,rgi6_area_fraction,n_rgi7,n_rgi6\n"
    "RGI2000-v7.0-G-07-00001,RGI60-07.00002,07,07,9.5,0.95,0.9,1,1\n"
)


def glacier_id(number: int, region: str = "07") -> str:
    return f"RGI2000-v7.0-G-{region}-{number:05d}"


def outlines(ids: list[str], crs: str | None = "EPSG:4326", **columns: object) -> gpd.GeoDataFrame:
    table = {
        "rgi_id": ids,
        "o1region": "07",
        "o2region": "07-01",
        "src_date": "2008-07-23T00:00:00",
        "cenlon": 12.0,
        "cenlat": 78.9,
        "area_km2": "9.811",
        "subm_id": "563",
        "glac_name": "Austre Brøggerbreen",
        **columns,
    }
    geometry = [shapely.box(11 + i, 78, 11.5 + i, 78.1) for i in range(len(ids))]
    return gpd.GeoDataFrame(table, geometry=geometry, crs=crs)


def centrelines(ids: list[str]) -> gpd.GeoDataFrame:
    table = {
        "rgi_id": [f"RGI2000-v7.0-L-07-{i:05d}" for i in range(2 * len(ids))],
        "rgi_g_id": [one for one in ids for _ in range(2)],
        "segment_id": [2, 1] * len(ids),
        "is_main": [1, 0] * len(ids),
        "outflow_id": [0, 2] * len(ids),
        "length_m": [4000, 900] * len(ids),
    }
    lines = [shapely.LineString([(11, 78), (11.1, 78)])] * (2 * len(ids))
    return gpd.GeoDataFrame(table, geometry=lines, crs="EPSG:4326")


def write_zip(
    folder: Path, frame: gpd.GeoDataFrame, stem: str = STEM, omit: str = "", links: str | None = None, inside: str = ""
) -> Path:
    """A zip as RGI 7 has it, under the name it has while it is being fetched."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    frame.to_file(work / f"{stem}.shp", engine="pyogrio", encoding="UTF-8")
    path = folder / f".{stem}.zip.part"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(work.iterdir()):
            if not omit or part.suffix != omit:
                archive.write(part, inside + part.name)
        if links is not None:
            archive.writestr(f"{inside}{stem}-rgi6_links.csv", links)
    return path


# --- verify ----------------------------------------------------------------------------------------------------


def test_verify_says_what_is_in_the_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(1), glacier_id(2)]), links=LINKS, inside=f"{STEM}/")
    verified = rgi7.verify(path)
    assert verified.content == {"region": "07", "product": "G", "n": 2, "has_links": True}
    assert not verified.is_synthetic
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("SYNTHETIC.txt", "made by arctic_assets.sample")
    assert rgi7.verify(path).is_synthetic
    lines = write_zip(tmp_path, centrelines([glacier_id(1)]), stem=STEM.replace("-G-", "-L-"))
    assert rgi7.verify(lines).content == {"region": "07", "product": "L", "n": 2, "has_links": False}


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(1)]))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="the beginning of a zip"):
        rgi7.verify(path)
    damaged = bytearray(whole)
    damaged[60] ^= 0xFF  # in the compressed bytes of the first member; the directory at the end is whole
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match="a zip is damaged"):
        rgi7.verify(path)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="an empty file"):
        rgi7.verify(path)


def test_an_html_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.zip"
    path.write_text("\n<!DOCTYPE html><html><title>Earthdata Login</title></html>")
    with pytest.raises(SourceError, match=r"an HTML page(.|\n)*login"):
        rgi7.verify(path)


@pytest.mark.parametrize("name", ["../evil.shp", "a/../../evil.shp", "/etc/evil", "..\\evil", "C:\\evil"])
def test_a_zip_that_climbs_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(1)]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(SourceError, match="climb out") as caught:
        rgi7.verify(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("ending", [".prj", ".shx", ".dbf"])
def test_a_shapefile_without_one_of_its_parts_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SourceError, match=rf"no \{ending}"):
        rgi7.verify(write_zip(tmp_path, outlines([glacier_id(1)]), omit=ending))


def test_another_coordinate_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="EPSG:4326"):
        rgi7.verify(write_zip(tmp_path, outlines([glacier_id(1)], crs="EPSG:32633")))


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"got: area_km2, src_date"):
        rgi7.verify(write_zip(tmp_path, outlines([glacier_id(1)]).drop(columns=["area_km2", "src_date"])))


def test_ids_that_occur_twice_are_named(tmp_path: Path) -> None:
    ids = [glacier_id(1), glacier_id(2), glacier_id(2)]
    with pytest.raises(SourceError, match=rf"same id twice(.|\n)*got: {glacier_id(2)}\n"):
        rgi7.verify(write_zip(tmp_path, outlines(ids)))


@pytest.mark.parametrize("other", [glacier_id(1, "08"), "RGI60-07.00001", "RGI2000-v7.0-C-07-00001", None])
def test_ids_of_another_region_product_or_version_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(SourceError, match="not those of one region"):
        rgi7.verify(write_zip(tmp_path, outlines([glacier_id(1), other])))


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not of RGI 7"):
        rgi7.verify(write_zip(tmp_path, outlines([glacier_id(1)]), stem="07_rgi60_Svalbard"))


# --- readers ---------------------------------------------------------------------------------------------------


def test_outlines_come_in_one_form_whatever_the_copy(tmp_path: Path) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(i) for i in (3, 1, 2)]))
    frame = rgi7.read_outlines(path, [glacier_id(3), glacier_id(2), glacier_id(99999)])
    assert frame["rgi_id"].tolist() == [glacier_id(2), glacier_id(3)]
    assert frame.crs.to_epsg() == 4326
    assert frame["area_km2"].tolist() == [9.811, 9.811], "numbers that came as text"
    assert frame["subm_id"].dtype == "Int64" and frame["subm_id"].tolist() == [563, 563]
    assert frame["src_date"].tolist() == [dt.date(2008, 7, 23)] * 2
    assert frame["glac_name"].tolist() == ["Austre Brøggerbreen"] * 2
    assert frame[["lmax_m", "termlon", "zmean_m"]].isna().all(axis=None), "columns that the copy lacks"
    assert frame.geometry.iloc[0].bounds[0] == pytest.approx(13)
    assert len(rgi7.read_outlines(path, [])) == 0


def test_a_column_of_words_where_numbers_belong_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(1)], subm_id="unknown"))
    with pytest.raises(SourceError, match="subm_id holds something else than numbers"):
        rgi7.read_outlines(path, [glacier_id(1)])


def test_only_glacier_ids_are_looked_up(tmp_path: Path) -> None:
    path = write_zip(tmp_path, outlines([glacier_id(1)]))
    with pytest.raises(SourceError, match="not RGI 7 glacier ids"):
        rgi7.read_outlines(path, ["x') OR (1=1"])


def test_centrelines_of_a_glacier(tmp_path: Path) -> None:
    stem = STEM.replace("-G-", "-L-")
    path = write_zip(tmp_path, centrelines([glacier_id(1), glacier_id(2)]), stem=stem)
    frame = rgi7.read_centrelines(path, [glacier_id(2)])
    assert frame[["rgi_g_id", "segment_id", "is_main", "length_m"]].to_numpy().tolist() == [
        [glacier_id(2), 1, 0, 900],
        [glacier_id(2), 2, 1, 4000],
    ]
    assert set(frame.geom_type) == {"LineString"}
    with pytest.raises(SourceError, match="another product"):
        rgi7.read_outlines(path, [glacier_id(2)])


def test_links(tmp_path: Path) -> None:
    frame = outlines([glacier_id(1)])
    assert rgi7.read_links(write_zip(tmp_path, frame)) is None
    links = rgi7.read_links(write_zip(tmp_path, frame, links=LINKS))
    assert links is not None
    assert links.to_dict("records") == [
        {
            "rgi7_id": glacier_id(1),
            "rgi6_id": "RGI60-07.00002",
            "overlap_area_km2": 9.5,
            "rgi7_area_fraction": 0.95,
            "rgi6_area_fraction": 0.9,
        }
    ]
    with pytest.raises(SourceError, match="impossible area fractions"):
        rgi7.read_links(write_zip(tmp_path, frame, links=LINKS.replace("0.95", "95")))
    with pytest.raises(SourceError, match="lacks columns"):
        rgi7.read_links(write_zip(tmp_path, frame, links=LINKS.replace("rgi6_area_fraction", "fraction")))


# --- where they are --------------------------------------------------------------------------------------------


def by_path(found: list[Remote | Missing]) -> dict[str, Remote]:
    return {one.path: one for one in found if isinstance(one, Remote)}


def test_remotes_of_a_mirror(tmp_path: Path) -> None:
    found = rgi7.remotes(DirectoryOrigin(tmp_path), ["07", "06", "07"])
    assert [(one.path, one.optional) for one in found if isinstance(one, Remote)] == [
        ("RGI2000-v7.0-G-06_iceland.zip", False),
        ("RGI2000-v7.0-L-06_iceland.zip", True),
        ("RGI2000-v7.0-G-07_svalbard_jan_mayen.zip", False),
        ("RGI2000-v7.0-L-07_svalbard_jan_mayen.zip", True),
    ]
    with pytest.raises(SourceError, match="got: 20, 7"):
        rgi7.remotes(DirectoryOrigin(tmp_path), ["7", "20"])


def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_live_without_an_account_the_open_portal_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_account(monkeypatch, tmp_path)
    origin = LiveOrigin(Client(sleep=lambda seconds: None))
    with StaticServer(tmp_path) as server:
        ckan = f"{server.url}/api/3/action/package_show?id=rgi"
        resources = [
            {"format": "SHP", "url": f"{server.url}/download/{STEM.lower()}.zip"},
            {"format": "PDF", "url": f"{server.url}/download/guide.pdf"},
        ]
        answer = {"success": True, "result": {"resources": resources}}
        server.route("GET", "/api/3/action/package_show", lambda request, match: Response.of_json(answer))
        found = rgi7.remotes(origin, ["07", "08"], ckan_url=ckan)
        outline = by_path(found)[f"{STEM}.zip"]
        assert outline.url == f"{server.url}/download/{STEM.lower()}.zip"
        assert outline.product.account is None
        gap = next(one for one in found if isinstance(one, Missing))
        assert "RGI2000-v7.0-G-08_scandinavia.zip" in gap.reason and "EARTHDATA_TOKEN" in gap.reason
        lines = by_path(found)["RGI2000-v7.0-L-07_svalbard_jan_mayen.zip"]
        outcome = origin.fetch(lines, tmp_path / "x", None)
        assert isinstance(outcome, Missing) and "NASA Earthdata Login" in outcome.reason

        server.break_path("/down", *[faults.status(503)] * 5)
        with pytest.raises(SourceError, match="HTTP 503"):
            rgi7.remotes(origin, ["07"], ckan_url=f"{server.url}/down")
        server.break_path("/page", faults.page())
        for path, got in (("/page", "DOCTYPE"), ("/moved", "HTTP 404")):
            with pytest.raises(SourceError, match=f"something else than its dataset(.|\n)*{got}"):
                rgi7.remotes(origin, ["07"], ckan_url=f"{server.url}{path}")


def test_live_with_an_account_all_comes_from_nsidc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_account(monkeypatch, tmp_path)
    base = "https://daacdata.apps.nsidc.org/pub/DATASETS/nsidc0770_rgi_v7/regional_files"
    for place in ("variable", "netrc"):
        if place == "variable":
            monkeypatch.setenv("EARTHDATA_TOKEN", "token")
        else:
            monkeypatch.delenv("EARTHDATA_TOKEN")
            (tmp_path / "netrc").write_text("machine urs.earthdata.nasa.gov login me password secret\n")
        found = by_path(rgi7.remotes(LiveOrigin(), ["07"]))
        assert found[f"{STEM}.zip"].url == f"{base}/RGI2000-v7.0-G/{STEM}.zip"
        account = found[f"{STEM}.zip"].product.account
        assert account is not None and account.is_set()


# --- the real files --------------------------------------------------------------------------------------------


@needs_real
@pytest.mark.parametrize(("region", "n", "has_links"), [("06", 568, True), ("07", 98, False), ("09", 48, False)])
def test_real_zips(region: str, n: int, has_links: bool) -> None:
    path = REAL / rgi7.file_name(region)
    verified = rgi7.verify(path)
    assert verified.content == {"region": region, "product": "G", "n": n, "has_links": has_links}
    assert not verified.is_synthetic


@needs_real
def test_real_outlines_have_one_form() -> None:
    svalbard = rgi7.read_outlines(REAL / rgi7.file_name("07"), ["RGI2000-v7.0-G-07-00015"])
    iceland = rgi7.read_outlines(REAL / rgi7.file_name("06"), ["RGI2000-v7.0-G-06-00477"])
    assert list(svalbard.columns) == list(iceland.columns)
    pd.testing.assert_series_equal(svalbard.dtypes, iceland.dtypes)
    assert svalbard["lmax_m"].item() == 9667
    assert iceland["area_km2"].item() == 41.287
    assert iceland["termlon"].isna().all()
    links = rgi7.read_links(REAL / rgi7.file_name("06"))
    assert links is not None
    assert links.set_index("rgi7_id").loc["RGI2000-v7.0-G-06-00477", "rgi6_id"] == "RGI60-06.00311"
