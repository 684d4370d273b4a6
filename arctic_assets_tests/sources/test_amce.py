from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from arctic_assets.errors import SourceError
from arctic_assets.sources import amce
from arctic_assets.sources.base import Missing, Remote
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.server import StaticServer

NAME = "wgms-amce-2026-02-10.zip"
SJM = {
    "glacier/SJM_mwe.csv": "outline_id,1976,1977,2025\nRGI60-07.00504,-0.312,,-1.1\nRGI60-07.00001,0.2,-0.4,-0.9\n",
    "glacier/SJM_mwe_sigma.csv": "outline_id,1976,1977,2025\nRGI60-07.00504,0.2,,0.35\nRGI60-07.00001,0.2,0.2,0.2\n",
    "glacier/SJM_mwe_sigma_dh.csv": "outline_id,1976,1977,2025\nRGI60-07.00504,9,9,9\n",
    "glacier/SJM_metadata.csv": (
        "outline_id,glacier_id,latitude,longitude,area_km2\nRGI60-07.00504,292,78.9,11.8,9.8\nRGI60-07.00001,,78,15,1.5\n"
    ),
}


def write(folder: Path, members: dict[str, str] | None = None, name: str = f".{NAME}.part", **changed: str) -> Path:
    """A release; `changed` replaces tables of SJM by their ending."""
    texts = dict(members or SJM) | {f"glacier/SJM_{table}.csv": text for table, text in changed.items()}
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, text in texts.items():
            archive.writestr(member, text)
    return folder / name


def test_verify_says_what_is_there(tmp_path: Path) -> None:
    verified = amce.verify(write(tmp_path))
    assert verified.content == {
        "release": "2026-02-10",
        "regions": ["SJM"],
        "n_glaciers": 2,
        "first_year": 1976,
        "last_year": 2025,
    }
    assert verified.version == "2026-02-10" and not verified.is_synthetic
    assert amce.verify(write(tmp_path, {**SJM, "SYNTHETIC.txt": "sample"})).is_synthetic


def test_wide_tables_become_rows(tmp_path: Path) -> None:
    frame = amce.read(write(tmp_path), ["RGI60-07.00504", "RGI60-07.99999", "RGI60-01.00001"])
    assert frame.to_dict("list") == {
        "rgi6_id": ["RGI60-07.00504"] * 2,
        "year": [1976, 2025],
        "annual_balance_m_we": [-0.312, -1.1],
        "annual_balance_sigma_m_we": [0.2, 0.35],
        "area_km2": [9.8, 9.8],
    }, "no row for the empty year, for an unknown outline, for a region that the release lacks"
    assert amce.read(write(tmp_path), ["RGI60-01.00001"]).empty
    assert list(amce.read(write(tmp_path), []).columns) == list(frame.columns)


def test_a_folder_around_the_tables_and_words_for_nothing(tmp_path: Path) -> None:
    members = {f"wgms-amce-2026-02-10/{name}": text.replace(",,", ",no_obs,") for name, text in SJM.items()}
    assert amce.read(write(tmp_path, members), ["RGI60-07.00504"])["year"].tolist() == [1976, 2025]


def test_a_release_without_uncertainties_is_refused_with_what_it_has(tmp_path: Path) -> None:
    members = {name.replace("mwe_sigma.csv", "mwe_error.csv"): text for name, text in SJM.items()}
    with pytest.raises(SourceError, match=r"SJM of AMCE lacks SJM_mwe_sigma.csv(.|\n)*glacier/SJM_mwe_error.csv"):
        amce.verify(write(tmp_path, members))


def test_older_layouts_are_refused(tmp_path: Path) -> None:
    old = {"individual-glacier/SJM_gla_MEAN-CAL-mass-change-series_obs_unobs.csv": "RGIId,1976\n"}
    with pytest.raises(SourceError, match="another layout"):
        amce.verify(write(tmp_path, old))


