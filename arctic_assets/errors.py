"""How this project says no: one exception shape for all bad input.

Every error names what was expected, what came, where (file, row, column) and what to do. A part that is merely
missing at a provider is not an error but a `Gap` (see `arctic_assets.sources.base`).
"""

from __future__ import annotations


class ArcticAssetsError(Exception):
    """Bad input, told so that the reader can act on it.

    Args:
        problem: what is wrong, in one sentence.
        where: the file, row or object that is wrong.
        expected: what a right one would hold.
        got: what came instead.
        todo: what the reader can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        todo: str | None = None,
    ) -> None:
        self.problem = problem
        self.where = None if where is None else str(where)
        self.expected = None if expected is None else str(expected)
        self.got = None if got is None else str(got)
        self.todo = todo
        parts = [("in", self.where), ("expected", self.expected), ("got", self.got), ("what to do", todo)]
        super().__init__("\n  ".join([problem, *(f"{name}: {text}" for name, text in parts if text)]))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling: Dagster and multiprocessing send exceptions between processes."""
        return (_rebuild, (type(self), self.problem, self.where, self.expected, self.got, self.todo))


def _rebuild(
    kind: type[ArcticAssetsError],
    problem: str,
    where: str | None,
    expected: str | None,
    got: str | None,
    todo: str | None,
) -> ArcticAssetsError:
    return kind(problem, where=where, expected=expected, got=got, todo=todo)


class SettingsError(ArcticAssetsError):
    """An environment variable or option that cannot be used."""


class RegistryError(ArcticAssetsError):
    """A glacier registry that cannot be read or contradicts itself."""


class SourceError(ArcticAssetsError):
    """A provider's file or answer that is not what the provider promises."""


class UnavailableError(SourceError):
    """A provider that does not answer at the moment: trying again later may help, without a change of anything."""


class TimeUpError(SourceError):
    """A look that ended because its own time was up: nothing is said of the provider."""


class ArchiveError(ArcticAssetsError):
    """A raw file that cannot be stored, or a stored one that no longer matches its sidecar."""


class TableError(ArcticAssetsError):
    """Rows that violate the model of their table."""


class WarehouseError(ArcticAssetsError):
    """The DuckDB file cannot be opened, or holds something that does not fit the table models."""


class BuildError(ArcticAssetsError):
    """A build that cannot go on."""
