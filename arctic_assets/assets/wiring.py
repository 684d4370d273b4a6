"""What all assets share: how a table asset is declared, written and described; how a raw asset fetches.

Belongs here: decorators, resources and the I/O manager. Not here: anything about a variable or a provider.
"""

import datetime as dt
import functools
import hashlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from pydantic import Field

from arctic_assets import glaciers, settings
from arctic_assets.errors import ArcticAssetsError, TableError
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import Product, SourceObject
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Stamp, Warehouse
from arctic_assets.tables import TABLES, Column, Table
from arctic_assets.tables.base import columns_of

if TYPE_CHECKING:
    from arctic_assets.sources.base import Missing, Origin, Remote

logging.getLogger("rasterio").setLevel(logging.ERROR)  # GDAL's warnings quote whole URLs, with their signatures

OWNERS = ["team:arctic-assets"]
PART_OF = "arctic_assets/part_of"
"""Tag of a run that another one started: the id of that one."""
PROVIDER, VERSION = "arctic_assets/provider", "arctic_assets/version"
"""Tags of a run that fetches: whose files, and which version of what."""
TAG_LENGTH = 200
SHOWN_REASONS = 5
_TIME = re.compile(r"\b(19|20)\d\d(-\d\d)?\b(?!-)")


MONTHLY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=45), warn_window=dt.timedelta(days=38))
"""For the monthly chain: ERA5 of a month comes about six days after its end, so each month brings a materialisation."""


@dataclass(frozen=True)
class Made:
    """What a table asset returns: its rows, and why some partitions have none.

    Attributes:
        frame: rows of the model, without run, version and time.
        gaps: reason by partition key. Every partition has rows or a reason.
        metadata: a few small numbers worth seeing with the materialisation.
    """

    frame: pd.DataFrame
    gaps: Mapping[str, str]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Writes what table assets return. Assets read through the `warehouse` resource, which takes queries."""

    warehouse: dg.ResourceDependency[Warehouse]
    published: str = Field(description="DuckDB file for readers: a whole copy, replaced at once after each write")

    def handle_output(self, context: dg.OutputContext, obj: Made) -> None:
        """Replace the partitions of the run, and report what that did."""
        model = _MODELS[context.asset_key.path[-1]]
        asset = context.asset_key.to_user_string()
        keys = list(context.asset_partition_keys) if context.has_asset_partitions else [""]
        wanted = scope(keys) if context.has_asset_partitions else pd.DataFrame()
        _every_partition_speaks(model, obj, wanted, asset)
        written = self.warehouse.replace(
            model,
            obj.frame,
            wanted,
            Stamp.now(context.run_id, context.asset_spec.code_version or ""),
            asset=asset,
            partitions=keys,
            gaps=obj.gaps,
        )
        self.warehouse.publish(Path(self.published))
        context.add_output_metadata(
            {
                "rows of this run": written.rows,
                "new": written.new,
                "changed": written.changed,
                "removed": written.removed,
                **gap_metadata(obj.gaps),
                **({"SYNTHETIC": True} if len(obj.frame) and obj.frame["is_synthetic"].any() else {}),
                **obj.metadata,
            }
        )

    def load_input(self, context: dg.InputContext) -> None:
        """Not used: assets declare `deps` and query the warehouse."""
        raise NotImplementedError("assets read through the `warehouse` resource; declare the upstream table in deps")


class RawStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The archive of raw files, and the origin that fills it.

    `home` and `mirror` mean the same as in the environment (`ARCTIC_ASSETS_HOME`, `ARCTIC_ASSETS_MIRROR`).
    """

    home: str = Field(description="Directory of everything that is stored")
    mirror: str = Field(description="sample, live, a directory, or a http(s) URL")
    registry: str = Field(default="", description="Glacier registry file; empty for the 16 glaciers of the package")

    @property
    def settings(self) -> settings.Settings:
        """The settings this resource stands for."""
        return settings.load(home=self.home, mirror=self.mirror, glaciers=self.registry or None)

    @property
    def archive(self) -> Archive:
        """The archive of raw files."""
        return Archive(self.settings.archive)

    @property
    def readers(self) -> Warehouse:
        """The copy for readers, which no run blocks: what sensors look at. Without tables before the first build."""
        return Warehouse(database=str(self.settings.published))

    def origin(self) -> "Origin":
        """Where files come from; the SYNTHETIC mirror is written first when it is the one and not there."""
        from arctic_assets.sources.origins import open_origin

        current = self.settings
        if current.mirror_kind == "sample":
            from arctic_assets import sample

            sample.write(current.sample, glaciers.load(current.glaciers), last_month())
        return open_origin(current)

    def acquire(self, origin: "Origin", wanted: Iterable["Remote | Missing"]) -> "Acquired":
        """Bring what is wanted into the archive.

        Raises:
            SourceError: a provider sent something that is not what it should be. What came before it stays.
        """
        from arctic_assets.sources.base import Delivery, Missing, Unchanged

        got = Acquired()
        for remote in wanted:
            if isinstance(remote, Missing):
                got.missing.append(remote)
                continue

            def transfer(part: Path, held: SourceObject | None, remote: "Remote" = remote) -> Delivery | None:
                answer = origin.fetch(remote, part, held)
                if isinstance(answer, Missing) and not remote.optional:
                    got.missing.append(answer)
                return None if isinstance(answer, Missing | Unchanged) else answer

            found, is_new = self.archive.store(remote.product, remote.path, transfer, remote.verify)
            if found:
                got.objects.append(found)
                got.n_new += is_new
        return got