@pytest.mark.parametrize("table", ["mwe", "mwe_sigma"])
def test_millimetres_are_refused(tmp_path: Path, table: str) -> None:
    text = "outline_id,1976,1977,2025\nRGI60-07.00504,312,,1100\nRGI60-07.00001,200,400,900\n"
    with pytest.raises(SourceError, match=r"another unit than m w\.e\."):
        amce.verify(write(tmp_path, None, **{table: text}))


def test_balances_divided_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"another unit than m w\.e\."):
        amce.verify(write(tmp_path, mwe=SJM["glacier/SJM_mwe.csv"].replace("0.", "0.000").replace("1.1", "0.001")))


@pytest.mark.parametrize(
    ("table", "old", "new", "problem"),
    [
        ("mwe", "-1.1", "-1100", r"1 balances beyond anything measured(.|\n)*RGI60-07.00504 in 2025: -1100"),
        ("mwe_sigma", "0.2,,0.35", "0.2,,", r"1 balances without an uncertainty(.|\n)*RGI60-07.00504 in 2025"),
        ("mwe_sigma", "1976", "1975", "balances without an uncertainty"),
        ("mwe", "-1.1", "much", "something else than numbers"),
        ("mwe", "RGI60-07.00001", "RGI60-07.00504", "holds an outline twice"),
        ("mwe", "outline_id", "RGIId", "has other columns"),
        ("metadata", "area_km2", "area", "has other columns"),
        ("metadata", "9.8", "", "balances without an area"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, table: str, old: str, new: str, problem: str) -> None:
    changed = SJM[f"glacier/SJM_{table}.csv"].replace(old, new)
    with pytest.raises(SourceError, match=problem):
        amce.read(write(tmp_path, None, **{table: changed}), ["RGI60-07.00504"])


def test_strange_ids_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="RGI2000"):
        amce.read(write(tmp_path), ["RGI2000-v7.0-G-07-00271"])
    (tmp_path / NAME).write_text("<html>Not found</html>")
    with pytest.raises(SourceError, match="an HTML page"):
        amce.verify(tmp_path / NAME)


def test_the_newest_release_of_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "wgms").mkdir()
    gap = amce.remotes(DirectoryOrigin(tmp_path))[0]
    assert isinstance(gap, Missing) and "wgms/wgms-amce-*.zip" in gap.reason
    for name in ("wgms-amce-2025-02.zip", "wgms-amce-2025-02b.zip", "DOI-WGMS-FoG-2026-02-10.zip", f"{NAME}.md5"):
        (tmp_path / "wgms" / name).touch()
    with StaticServer(tmp_path) as server:
        for origin in (DirectoryOrigin(tmp_path), HttpOrigin(server.url, Client(sleep=lambda seconds: None))):
            (found,) = amce.remotes(origin)
            assert isinstance(found, Remote)
            assert found.path == "wgms-amce-2025-02b.zip"
            assert found.product.doi == "10.5904/wgms-amce-2025-02b"
            assert "WGMS (2025)" in found.product.citation and found.product.doi in found.product.citation


def test_the_newest_release_live(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    write(tmp_path / "downloads", name=NAME)
    origin = LiveOrigin(Client(sleep=lambda seconds: None))
    with StaticServer(tmp_path) as server:
        links = f'<a href="/downloads/wgms-amce-2025-02.zip">old</a> <a href="/downloads/{NAME}">new</a>'
        server.route("GET", "/change/", lambda request, match: Response(200, links.encode()))
        (found,) = amce.remotes(origin, f"{server.url}/change/", f"{server.url}/downloads/")
        assert isinstance(found, Remote) and found.path == NAME
        target = tmp_path / f".{NAME}.part"
        origin.fetch(found, target, None)
        assert found.verify(target).content["n_glaciers"] == 2
        with pytest.raises(SourceError, match="names no release"):
            amce.remotes(origin, f"{server.url}/gone")


def test_every_region_of_rgi_has_codes() -> None:
    assert sorted(amce.REGIONS) == [f"{number:02d}" for number in range(1, 20)]
    codes = np.concatenate([list(codes) for codes in amce.REGIONS.values()])
    assert len(codes) == len(set(codes)) == 20
