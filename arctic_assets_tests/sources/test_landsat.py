"""Scenes are found by one selection in every kind of catalogue, and come as windows that say what they are."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pystac_client
import pytest
import rasterio

from arctic_assets import glaciers, settings
from arctic_assets.errors import SourceError
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample import landsat as sample_landsat
from arctic_assets.sample import rgi7 as sample_rgi7
from arctic_assets.sources import landsat
from arctic_assets.sources.base import Delivery, Missing, Unchanged
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, LiveOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.base import Request, Response
from arctic_assets_tests.testkit.faults import closed, cut, status
from arctic_assets_tests.testkit.server import StaticServer
from arctic_assets_tests.testkit.stac import StacServer

REAL = Path(__file__).parents[3] / "shared/real/landsat_stac_items"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real provider files (../shared/real) are not here")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, landsat.Bounds, dict[str, Any]]:
    """Scenes of one small glacier: the folder, its box, what was put in."""
    registry = glaciers.load()
    one = (registry["west_gulkana"],)
    land = sample_rgi7.landscape(one)
    folder = tmp_path_factory.mktemp("mirror") / "landsat"
    truth = sample_landsat.write(folder, land, one)["west_gulkana"]
    return folder, landsat.box_of(land.of("west_gulkana")[0].piece.polygon), truth


@pytest.fixture
def own(mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the folder that a test may change."""
    return Path(shutil.copytree(mirror[0], tmp_path / "landsat"))


def edit(folder: Path, item_id: str, **properties: object) -> None:
    path = folder / "items" / f"{item_id}.json"
    item = json.loads(path.read_text())
    item["properties"] |= properties
    path.write_text(json.dumps(item))


def found(endpoint: object, box: landsat.Bounds, inventory: str, **options: Any) -> list[landsat.Item]:
    items = landsat.search(str(endpoint), box, inventory, **options)
    assert isinstance(items, list), items
    return items


# --- items -----------------------------------------------------------------------------------------------------------


@needs_real
@pytest.mark.parametrize(
    ("item_id", "sensor", "epsg", "numbers", "doi", "slc_off"),
    [
        ("LT04_L2SP_002026_19830110_02_T1", "TM", 32622, (1, 2, 3, 4, 5), "10.5066/P9IAXOVV", False),
        ("LT05_L2SP_010067_19860424_02_T2", "TM", 32617, (1, 2, 3, 4, 5), "10.5066/P9IAXOVV", False),
        ("LE07_L2SP_021030_20100109_02_T1", "ETM+", 32616, (1, 2, 3, 4, 5), "10.5066/P9C7I13B", True),
        ("LC08_L2SP_047027_20201204_02_T1", "OLI", 32610, (2, 3, 4, 5, 6), "10.5066/P9OGBGM6", False),
        ("LC09_L2SP_010065_20220129_02_T1", "OLI", 32617, (2, 3, 4, 5, 6), "10.5066/P9OGBGM6", False),
    ],
)
def test_real_items(item_id: str, sensor: str, epsg: int, numbers: tuple[int, ...], doi: str, slc_off: bool) -> None:
    read = pystac.Item.from_file(str(REAL / f"{item_id}.json"))
    item = landsat.facts(read)
    assert item is not None
    date = dt.datetime.strptime(item_id.split("_")[3], "%Y%m%d").date()
    assert (item.item_id, item.date, item.sensor, item.epsg) == (item_id, date, sensor, epsg)
    assert item.is_slc_off is slc_off
    assert item.category == item_id[-2:]
    assert item.cloud_pct == read.properties["eo:cloud_cover"]
    assert not item.is_synthetic
    assert landsat.product_of(item).doi == doi == read.properties["sci:doi"]
    ends = [f"_SR_B{n}.TIF" for n in numbers] + ["_QA_PIXEL.TIF"]
    assert list(item.hrefs) == list(landsat.BANDS)
    for href, end in zip(item.hrefs.values(), ends, strict=True):
        assert href.endswith(end)


