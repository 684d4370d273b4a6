"""What all parts of the sample share: the mark SYNTHETIC, seeds, reproducible zip files, RGI region codes.

No data of a provider is made here.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arctic_assets.provenance import SYNTHETIC

NOTICE = (
    f"{SYNTHETIC}: made by arctic_assets.sample to try the software with. Nothing in it was observed or published; "
    "do not use it for science, and do not cite a data provider for it."
)
"""What every file of the sample says about itself."""

NOTICE_MEMBER = f"{SYNTHETIC}.txt"
"""The member of a zip file that holds the notice."""

# The oldest date a zip member can have: the same bytes whenever the sample is written.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def generator(*names: object) -> np.random.Generator:
    """Random numbers that depend on the names only, so that one glacier's do not move when another is added."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip file that has the same bytes for the same members, and the notice among them.

    Args:
        path: file to write; its folder is made.
        members: content by name, written in this order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {NOTICE_MEMBER: f"{NOTICE}\n".encode(), **members}.items():
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
