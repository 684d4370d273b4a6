"""Raw provider files with their provenance, in the providers' own layout.

`<root>/<provider>/<provider's own path>`, and beside each file a `<name>.source.json`. Guarantees:

- a file that is there is whole: it is written under a temporary name, verified (size, checksum, opens with its
  reader), and only then renamed;
- asking again changes nothing unless the provider's bytes changed; then the old file is kept under
  `.superseded/`, and the sidecar of the new one names it; so is a file that a newer selection leaves out;
- the archive is itself a valid mirror.

What is in a file (months, boxes, ids) is the `content` its verification found: the archive finds files by it, so
nothing depends on file names.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock

from arctic_assets.errors import ArchiveError, ArcticAssetsError, SourceError
from arctic_assets.provenance import SYNTHETIC, Delivery, Product, SourceObject, Verified

SIDECAR = ".source.json"
_KIND = ".kind"
_SUPERSEDED = ".superseded"
PART = ".part"


class Archive:
    """Directory of raw files.

    Args:
        root: `<home>/raw`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, found: SourceObject) -> Path:
        """Path of an archived file on this machine."""
        return self.root / found.provider / found.path

    def get(self, provider: str, path: str) -> SourceObject | None:
        """The archived object at a provider's path, or None."""
        target = self._target(provider, path)
        sidecar = _sidecar(target)
        return _read_sidecar(sidecar) if sidecar.is_file() and target.is_file() else None

    def objects(self, provider: str) -> list[SourceObject]:
        """All current objects of a provider, sorted by path."""
        return sorted(_described(self.root / provider).values(), key=lambda o: o.path)

    def replaced(self, provider: str) -> dict[Path, SourceObject]:
        """The objects of a provider whose bytes were replaced since, by the file where those are kept."""
        return _described(self.root / _SUPERSEDED / provider)

    @property
    def is_synthetic(self) -> bool:
        """Whether it holds the SYNTHETIC sample."""
        marker = self.root / _KIND
        return marker.exists() and marker.read_text() == SYNTHETIC

    def all_objects(self) -> list[SourceObject]:
        """All current objects."""
        folders = [f.name for f in sorted(self.root.iterdir()) if f.is_dir()] if self.root.is_dir() else []
        return [found for name in folders if not name.startswith(".") for found in self.objects(name)]

    def store(
        self,
        product: Product,
        path: str,
        transfer: Callable[[Path, SourceObject | None], Delivery | None],
        verify: Callable[[Path], Verified],
    ) -> tuple[SourceObject | None, bool]:
        """Bring one file into the archive, or leave things as they are.

        Args:
            product: what the file belongs to.
            path: the provider's own path of the file.
            transfer: writes the bytes to the path it is given; gets the object we hold already, if any; returns
                None when there is nothing (new) to store. It may find a part of an earlier attempt at that path.
            verify: opens the file; raises SourceError when it is not what it should be.

        Returns:
            The object that is now in the archive (None when there is none), and whether its bytes are new.

        Raises:
            SourceError: size or checksum differ from what the provider stated, or `verify` refused the file.
                The archive is as before; the refused file is gone, and the message names it as the provider does.
        """
        provider = product.provider
        target = self._target(provider, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}{PART}")
        with self._lock(provider, path):
            held = self.get(provider, path)
            delivery = transfer(part, held)
            if delivery is None:
                return held, False
            try:
                digest = _check(part, delivery)
                if held and held.sha256 == digest:
                    part.unlink()
                    seen = replace(held, etag=delivery.etag, last_modified=delivery.last_modified)
                    if seen != held:
                        _write_sidecar(target, seen)  # so that the next look sees it as unchanged
                    return seen, False
                facts = verify(part)
                self._one_kind(facts.is_synthetic, delivery.url)
            except Exception as error:  # over broken bytes the readers raise whatever comes
                part.unlink(missing_ok=True)
                name = delivery.url if delivery.url.endswith(path) else f"{provider}/{path} (from {delivery.url})"
                cause = error.__cause__ if isinstance(error, ArcticAssetsError) else error
                raise _refusal(error, part, name) from cause
            found = SourceObject(
                source_id=f"{provider}/{path}#{digest[:12]}",
                provider=provider,
                product=product.name,
                version=facts.version or product.version,
                url=delivery.url,
                sha256=digest,
                bytes=part.stat().st_size,
                retrieved_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                licence=product.licence,
                citation=product.citation,
                path=path,
                is_synthetic=facts.is_synthetic,
                etag=delivery.etag,
                last_modified=delivery.last_modified,
                supersedes=held.source_id if held else None,
                content=facts.content,
            )
            if held:
                self._put_aside(target, held)
                _sidecar(target).unlink()  # a crash from here on leaves a file without sidecar: it is fetched again
            os.replace(part, target)
            _write_sidecar(target, found)
            return found, True

    def keep_only(self, kept: Collection[SourceObject]) -> None:
        """Put aside what lies in the folders of these objects beside them, as if it had been replaced.

        For folders whose files are a selection: the newest one counts, and `objects` no longer gives what only an
        earlier one had chosen.
        """
        stay = {self.file(one) for one in kept}
        for folder in {file.parent for file in stay}:
            for file, held in _described(folder).items():
                if file.parent == folder and file not in stay:
                    with self._lock(held.provider, held.path):
                        self._put_aside(file, held)
                        _sidecar(file).unlink()
                        file.unlink()

    def verify(self, found: SourceObject) -> None:
        """Compare a stored file with its sidecar.

        Raises:
            ArchiveError: the bytes are not those that were stored.
        """
        digest = _sha256(self.file(found))
        if digest != found.sha256:
            raise ArchiveError(
                "an archived file was changed after it was stored",
                where=self.file(found),
                expected=f"SHA-256 {found.sha256}",
                got=f"SHA-256 {digest}",
                todo="delete the file and its .source.json; the next run fetches it again",
            )

    def _target(self, provider: str, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.name:
            raise SourceError(
                "a provider's path climbs out of its folder",
                where=f"{provider}/{path}",
                expected="a relative path without '..'",
                got=path,
                todo="do not use this mirror; tell its owner",
            )
        return self.root / provider / pure

    def _lock(self, provider: str, path: str) -> FileLock:
        name = hashlib.sha256(f"{provider}/{path}".encode()).hexdigest()[:24]
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / name)

    def _one_kind(self, is_synthetic: bool, url: str) -> None:
        """Real and SYNTHETIC files never share an archive: nothing could fall back to the sample unnoticed."""
        kind = SYNTHETIC if is_synthetic else "real"
        marker = self.root / _KIND
        with FileLock(self.root / ".locks" / "kind"):  # of files that come first at the same time, one decides
            if not marker.exists():
                _write_atomically(marker, kind)
            held = marker.read_text()
        if held != kind:
            raise SourceError(
                f"a {kind} file does not go into an archive of {held} files",
                where=url,
                expected=f"{held} files only, as everything in {self.root} so far",
                got=f"a {kind} file",
                todo="use another --home (ARCTIC_ASSETS_HOME) for the other mirror",
            )

    def _put_aside(self, target: Path, held: SourceObject) -> None:
        aside = self.root / _SUPERSEDED / held.provider / f"{held.path}.{held.sha256[:12]}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        if not aside.exists():
            os.link(target, aside)
        _write_sidecar(aside, held)