@needs_real
def test_items_with_wrong_or_missing_bands_are_refused() -> None:
    content = json.loads((REAL / "LC08_L2SP_047027_20201204_02_T1.json").read_text())
    assets = content["assets"]
    swapped = {**content, "assets": {**assets, "red": assets["swir16"]}}
    with pytest.raises(SourceError, match="red of a Landsat item is another band"):
        landsat.bands(pystac.Item.from_dict(swapped))
    lacking = {**content, "assets": {k: v for k, v in assets.items() if k != "swir16"}}
    with pytest.raises(SourceError, match="no swir16"):
        landsat.bands(pystac.Item.from_dict(lacking))
    for other in ({"platform": "landsat-3"}, {"landsat:correction": "L1TP"}):
        odd = {**content, "properties": {**content["properties"], **other}}
        assert landsat.facts(pystac.Item.from_dict(odd)) is None


@needs_real
@pytest.mark.parametrize("variant", [{"proj:code": "EPSG:32610"}, {"proj:epsg": 32610}, {}])
def test_both_ways_to_name_the_projection(variant: dict[str, Any]) -> None:
    content = json.loads((REAL / "LC08_L2SP_047027_20201204_02_T1.json").read_text())
    del content["properties"]["proj:epsg"]
    content["properties"] |= variant
    item = landsat.facts(pystac.Item.from_dict(content))
    assert item is not None and item.epsg == (32610 if variant else None)


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inventory", ["1985", "2005", "2015", "2024"])
def test_every_kind_of_catalogue_gives_the_same_scenes(
    mirror: tuple[Path, landsat.Bounds, dict[str, Any]], inventory: str
) -> None:
    folder, box, truth = mirror
    local = found(folder, box, inventory)
    assert sorted(i.item_id for i in local) == sorted(truth[inventory].item_ids)
    assert all(i.is_synthetic for i in local)
    with StacServer(folder, page_size=1) as api:
        remote = found(api.url, box, inventory)
        asked = api.searches
    assert [replace(i, hrefs={}, url="") for i in remote] == [replace(i, hrefs={}) for i in local]
    assert len({a["datetime"] for a in asked}) == 5
    assert any("token" in a and "bbox" in a for a in asked), "the second page repeats the question"
    with StaticServer(folder.parent) as server:
        static = found(f"{server.url}/landsat", box, inventory)
    assert [i.item_id for i in static] == [i.item_id for i in local]


def test_the_loopback_api_filters(mirror: tuple[Path, landsat.Bounds, dict[str, Any]]) -> None:
    folder, _, truth = mirror
    with StacServer(folder) as server:
        api = pystac_client.Client.open(server.url)

        def ids(**asked: Any) -> set[str]:
            return {item.id for item in api.search(**asked).items()}

        assert len(ids()) == 10
        assert ids(query={"platform": {"in": ["landsat-7"]}}) == set(truth["2005"].item_ids)
        assert ids(query={"eo:cloud_cover": {"lt": 0}}) == set()
        assert ids(bbox=[0, 0, 1, 1]) == ids(collections=["sentinel-2-l2a"]) == set()
        assert ids(datetime="2013-01-01/2017-12-31") == set(truth["2015"].item_ids)


def test_an_api_without_the_query_extension(mirror: tuple[Path, landsat.Bounds, dict[str, Any]]) -> None:
    folder, box, truth = mirror
    with StacServer(folder, has_query=False) as server:
        assert {i.item_id for i in found(server.url, box, "1995")} == set(truth["1995"].item_ids)


def test_only_late_summer_near_the_year(own: Path, mirror: tuple[Path, landsat.Bounds, dict[str, Any]]) -> None:
    _, box, truth = mirror
    first, second = truth["1995"].item_ids
    for date, is_in in (
        ("1995-07-14", False),
        ("1995-07-15", True),
        ("1997-09-20", True),
        ("1997-09-21", False),
        ("1998-08-20", False),
        ("1992-08-20", False),
    ):
        edit(own, first, datetime=f"{date}T20:00:00Z")
        assert (first in {i.item_id for i in found(own, box, "1995")}) is is_in, date
    edit(own, first, datetime="1995-08-20T20:00:00Z", **{"eo:cloud_cover": 71})
    assert [i.item_id for i in found(own, box, "1995")] == [second]
    assert len(found(own, box, "1995", most_cloud_pct=80)) == 2
    assert len(found(own, box, "1995", most_cloud_pct=80, keep=1)) == 1
    edit(own, second, **{"landsat:correction": "L1TP"})
    outcome = landsat.search(str(own), box, "1995")
    assert isinstance(outcome, Missing)
    assert "15 Jul - 20 Sep 1993-1997" in outcome.reason and "70 % cloud" in outcome.reason


