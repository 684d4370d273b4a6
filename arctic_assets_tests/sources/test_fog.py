from __future__ import annotations

import datetime as dt
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from arctic_assets.errors import SourceError
from arctic_assets.sources import fog
from arctic_assets.sources.base import Missing, Remote
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin
from arctic_assets_tests.testkit import server as faults
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.server import StaticServer

REAL = Path(__file__).parents[3] / "shared/real/mirror/wgms/DOI-WGMS-FoG-2021-05.zip"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="the real provider files (../shared/real) are not here")

HEADER_A = (
    "country,glacier_name,glacier_id,outline_id,year,time_system,begin_date,begin_date_unc,midseason_date,"
    "midseason_date_unc,end_date,end_date_unc,winter_balance,winter_balance_unc,summer_balance,summer_balance_unc,"
    "annual_balance,annual_balance_unc,ela_position,ela,ela_unc,aar,area,investigators,agencies,references,remarks"
)
BANDS_A = (
    "country,glacier_name,glacier_id,year,time_system,begin_date,end_date,lower_elevation,upper_elevation,area,"
    "winter_balance,winter_balance_unc,summer_balance,summer_balance_unc,annual_balance,annual_balance_unc,remarks\n"
    "NO,ENGABREEN,298,2003,FLO,2002-10-01,2003-09-30,100,200,500000,,,,,-9.9,,\n"
)
STATE_A = (
    "country,glacier_name,glacier_id,outline_id,date,highest_elevation,lowest_elevation,mean_elevation,area,length\n"
    "NO,ENGABREEN,298,1,2001-08-20,1574,10,1220,38000000,11.5\n"
    "NO,ENGABREEN,298,2,2013,1544,89,1220,36200000,11.4\n"
    "NO,ENGABREEN,298,3,,1544,89,1220,,\n"
)


def row_a(
    glacier: int = 298,
    year: int = 2003,
    annual: object = -0.62,
    winter: object = 2.36,
    summer: object = -2.98,
    sigma: object = 0.2,
    area: object = 36200000,
) -> str:
    return (
        f"NO,ENGABREEN,{glacier},,{year},FLO,{year - 1}-10-09,3,,,{year}-09-21,2,{winter},0.1,{summer},0.15,"
        f'{annual},{sigma},=,1302,,0.4,{area},"Kjøllmoen, B.; others",NVE,,"a, quoted ""remark"""'
    )


def write_a(
    folder: Path,
    rows: list[str],
    area_unit: str | None = "m²",
    name: str = ".DOI-WGMS-FoG-2026-02-10.zip.part",
    top: str = "DOI-WGMS-FoG-2026-02-10/",
    header: str = HEADER_A,
    extra: dict[str, str] | None = None,
) -> Path:
    path = folder / name
    field = {"name": "area", **({"units": area_unit} if area_unit else {})}
    resources = [
        {"name": stem, "path": f"data/{stem}.csv", "schema": {"fields": [field]}} for stem in ("mass_balance", "state")
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}data/mass_balance_band.csv", BANDS_A)
        archive.writestr(f"{top}data/state.csv", STATE_A)
        archive.writestr(f"{top}data/mass_balance.csv", "\n".join([header, *rows, ""]))
        archive.writestr(f"{top}datapackage.json", json.dumps({"version": "2026-02-10", "resources": resources}))
        for member, text in (extra or {}).items():
            archive.writestr(top + member, text)
    return path