@dataclass
class Acquired:
    """What came of fetching: the objects now held, what was missing, how many files are new."""

    objects: list[SourceObject] = field(default_factory=list)
    missing: list["Missing"] = field(default_factory=list)
    n_new: int = 0

    def result(self, gaps: Mapping[str, str], **more: int) -> dg.MaterializeResult:
        """The materialisation: a few small numbers, and a data version that follows the bytes.

        Dagster would otherwise derive the version from the code alone, and new bytes would leave what is made from
        them looking fresh.
        """
        digest = hashlib.sha256("".join(sorted(o.sha256 for o in self.objects)).encode()).hexdigest()
        return dg.MaterializeResult(
            metadata={
                "files": len(self.objects),
                "new files": self.n_new,
                "megabytes": round(sum(o.bytes for o in self.objects) / 1e6, 2),
                "versions": ", ".join(sorted({o.version for o in self.objects})),
                **more,
                **gap_metadata(gaps),
                **({"SYNTHETIC": True} if any(o.is_synthetic for o in self.objects) else {}),
            },
            data_version=dg.DataVersion(digest[:16]),
        )


def last_month() -> str:
    """The last month that has ended, `YYYY-MM`."""
    return (pd.Timestamp.now(tz="UTC").tz_localize(None).to_period("M") - 1).strftime("%Y-%m")


def table_asset(
    model: type[Table],
    partitions: Partitions,
    *,
    deps: Sequence[dg.AssetDep | str],
    code_version: str,
    kinds: set[str],
    freshness: dg.FreshnessPolicy | None = None,
) -> Callable[[Callable[..., Made]], dg.AssetsDefinition]:
    """Declare an asset of the schema `derived`: its function returns `Made`, everything else comes from the model.

    Args:
        model: the table.
        partitions: gives the partitions of the model's grain.
        deps: upstream assets, with a mapping where Dagster cannot infer it.
        code_version: version of the method; raise it when numbers change.
        kinds: libraries shown as icons, `duckdb` is added.
        freshness: how old its newest materialisation may be.
    """
    definition = partitions.of(model.grain())

    def declare(function: Callable[..., Made]) -> dg.AssetsDefinition:
        return dg.asset(
            key=["derived", model.table()],
            deps=[_dep(d) for d in deps],
            partitions_def=definition,
            backfill_policy=dg.BackfillPolicy.single_run() if definition else None,
            group_name="derived",
            io_manager_key="warehouse_io_manager",
            code_version=code_version,
            owners=OWNERS,
            kinds={"duckdb", *kinds},
            freshness_policy=freshness,
            tags={"grain": model.grain()},
            description=_described(function.__doc__, model),
            metadata={
                "dagster/column_schema": column_schema(model.columns()),
                "dagster/table_name": f"derived.{model.table()}",
                "dagster/storage_kind": "duckdb",
            },
        )(function)

    return declare


