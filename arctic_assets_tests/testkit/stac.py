"""A STAC API over a folder of items, as live catalogues speak: landing page, item search with paging, asset files.

Speaks what `pystac-client` asks for (STAC API 1.0, core and item-search with the query extension). Filters: ids,
collections, bbox, datetime intervals, `query` with eq, neq, lt, lte, gt, gte and in. No CQL2, no sorting.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from arctic_assets_tests.testkit.base import Request, Response
from arctic_assets_tests.testkit.server import StaticServer

_CORE = "https://api.stacspec.org/v1.0.0"
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
}


class StacServer(StaticServer):
    """Items in `<folder>/items/*.json`; all other files of the folder are served under their paths.

    Args:
        folder: a mirror's folder `landsat`.
        page_size: items on one page of an answer, unless fewer are asked for.
        has_query: state and understand the query extension.

    Attributes:
        searches: bodies of all searches, following pages included.
    """

    def __init__(self, folder: Path, *, page_size: int = 2, has_query: bool = True) -> None:
        super().__init__(folder)
        self.page_size = page_size
        self.has_query = has_query
        self.searches: list[dict[str, Any]] = []
        self.route("GET", "/?", self._landing)
        self.route("POST", "/search", self._search)

    def items(self) -> list[dict[str, Any]]:
        """All items, by id, with absolute addresses."""
        found = []
        for path in sorted((self.root / "items").glob("*.json")):
            item = json.loads(path.read_text(encoding="utf-8"))
            for asset in item["assets"].values():
                asset["href"] = re.sub(r"^\.\./", f"{self.url}/", asset["href"])
            own = {"rel": "self", "type": "application/geo+json", "href": f"{self.url}/items/{path.name}"}
            item["links"] = [link for link in item["links"] if link["rel"] == "cite-as"] + [own]
            found.append(item)
        return found

    def _landing(self, request: Request, match: re.Match[str]) -> Response:
        classes = ["core", "item-search", *(["item-search#query"] if self.has_query else [])]
        links = [{"rel": rel, "type": "application/json", "href": f"{self.url}/"} for rel in ("self", "root")] + [
            {"rel": "search", "type": "application/geo+json", "href": f"{self.url}/search", "method": method}
            for method in ("GET", "POST")
        ]
        return Response.of_json(
            {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "id": "loopback",
                "description": "Items of a folder",
                "conformsTo": [f"{_CORE}/{one}" for one in classes],
                "links": links,
            }
        )

    def _search(self, request: Request, match: re.Match[str]) -> Response:
        asked = request.json()
        self.searches.append(asked)
        if "query" in asked and not self.has_query:
            return Response.of_json({"code": "BadRequest", "description": "no query extension"}, 400)
        found = [item for item in self.items() if _is_wanted(item, asked)]
        start = int(asked.get("token", 0))
        stop = start + min(self.page_size, int(asked.get("limit", self.page_size)))
        links = []
        if stop < len(found):
            follow = {"rel": "next", "method": "POST", "href": f"{self.url}/search", "merge": True}
            links.append({**follow, "type": "application/geo+json", "body": {"token": str(stop)}})
        return Response.of_json({"type": "FeatureCollection", "features": found[start:stop], "links": links})


def _is_wanted(item: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    properties = item["properties"]
    if asked.get("ids") and item["id"] not in asked["ids"]:
        return False
    if asked.get("collections") and item["collection"] not in asked["collections"]:
        return False
    if "bbox" in asked:
        west, south, east, north = asked["bbox"]
        left, bottom, right, top = item["bbox"]
        if left > east or right < west or bottom > north or top < south:
            return False
    if "datetime" in asked:
        first, last = (dt.datetime.fromisoformat(text) for text in asked["datetime"].split("/"))
        if not first <= dt.datetime.fromisoformat(properties["datetime"]) <= last:
            return False
    return all(
        name in properties and _COMPARED[how](properties[name], value)
        for name, tests in asked.get("query", {}).items()
        for how, value in tests.items()
    )