HEADER_B = (
    "POLITICAL_UNIT,NAME,WGMS_ID,YEAR,LOWER_BOUND,UPPER_BOUND,AREA,WINTER_BALANCE,WINTER_BALANCE_UNC,"
    "SUMMER_BALANCE,SUMMER_BALANCE_UNC,ANNUAL_BALANCE,ANNUAL_BALANCE_UNC,REMARKS"
)
ROWS_B = [
    "NO,ENGABREEN,298,2003,9999,9999,38.0,2360,100,-2980,150,-620,200,",
    "NO,ENGABREEN,298,2003,100,200,0.5,,,,,-9900,,a band",
    "NO,ENGABREEN,298,2004,9999,9999,,,,,,850,,",
    "NO,ENGABREEN,298,2005,9999,9999,38.0,,,,,,,nothing measured",
]
OVERVIEW_B = (
    '"POLITICAL_UNIT","NAME","WGMS_ID","Year","TIME_SYSTEM","BEGIN_PERIOD","END_WINTER","END_PERIOD","REMARKS"\r\n'
    '"NO","ENGABREEN",298,2003,"FLO",20021009,,20030921,"Kj\xf8llmoen"\r\n'
    '"NO","ENGABREEN",298,2004,,20039999,,20049999,\r\n'
)
STATE_B = (
    "POLITICAL_UNIT,NAME,WGMS_ID,YEAR,HIGHEST_ELEVATION,LOWEST_ELEVATION,AREA\n"
    "NO,ENGABREEN,298,2001,1574,10,38.02\nNO,ENGABREEN,298,2002,1574,10,\n"
)


def write_b(folder: Path, rows: list[str] | None = None, overview: str = OVERVIEW_B) -> Path:
    path = folder / ".DOI-WGMS-FoG-2021-05.zip.part"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("WGMS-FoG-2021-05-EE-MASS-BALANCE.csv", "\n".join([HEADER_B, *(rows or ROWS_B), ""]))
        archive.writestr("WGMS-FoG-2021-05-E-MASS-BALANCE-OVERVIEW.csv", overview.encode("latin-1"))
        archive.writestr("WGMS-FoG-2021-05-B-STATE.csv", STATE_B)
    return path


# --- the two schemas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "DOI-WGMS-FoG-2026-02-10/"])
def test_schema_a(tmp_path: Path, top: str) -> None:
    rows = [row_a(), row_a(year=2004, annual=0.85, winter="", summer="", sigma="", area=""), row_a(glacier=1)]
    path = write_a(tmp_path, rows, top=top)
    assert fog.verify(path).content == {
        "release": "2026-02-10",
        "schema": "A",
        "n": 3,
        "n_glaciers": 2,
        "first_year": 2003,
        "last_year": 2004,
        "has_states": True,
    }
    frame = fog.read_balances(path, [298])
    assert frame["year"].tolist() == [2003, 2004]
    first = frame.iloc[0]
    assert first["annual_balance_m_we"] == pytest.approx(-0.62)
    assert first["annual_balance_sigma_m_we"] == pytest.approx(0.2)
    assert first["winter_balance_m_we"] == pytest.approx(2.36)
    assert first["summer_balance_sigma_m_we"] == pytest.approx(0.15)
    assert first["reference_area_km2"] == pytest.approx(36.2)
    assert (first["period_start"], first["period_end"]) == (dt.date(2002, 10, 9), dt.date(2003, 9, 21))
    assert first["time_system"] == "FLO"
    assert np.isnan(frame.iloc[1]["annual_balance_sigma_m_we"]) and np.isnan(frame.iloc[1]["reference_area_km2"])
    states = fog.read_state_areas(path, [298])
    assert states.to_numpy().tolist() == [[298, 2001, 38.0], [298, 2013, 36.2]]


def test_schema_b_is_in_millimetres_and_has_bands(tmp_path: Path) -> None:
    path = write_b(tmp_path)
    verified = fog.verify(path)
    assert (verified.content["schema"], verified.content["n"], verified.version) == ("B", 2, "2021-05")
    frame = fog.read_balances(path, [298, 5])
    assert frame["annual_balance_m_we"].tolist() == [-0.62, 0.85]
    assert frame["annual_balance_sigma_m_we"].tolist()[0] == pytest.approx(0.2)
    assert frame["reference_area_km2"].tolist()[0] == 38.0
    assert frame["period_start"].tolist() == [dt.date(2002, 10, 9), None], "a day that is unknown is not made up"
    assert frame["period_end"].tolist() == [dt.date(2003, 9, 21), None]
    assert frame["time_system"].isna().tolist() == [False, True]
    assert fog.read_state_areas(path, [298]).to_numpy().tolist() == [[298, 2001, 38.02]]