def test_the_clearest_scene_over_the_glacier_comes_first(
    own: Path, mirror: tuple[Path, landsat.Bounds, dict[str, Any]]
) -> None:
    """The provider's figure is of the whole scene; what counts is `qa_pixel` over the box."""
    _, box, truth = mirror
    ids = truth["2015"].item_ids
    for item_id in ids:
        edit(own, item_id, datetime="2015-08-25T20:00:00Z")
    for clouded, clear in (ids, ids[::-1]):
        for item_id in ids:
            edit(own, item_id, **{"eo:cloud_cover": 1.0 if item_id == clouded else 60.0})
        qa = own / json.loads((own / "items" / f"{clouded}.json").read_text())["assets"]["qa_pixel"]["href"][3:]
        before = qa.read_bytes()
        with rasterio.open(qa, "r+") as raster:
            values = raster.read(1)
            values[values != 1] = 22280
            raster.write(values, 1)
        items = found(own, box, "2015")
        assert [i.item_id for i in items] == [clear, clouded]
        assert items[0].cloud_share < 0.2 and items[1].cloud_share == 1
        assert items[0].covered_share == items[1].covered_share > 0.3
        qa.write_bytes(before)


def test_no_catalogue_no_scene_no_year(tmp_path: Path, mirror: tuple[Path, landsat.Bounds, dict[str, Any]]) -> None:
    folder, box, _ = mirror
    for outcome, reason in (
        (landsat.search(str(tmp_path), box, "1995"), "no folder landsat/items"),
        (landsat.search(str(folder), (10, 60, 10.1, 60.1), "1995"), "no Landsat 4-9 Level-2 scene"),
        (landsat.search(str(folder), (50, 70.5, 69, 77), "1995"), "wide is more than a Landsat scene holds"),
    ):
        assert isinstance(outcome, Missing) and reason in outcome.reason
    with pytest.raises(SourceError, match="without a year"):
        landsat.search(str(folder), box, "rgi7")
    with StaticServer(tmp_path) as server:
        outcome = landsat.search(f"{server.url}/landsat", box, "1995")
    assert isinstance(outcome, Missing) and "no Landsat catalogue" in outcome.reason