def raw_asset(
    product: Product,
    name: str,
    partitions_def: dg.PartitionsDefinition | None,
    *,
    deps: Sequence[dg.AssetDep | str] = (),
    kinds: set[str],
    freshness: dg.FreshnessPolicy | None = None,
    pool: str | None = None,
) -> Callable[
    [Callable[..., dg.MaterializeResult | Iterator[dg.MaterializeResult | dg.AssetMaterialization]]],
    dg.AssetsDefinition,
]:
    """Declare an asset that archives a provider's files; its card comes from the product.

    Its runs say in their tags whose files they brought, and which version.
    """

    def declare(
        function: Callable[..., dg.MaterializeResult | Iterator[dg.MaterializeResult | dg.AssetMaterialization]],
    ) -> dg.AssetsDefinition:
        @functools.wraps(function)
        def tagged(
            context: dg.AssetExecutionContext, **given: Any
        ) -> Iterator[dg.MaterializeResult | dg.AssetMaterialization]:
            made = function(context, **given)
            for one in [made] if isinstance(made, dg.MaterializeResult) else made:
                if isinstance(one, dg.MaterializeResult):
                    versions = (one.metadata or {}).get("versions")
                    _tag_run(context, product.provider, f"{name} {versions}" if versions else "")
                yield one

        return dg.asset(
            key=["raw", name],
            deps=[dg.AssetDep(_provider_key(product)), *(_dep(d) for d in deps)],
            partitions_def=partitions_def,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions_def else None,
            group_name="raw",
            code_version="1",
            owners=OWNERS,
            kinds=kinds,
            freshness_policy=freshness,
            pool=pool,
            tags={"provider": product.provider},
            description=inspect.cleandoc(function.__doc__ or ""),
            metadata={
                "product": f"{product.name}, {product.version}",
                "DOI": dg.MetadataValue.url(f"https://doi.org/{product.doi}"),
                "licence": product.licence,
                "citation": product.citation,
                "homepage": dg.MetadataValue.url(product.homepage),
                "cadence": product.cadence,
                "latency": product.latency,
                "account for live access": f"{product.account.name}: {product.account.register}"
                if product.account
                else "none",
            },
        )(tagged)

    return declare


def origin_tags(provider: str, version: str) -> dict[str, str]:
    """The tags of a run that say whose files it fetches, and which version."""
    return {PROVIDER: shortened(provider), VERSION: shortened(version)}


def shortened(text: str) -> str:
    """A text as a run's tag shows it."""
    return text if len(text) <= TAG_LENGTH else f"{text[: TAG_LENGTH - 1]}…"


def _tag_run(context: dg.AssetExecutionContext, provider: str, version: str) -> None:
    """Add to the tags what a step brought; what the run was launched with stays as it is."""
    if PROVIDER in context.run.tags:
        return
    run = context.instance.get_run_by_id(context.run_id)
    before = run.tags if run else {}
    both = ((before.get(PROVIDER, ""), provider), (before.get(VERSION, ""), version))
    merged = ("; ".join(sorted({*old.split("; "), new} - {""})) for old, new in both)
    context.instance.add_run_tags(context.run_id, origin_tags(*merged))