@pytest.mark.parametrize(
    ("unit", "area"),
    [("m²", 36200000), ("m2", 36200000), ("km²", 36.2), ("km^2", 36.2), (None, 36200000), (None, 36.2)],
)
def test_areas_of_schema_a_come_in_km2_whatever_their_unit(tmp_path: Path, unit: str | None, area: float) -> None:
    path = write_a(tmp_path, [row_a(area=area)], area_unit=unit)
    assert fog.read_balances(path, [298])["reference_area_km2"].item() == pytest.approx(36.2)


def test_a_release_without_states_has_no_state_areas(tmp_path: Path) -> None:
    path = tmp_path / "DOI-WGMS-FoG-2026-02-10.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/mass_balance.csv", f"{HEADER_A}\n{row_a()}\n")
    assert fog.verify(path).content["has_states"] is False
    assert list(fog.read_state_areas(path, [298]).columns) == ["wgms_id", "year", "area_km2"]


def test_a_marked_zip_is_synthetic(tmp_path: Path) -> None:
    assert not fog.verify(write_a(tmp_path, [row_a()])).is_synthetic
    assert fog.verify(write_a(tmp_path, [row_a()], extra={"SYNTHETIC.txt": "sample"})).is_synthetic


# --- what is refused -------------------------------------------------------------------------------------------


def test_an_unknown_schema_is_refused_and_shown(tmp_path: Path) -> None:
    path = write_a(tmp_path, [row_a()], header=HEADER_A.replace("annual_balance,", "net_balance,"))
    with pytest.raises(SourceError, match=r"no known schema(.|\n)*mass_balance.csv:.*net_balance"):
        fog.verify(path)
    path = write_b(tmp_path, overview="WGMS_ID,NOTHING\n")
    with pytest.raises(SourceError, match="no known schema"):
        fog.verify(path)


def test_millimetres_in_schema_a_are_refused_with_their_rows(tmp_path: Path) -> None:
    rows = [row_a(year=2002), row_a(annual=200, winter=2, summer=-2)]
    with pytest.raises(SourceError, match=r"1 annual balances(.|\n)*glacier 298 in 2003: 200"):
        fog.verify(write_a(tmp_path, rows))
    with pytest.raises(SourceError, match=r"1 winter balances(.|\n)*glacier 298 in 2003: 2360"):
        fog.verify(write_a(tmp_path, [row_a(winter=2360)]))


def test_metres_in_schema_b_are_refused(tmp_path: Path) -> None:
    rows = [f"NO,ENGABREEN,298,{1990 + i},9999,9999,38.0,,,,,{-0.3 - i / 10:.1f},," for i in range(12)]
    with pytest.raises(SourceError, match=r"thousand times too small(.|\n)*glacier 298 in 1990"):
        fog.verify(write_b(tmp_path, rows))


def test_areas_in_another_unit_than_stated_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="areas do not fit"):
        fog.verify(write_a(tmp_path, [row_a()], area_unit="km2"))
    with pytest.raises(SourceError, match=r"unknown unit of area(.|\n)*got: acres"):
        fog.verify(write_a(tmp_path, [row_a()], area_unit="acres"))


def test_words_where_numbers_belong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"annual_balance holds something else than numbers(.|\n)*n/a-ish"):
        fog.verify(write_a(tmp_path, [row_a(annual="n/a-ish")]))
    with pytest.raises(SourceError, match="year holds something else than whole numbers"):
        fog.verify(write_a(tmp_path, [row_a().replace(",2003,FLO", ",,FLO")]))


def test_contradicting_rows_are_refused_and_repeated_ones_are_one(tmp_path: Path) -> None:
    assert len(fog.read_balances(write_a(tmp_path, [row_a(), row_a()]), [298])) == 1
    path = write_a(tmp_path, [row_a(), row_a(annual=-0.7)])
    with pytest.raises(SourceError, match=r"contradicting rows(.|\n)*-0.7"):
        fog.read_balances(path, [298])
    assert fog.read_balances(path, [5]).empty, "another glacier's rows are no reason to stop"


