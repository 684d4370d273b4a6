"""What the releases of the World Glacier Monitoring Service have in common: a zip whose name states the release.

Here: finding the newest one, in a mirror or on WGMS' page. Not here: what is in it (`fog`, `amce`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Missing, Origin, Product, Remote, Verified
from arctic_assets.sources.origins import LiveOrigin

DOWNLOADS_URL = "https://wgms.ch/downloads/"


def newest(names: Iterable[str], pattern: re.Pattern[str]) -> str | None:
    """The file name of the latest release among others; None when there is none.

    `2025-02` comes before its correction `2025-02b`.

    Args:
        names: file names.
        pattern: of the names of one product's releases; its first group is the release.
    """
    found = {name: match[1] for name in names if (match := pattern.fullmatch(name))}
    return max(found, key=found.__getitem__, default=None)


def newest_release(
    origin: Origin,
    pattern: re.Pattern[str],
    product: Callable[[str], Product],
    verify: Callable[[Path], Verified],
    page_url: str,
    downloads_url: str,
) -> list[Remote | Missing]:
    """The zip of the newest release.

    Args:
        origin: mirror or live.
        pattern: as for `newest`.
        product: the product of a release.
        verify: opens the zip.
        page_url: page that links to the releases.
        downloads_url: folder of the zips.

    Raises:
        SourceError: the page cannot be had or names no release any more.
    """
    if isinstance(origin, LiveOrigin):
        page = origin.client.page(page_url)
        name = newest((match[0] for match in pattern.finditer(page.text if page else "")), pattern)
        if name is None:
            raise SourceError(
                f"WGMS' page names no release of {product('').name}",
                where=page_url,
                expected=pattern.pattern,
                got="no such page" if page is None else f"a page of {len(page.text)} characters without it",
                todo="look whether the page has moved; until then use a mirror",
            )
    else:
        provider = product("").provider
        name = newest(origin.names(provider), pattern)
        if name is None:
            what = f"{provider}/{pattern.pattern.partition('(')[0]}*.zip"
            return [Missing(f"no {what} in the mirror {origin.name}", what=what)]
    match = pattern.fullmatch(name)
    assert match is not None
    return [Remote(product(match[1]), name, verify, url=f"{downloads_url}{name}")]