def _refusal(error: Exception, part: Path, name: str) -> ArcticAssetsError:
    """Why a file was refused, told of the provider's file: the temporary one is gone when somebody reads it."""
    if not isinstance(error, ArcticAssetsError):
        error = SourceError(
            "a file cannot be opened",
            expected="a file as the provider gives it",
            got=f"{type(error).__name__}: {error}",
            todo="fetch it again; if it stays, compare it with the provider's",
        )

    def told(text: str | None) -> str:
        return (text or "").replace(str(part), name).replace(part.name, name)

    return type(error)(
        told(error.problem),
        where=told(error.where) or name,
        expected=told(error.expected),
        got=told(error.got),
        todo=told(error.todo),
    )


def _check(part: Path, delivery: Delivery) -> str:
    size = part.stat().st_size
    if delivery.expected_bytes is not None and size != delivery.expected_bytes:
        raise SourceError(
            "a download has another length than the provider stated",
            where=delivery.url,
            expected=f"{delivery.expected_bytes} bytes",
            got=f"{size} bytes",
            todo="run again; if it stays, the file is damaged at the provider",
        )
    digest = _sha256(part)
    if delivery.expected_sha256 is not None and digest != delivery.expected_sha256:
        raise SourceError(
            "a download has another checksum than the provider stated",
            where=delivery.url,
            expected=f"SHA-256 {delivery.expected_sha256}",
            got=f"SHA-256 {digest}",
            todo="run again; if it stays, the file is damaged at the provider",
        )
    return digest


def _sidecar(target: Path) -> Path:
    return target.with_name(target.name + SIDECAR)


def _described(folder: Path) -> dict[Path, SourceObject]:
    """Each file of a folder that has a sidecar, and what that says."""
    sidecars = {
        sidecar.with_name(sidecar.name.removesuffix(SIDECAR)): sidecar for sidecar in folder.rglob(f"*{SIDECAR}")
    }
    return {file: _read_sidecar(sidecars[file]) for file in sorted(sidecars) if file.is_file()}


def _write_sidecar(target: Path, found: SourceObject) -> None:
    _write_atomically(_sidecar(target), json.dumps(asdict(found), indent=1, ensure_ascii=False))


def _read_sidecar(path: Path) -> SourceObject:
    try:
        return SourceObject(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ArchiveError(
            "a provenance file cannot be read",
            where=path,
            expected="JSON as the archive writes it",
            got=str(error),
            todo="delete it and the file beside it; the next run fetches them again",
        ) from error


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}{PART}")
    temporary.write_text(text)
    os.replace(temporary, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