def test_truncated_files_pages_and_climbing_members_are_refused(tmp_path: Path) -> None:
    path = write_a(tmp_path, [row_a()])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="not the whole of it"):
        fog.verify(path)
    path.write_text("<html><body>Not found</body></html>")
    with pytest.raises(SourceError, match="an HTML page"):
        fog.verify(path)
    with pytest.raises(SourceError, match="climb out"):
        fog.verify(write_a(tmp_path, [row_a()], extra={"../../evil.csv": "x"}))


def test_a_release_without_balances_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no balance"):
        fog.verify(write_a(tmp_path, [row_a(annual="", winter="", summer="")]))


# --- where it is -----------------------------------------------------------------------------------------------

NAMES = [
    "DOI-WGMS-FoG-2023-09.zip",
    "DOI-WGMS-FoG-2025-02.zip",
    "DOI-WGMS-FoG-2025-02b.zip",
    "wgms-amce-2026-02-10.zip",
    "DOI-WGMS-FoG-2026-02-10.zip.md5",
]


def test_the_newest_release_of_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "wgms").mkdir()
    gap = fog.remotes(DirectoryOrigin(tmp_path))[0]
    assert isinstance(gap, Missing) and "wgms/DOI-WGMS-FoG-*.zip" in gap.reason
    for name in NAMES:
        (tmp_path / "wgms" / name).touch()
    with StaticServer(tmp_path) as server:
        for origin in (DirectoryOrigin(tmp_path), HttpOrigin(server.url, Client(sleep=lambda seconds: None))):
            (found,) = fog.remotes(origin)
            assert isinstance(found, Remote)
            assert found.path == "DOI-WGMS-FoG-2025-02b.zip"
            assert found.product.doi == "10.5904/wgms-fog-2025-02b"
            assert found.product.version == "2025-02b"
            assert "WGMS (2025)" in found.product.citation and found.product.doi in found.product.citation


def test_the_newest_release_live(tmp_path: Path) -> None:
    origin = LiveOrigin(Client(sleep=lambda seconds: None))
    with StaticServer(tmp_path) as server:
        links = " ".join(f'<a href="/downloads/{name}">{name}</a>' for name in [*NAMES, "DOI-WGMS-FoG-2026-02-10.zip"])
        server.route("GET", "/versions/", lambda request, match: Response(200, links.encode()))
        (found,) = fog.remotes(origin, f"{server.url}/versions/", f"{server.url}/downloads/")
        assert isinstance(found, Remote)
        assert found.url == f"{server.url}/downloads/DOI-WGMS-FoG-2026-02-10.zip"
        server.break_path("/new-page", faults.page("<html>We have moved</html>"))
        for path in ("/new-page", "/gone"):
            with pytest.raises(SourceError, match="names no release"):
                fog.remotes(origin, server.url + path)
        server.break_path("/down", *[faults.status(502)] * 5)
        with pytest.raises(SourceError, match="HTTP 502"):
            fog.remotes(origin, f"{server.url}/down")


# --- the real file ---------------------------------------------------------------------------------------------


@needs_real
def test_real_hintereisferner() -> None:
    verified = fog.verify(REAL)
    assert verified.version == "2021-05"
    assert (verified.content["schema"], verified.content["n_glaciers"]) == ("B", 290)
    assert not verified.is_synthetic
    frame = fog.read_balances(REAL, [491])
    record = frame[frame["year"].between(1980, 2020) & frame["annual_balance_m_we"].notna()].set_index("year")
    assert len(record) == 41
    assert record.loc[2003, "annual_balance_m_we"] == -1.796
    assert record.loc[2003, "reference_area_km2"] == pytest.approx(7.861, abs=0.001)
    assert record.loc[2003, "period_start"] == dt.date(2002, 10, 1)
    assert record.loc[2003, "time_system"] == "FXD"
    assert fog.read_state_areas(REAL, [491]).set_index("year").loc[1969, "area_km2"] == pytest.approx(9.7)