def test_a_catalogue_that_answers_wrongly_is_an_error(
    own: Path, mirror: tuple[Path, landsat.Bounds, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landsat, "Client", lambda: Client(sleep=lambda seconds: None))

    class Failing(StacServer):
        def answer(self, request: Request) -> Response:
            return Response(500, b"no database") if request.method == "POST" else super().answer(request)

    class Odd(StacServer):
        def answer(self, request: Request) -> Response:
            return Response.of_json({"hello": "world"})

    box = mirror[1]
    for kind, words in ((Failing, r"HTTP 500 \(attempt 5 of 5\)"), (Odd, "cannot be searched")):
        with kind(own) as broken, pytest.raises(SourceError, match=words) as told:
            landsat.search(f"{broken.url}/?key=secret", box, "1995")
        assert "secret" not in str(told.value)
    with StacServer(own) as server:
        server.break_path("/search", status(503), closed(), cut(10), status(429))
        assert isinstance(landsat.search(server.url, box, "1995"), list), "what passes is waited for"
    (own / "items" / "LT05_broken.json").write_text("<html>")
    with pytest.raises(SourceError, match="no STAC item"):
        landsat.search(str(own), box, "1995")


def test_endpoints_follow_the_mirror(tmp_path: Path) -> None:
    def of(mirror: str) -> str:
        return landsat.endpoint_of(settings.Settings(home=tmp_path, mirror=mirror))

    assert of("live") == landsat.PLANETARY_COMPUTER
    assert of("sample") == str(tmp_path / "sample/landsat")
    assert of("/data/mirror") == "/data/mirror/landsat"
    assert of("https://example.org/mirror/") == "https://example.org/mirror/landsat"


def test_only_planetary_computer_is_signed(
    mirror: tuple[Path, landsat.Bounds, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real client asks a token server; addresses outside of its storage pass as they are."""
    folder, box, _ = mirror
    item = found(folder, box, "1995")[0]
    href = "https://landsateuwest.blob.core.windows.net/landsat-c2/level-2/x_SR_B4.TIF"
    assert landsat._signed(item, href) == href
    with StaticServer(folder) as server:
        from planetary_computer.settings import Settings  # type: ignore[import-untyped]

        answer = {"msft:expiry": "2999-01-01T00:00:00Z", "token": "sig=abc"}
        server.route("GET", r"/sas/.*", lambda request, match: Response.of_json(answer))
        monkeypatch.setattr(Settings, "get", staticmethod(lambda: Settings(sas_url=f"{server.url}/sas")))
        signed = replace(item, is_signed=True)
        assert landsat._signed(signed, href) == f"{href}?sig=abc"
        assert landsat._signed(signed, "/local/x.TIF") == "/local/x.TIF"
        assert server.count() == 1
    assert "Planetary Computer" in landsat.product_of(signed).citation
    assert "Planetary Computer" not in landsat.product_of(item).citation


# --- windows ---------------------------------------------------------------------------------------------------------


def test_a_window_holds_the_scene(mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path) -> None:
    folder, box, _ = mirror
    item = found(folder, box, "2005")[0]
    target = tmp_path / ".window.tif.part"
    delivery = landsat.fetch_window(item, box, target)
    assert isinstance(delivery, Delivery)
    assert delivery.url == f"mirror:landsat/items/{item.item_id}.json"
    verified = landsat.verify(target)
    assert verified.is_synthetic
    assert verified.content == {
        "item_id": item.item_id,
        "date": item.date.isoformat(),
        "sensor": "ETM+",
        "platform": "landsat-7",
        "cloud_share": pytest.approx(item.cloud_share, abs=1e-4),
        "covered_share": pytest.approx(item.covered_share, abs=1e-4),
        "is_slc_off": True,
        "epsg": 32606,
    }
    scene = landsat.read(target)
    with rasterio.open(item.hrefs["red"]) as raster:
        counts, transform = raster.read(1), raster.transform
    row, col = ((scene.transform.f - transform.f) / -30, (scene.transform.c - transform.c) / 30)
    assert row == int(row) and col == int(col), "on the scene's own grid"
    inner = scene.bands["red"][-int(row) :, -int(col) :][: counts.shape[0], : counts.shape[1]]
    expected = np.where(counts == 0, np.nan, counts * 2.75e-05 - 0.2)
    assert np.allclose(inner, expected, atol=1e-6, equal_nan=True)
    assert np.isnan(scene.bands["red"][0]).all() and (scene.qa[0] == 1).all(), "beyond the scene is fill"
    assert np.nanmin(scene.bands["swir"]) == pytest.approx(-0.005, abs=1e-4)
    with rasterio.open(target) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert SYNTHETIC in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"]


def test_windows_over_http_are_the_same_and_only_parts_travel(
    mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path
) -> None:
    folder, box, _ = mirror
    local = found(folder, box, "2024")[0]
    assert isinstance(landsat.fetch_window(local, box, tmp_path / "local.tif"), Delivery)
    with StacServer(folder) as server:
        remote = found(server.url, box, "2024")[0]
        delivery = landsat.fetch_window(remote, box, tmp_path / "remote.tif")
        assert isinstance(delivery, Delivery) and delivery.url == remote.url != ""
        assert server.count(status=206) > 0
    one, other = landsat.read(tmp_path / "local.tif"), landsat.read(tmp_path / "remote.tif")
    assert np.array_equal(one.qa, other.qa)
    assert all(np.array_equal(one.bands[b], other.bands[b], equal_nan=True) for b in one.bands)


def test_a_window_is_read_once(mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path) -> None:
    folder, box, _ = mirror
    item = found(folder, box, "1985")[0]
    archive = Archive(tmp_path / "raw")
    path = landsat.path_of("1985", "west_gulkana", item)
    assert landsat.chosen_for(path) == ("west_gulkana", "1985")
    outcomes: list[object] = []

    def transfer(part: Path, held: Any) -> Delivery | None:
        outcomes.append(landsat.fetch_window(item, box, part, held))
        return outcomes[-1] if isinstance(outcomes[-1], Delivery) else None

    first, is_new = archive.store(landsat.product_of(item), path, transfer, landsat.verify)
    again, is_new_again = archive.store(landsat.product_of(item), path, transfer, landsat.verify)
    assert first == again and is_new and not is_new_again
    assert isinstance(outcomes[1], Unchanged)
    assert first is not None and "P9IAXOVV" in first.citation
    wider = (box[0] - 0.01, *box[1:])
    assert isinstance(landsat.fetch_window(item, wider, tmp_path / "w.tif", first), Delivery)
    # The archive is a mirror too.
    (kept,) = landsat.kept(DirectoryOrigin(tmp_path / "raw"), "1985", "west_gulkana")
    assert kept.path == path
    assert landsat.kept(DirectoryOrigin(tmp_path / "raw"), "1995", "west_gulkana") == []
    assert landsat.kept(LiveOrigin(), "1985", "west_gulkana") == []


def test_what_is_not_there_is_missing_and_what_is_broken_an_error(
    own: Path, mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path
) -> None:
    box = mirror[1]
    with StacServer(own) as server:
        item = found(server.url, box, "1995")[0]
        path = item.hrefs["swir"].removeprefix(server.url)
        swir = own / path[1:]
        server.break_path(path, *[status(403)] * 20)
        with pytest.raises(SourceError, match="HTTP 403"):
            landsat.fetch_window(replace(item, hrefs={**item.hrefs, "swir": f"{item.hrefs['swir']}?sig=secret"}), box,
                                 tmp_path / "x.tif")  # fmt: skip
        gone = replace(item, hrefs={**item.hrefs, "swir": f"{server.url}/level-2/none_SR_B5.TIF"})
        outcome = landsat.fetch_window(gone, box, tmp_path / "x.tif")
        assert isinstance(outcome, Missing) and "none_SR_B5.TIF" in outcome.reason
    with pytest.raises(SourceError, match="cannot be reached"):  # the server is gone
        landsat.fetch_window(item, box, tmp_path / "x.tif")
    local = found(own, box, "1995")[0]
    swir = Path(local.hrefs["swir"])
    whole = swir.read_bytes()
    swir.unlink()
    outcome = landsat.fetch_window(local, box, tmp_path / "x.tif")
    assert isinstance(outcome, Missing) and "_SR_B5.TIF" in outcome.reason
    swir.write_bytes(b"<html>please log in</html>")
    with pytest.raises(SourceError, match="cannot be read"):
        landsat.fetch_window(local, box, tmp_path / "x.tif")
    swir.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read"):
        landsat.fetch_window(local, box, tmp_path / "x.tif")
    swir.write_bytes(whole)
    far = landsat.fetch_window(local, (10, 60, 10.1, 60.1), tmp_path / "x.tif")
    assert isinstance(far, Missing) and "does not reach" in far.reason
    for band in ("qa", "red"):
        Path(local.hrefs[band]).unlink()
    other = found(own, box, "1995")
    assert local.item_id not in {i.item_id for i in other}, "a scene without its quality band is passed over"


def test_wrong_windows_are_refused(mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path) -> None:
    folder, box, _ = mirror
    item = found(folder, box, "2015")[0]
    target = tmp_path / "window.tif"
    landsat.fetch_window(item, box, target)
    whole = target.read_bytes()
    for content, problem in (
        (whole[: len(whole) // 2], "cannot be read to its end"),
        (b"<html>no</html>", "not a GeoTIFF"),
        (Path(item.hrefs["red"]).read_bytes(), "other bands"),
    ):
        target.write_bytes(content)
        with pytest.raises(SourceError, match=problem):
            landsat.verify(target)


def test_scenes_of_two_utm_zones_come_on_one_grid(
    mirror: tuple[Path, landsat.Bounds, dict[str, Any]], tmp_path: Path
) -> None:
    from rasterio.warp import reproject

    folder, box, _ = mirror
    item = found(folder, box, "2015")[0]
    landsat.fetch_window(item, box, tmp_path / "a.tif")
    scene = landsat.read(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as raster:
        layers, tags, transform, crs = raster.read(), raster.tags(), raster.transform, raster.crs
        moved, grid = reproject(layers, src_transform=transform, src_crs=crs, dst_crs="EPSG:32607", resolution=30)
    landsat._write(tmp_path / "b.tif", moved, grid, rasterio.CRS.from_epsg(32607), tags)
    other = landsat.read(tmp_path / "b.tif", like=scene)
    assert other.transform == scene.transform and other.crs == scene.crs and other.qa.shape == scene.qa.shape
    both = np.isfinite(scene.bands["red"]) & np.isfinite(other.bands["red"])
    assert both.mean() > 0.9 * np.isfinite(scene.bands["red"]).mean()
    assert (scene.qa[both] == other.qa[both]).mean() > 0.97