def provider_specs(products: Iterable[Product]) -> list[dg.AssetSpec]:
    """The providers as external assets, where the lineage begins; several products may come from one provider."""
    by_key: dict[dg.AssetKey, list[Product]] = {}
    for product in products:
        by_key.setdefault(_provider_key(product), []).append(product)
    return [
        dg.AssetSpec(
            key,
            description="\n\n".join(f"{p.name}. {p.cadence}, {p.latency}. {p.licence}." for p in own),
            group_name="providers",
            kinds={"external"},
            owners=OWNERS,
            metadata={f"{p.name}, homepage": dg.MetadataValue.url(p.homepage) for p in own},
        )
        for key, own in by_key.items()
    ]


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """The columns as the UI lists them: unit, limits, uncertainty."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                c.duckdb_type,
                description=f"{c.description}." + (f" Uncertainty: {c.uncertainty}." if c.uncertainty else ""),
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, unique=False, other=[c.constraint] if c.constraint else []
                ),
                tags={"unit": c.unit} if c.unit else {},
            )
            for c in columns
        ],
        constraints=dg.TableConstraints(other=[f"PRIMARY KEY ({', '.join(c.name for c in columns if c.key)})"]),
    )


def gap_reasons(warehouse: Warehouse, asset: str) -> dict[str, str]:
    """Reason of each gap of an asset, by partition key: a downstream gap repeats the reason of its input."""
    found = warehouse.gaps(asset)
    return dict(zip(found["partition"], found["reason"], strict=True))


def gap_metadata(gaps: Mapping[str, str]) -> dict[str, Any]:
    """How many partitions of a run have no data, and the most frequent reasons.

    Dagster shows it with each partition of the run, so the key says that it counts the whole run.
    """
    if not gaps:
        return {"gaps of this run": 0}
    counts = frequent_reasons(gaps.values())
    lines = [f"- {reason} ({n} partition{'s' if n > 1 else ''})" for reason, n in counts.head(SHOWN_REASONS).items()]
    if (more := len(counts) - SHOWN_REASONS) > 0:
        lines.append(f"- and {more} other reasons, see `provenance.gap`")
    return {"gaps of this run": len(gaps), "reasons": dg.MetadataValue.md("\n".join(lines))}


def frequent_reasons(reasons: Iterable[str]) -> pd.Series:
    """How often each reason comes, most frequent first; years and months in them are left out and counted together."""
    return pd.Series([_TIME.sub("…", reason) for reason in reasons], dtype="str").value_counts()


def _provider_key(product: Product) -> dg.AssetKey:
    return dg.AssetKey(["provider", product.provider])


def _dep(dep: dg.AssetDep | str) -> dg.AssetDep:
    return dep if isinstance(dep, dg.AssetDep) else dg.AssetDep(dg.AssetKey.from_user_string(dep))


def _described(doc: str | None, model: type[Table]) -> str:
    return f"{' '.join((model.__doc__ or '').split())}\n\n{inspect.cleandoc(doc or '')}"


def _every_partition_speaks(model: type[Table], made: Made, wanted: pd.DataFrame, asset: str) -> None:
    if wanted.empty:
        return
    by = model.partition_columns()
    with_rows = wanted.merge(made.frame[by].drop_duplicates(), on=by)["partition"] if len(made.frame) else []
    silent = set(wanted["partition"]) - set(with_rows) - set(made.gaps)
    if silent:
        raise TableError(
            f"{len(silent)} partition(s) have neither rows nor a reason",
            where=asset,
            expected="rows or an entry in `gaps` for each partition",
            got=sorted(silent)[:5],
            todo="this is a mistake in the asset: it must say why there is nothing",
        )


_MODELS = {model.table(): model for model in TABLES}

__all__ = [
    "OWNERS",
    "PART_OF",
    "PROVIDER",
    "VERSION",
    "Acquired",
    "ArcticAssetsError",
    "Made",
    "RawStore",
    "WarehouseIOManager",
    "column_schema",
    "columns_of",
    "frequent_reasons",
    "gap_metadata",
    "gap_reasons",
    "last_month",
    "origin_tags",
    "raw_asset",
    "shortened",
    "table_asset",
]
