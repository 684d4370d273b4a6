"""Mapping of glacier ice on Landsat scenes: classes of cells, votes over scenes, and the outline they give.

Here: arrays of surface reflectance to masks, masks and the reference outline to a polygon. Not here: reading scenes
(`sources.landsat`), measuring outlines (`geometry`), differences between inventories (`area_change`).

Clean ice is bright in red and dark in the short-wave infrared: red/SWIR and NDSI, both above their thresholds, and a
blue minimum, which rock in shadow does not reach (Paul & Kääb 2005, Annals of Glaciology 42; Paul et al. 2013,
doi:10.3189/2013AoG63A296; Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P). Those thresholds were found on raw
counts; on Collection 2 surface reflectance the SWIR of ice comes near zero or below, so it is clipped. Debris-covered
ice looks like the rock around it: where it lies has to be known (`debris_parts`), no ratio finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    Mask = NDArray[np.bool_]

_FILL, _CLOUDS, _SHADOW = 1 << 0, 0b1110, 1 << 4
"""Bits of `qa_pixel`: fill; dilated cloud, cirrus and cloud; cloud shadow. Bit 5 (snow) marks glaciers: never
masked."""


@dataclass(frozen=True)
class Thresholds:
    """What decides between ice and the rest. Reflectances are surface reflectances, 0 to 1.

    Attributes:
        ratio: red over SWIR above which a cell is ice.
        ndsi: (green - SWIR) / (green + SWIR) above which a cell is ice. 0.4 is green/SWIR 2.33: of ratio and ndsi the
            stricter one decides, so a mapping is tuned by either.
        blue: least blue of ice: rock in shadow has less.
        swir_floor: SWIR is clipped here before it divides.
        water_ndwi: (green - NIR) / (green + NIR) above which a dark cell is water.
        water_nir: most NIR of water.
        bright_red: least red of ice that is taken for cloud by mistake.
        cloud_swir: most SWIR of it: clouds of droplets have more.
        debris_ndvi: most NDVI of debris: more is vegetation.
        debris_red: most red of debris.
        debris_slope_deg: debris on ice is less steep (Paul et al. 2004, Remote Sensing of Environment 89); None where
            no slope is known and the rule is not applied.
        min_patch_km2: smaller patches of ice and smaller holes are dropped.
        buffer_m: ice may lie so far beyond the reference outline.
        gap_m: gaps narrower than this (those of Landsat 7 are up to 450 m) take the class of the nearest cell.
        max_unclassified: share of the reference outline that may be without data.
        max_assumed: share of it that may lie in wider gaps (clouds); these are taken as in the reference.
        smoothing_m: standard deviation of the Gaussian that takes the steps off a boundary.
        simplify_m: tolerance of the boundary's vertices.
    """

    ratio: float = 2.0
    ndsi: float = 0.4
    blue: float = 0.05
    swir_floor: float = 0.005
    water_ndwi: float = 0.4
    water_nir: float = 0.11
    bright_red: float = 0.3
    cloud_swir: float = 0.2
    debris_ndvi: float = 0.2
    debris_red: float = 0.3
    debris_slope_deg: float | None = 24.0
    min_patch_km2: float = 0.01
    buffer_m: float = 500.0
    gap_m: float = 450.0
    max_unclassified: float = 0.4
    max_assumed: float = 0.2
    smoothing_m: float = 24.0
    simplify_m: float = 4.0

    @property
    def text(self) -> str:
        """All thresholds on one line, for the record of an outline."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name}={'not applied' if value is None else f'{value:g}'}" for name, value in values.items())


STANDARD = Thresholds()


@dataclass(frozen=True)
class OutlineResult:
    """What came of mapping one glacier in one inventory.

    Attributes:
        geometry: Polygon or MultiPolygon in EPSG:4326, or None.
        share_unclassified: share of the reference outline without data in any scene, 0 to 1.
        share_assumed: share of it in wide gaps, which were taken as in the reference.
        debris_km2: debris-covered ice taken from the reference, km2.
        growth_km2: ice beyond the reference outline, km2.
        assumed_sigma_km2: standard deviation of the area from the margin in wide gaps, km2 (`assumed_sigma_km2`).
        flags: `debris_from_rgi7`, `gaps_filled`, `assumed_as_rgi7`, `growth_beyond_rgi7` (a patch or more of ice lies
            farther beyond the reference outline than a cell: the glacier was larger, or snow was taken for ice).
        reason: why there is no geometry.
    """

    geometry: BaseGeometry | None
    share_unclassified: float
    share_assumed: float = 0.0
    debris_km2: float = 0.0
    growth_km2: float = 0.0
    assumed_sigma_km2: float = 0.0
    flags: tuple[str, ...] = ()
    reason: str | None = None


def classify(
    bands: Mapping[str, NDArray[np.float32]], qa: NDArray[np.uint16], thresholds: Thresholds = STANDARD
) -> tuple[Mask, Mask]:
    """Clean ice on one scene.

    Ice is red/SWIR and NDSI above their thresholds, and blue above its minimum, and no water. `qa_pixel` often takes
    glaciers for clouds: a cell that is flagged as cloud counts all the same when it is ice, bright in red and dark in
    SWIR; one that is flagged as cloud shadow when it is ice. All other flagged cells say nothing.

    Args:
        bands: surface reflectance `blue`, `green`, `red`, `nir`, `swir`, shape (rows, cols), NaN without data.
        qa: `qa_pixel`, same shape.
        thresholds: limits.

    Returns:
        Two masks of the same shape: ice, and cells that say something; ice is a part of them.

    Raises:
        SourceError: counts (DN) were given instead of reflectances.
    """
    counts = [band for band in bands.values() if (band > 3).any()]
    if counts:
        raise SourceError(
            "a scene is not in reflectances",
            where="clean_ice.classify",
            expected="DN * 2.75e-05 - 0.2, at most about 1.6",
            got=f"{np.nanmax(counts[0]):g}",
            todo="scale the bands before they are classified (sources.landsat.read does)",
        )
    t = thresholds
    has_data = (qa & _FILL) == 0
    for band in bands.values():
        has_data &= np.isfinite(band)
    blue, green, red, nir, swir = (bands[b] for b in ("blue", "green", "red", "nir", "swir"))
    floor = np.float32(t.swir_floor)
    swir, green, nir = np.maximum(swir, floor), np.maximum(green, floor), np.maximum(nir, 0)
    is_water = (nir < t.water_nir) & (green - nir > t.water_ndwi * (green + nir))
    is_snowy = (red > t.ratio * swir) & (green - swir > t.ndsi * (green + swir))
    ice = is_snowy & (blue > t.blue) & ~is_water & has_data
    is_bright = ice & (red > t.bright_red) & (swir < t.cloud_swir)
    cloud, shadow = (qa & _CLOUDS) != 0, (qa & _SHADOW) != 0
    valid = has_data & (~cloud | is_bright) & (~shadow | ice)
    return ice & valid, valid


def vote(classified: Sequence[tuple[Mask, Mask]]) -> tuple[Mask, NDArray[np.uint8]]:
    """Classes over several scenes of one inventory.

    A cell is ice when more than half of the scenes that see it say so: one late snowfall does not make a glacier.

    Args:
        classified: (ice, valid) of each scene, all of one shape.

    Returns:
        Mask of ice, and how many scenes see each cell.
    """
    if not classified:
        raise SourceError("there is no scene to vote on", expected="one scene or more", got="none")
    says = np.zeros(classified[0][0].shape, np.uint8)
    sees = np.zeros_like(says)
    for ice, valid in classified:
        says += ice & valid
        sees += valid
    return 2 * says.astype(np.int16) > sees, sees


def looks_like_debris(
    bands: Mapping[str, NDArray[np.float32]],
    thresholds: Thresholds = STANDARD,
    slope_deg: NDArray[np.float32] | None = None,
) -> Mask:
    """Cells that may be debris on ice: dark, without vegetation or water, and not steep.

    Bare rock looks the same: this only says what may be debris inside an outline that is known to be glacier.

    Args:
        bands: as for `classify`.
        thresholds: limits.
        slope_deg: slope of the surface, degrees, same shape. Where it is NaN, and without it, no cell is too steep.
    """
    t = thresholds
    red, nir, green = (np.nan_to_num(bands[name]) for name in ("red", "nir", "green"))
    mask = (red > 0) & (red < t.debris_red) & (nir - red < t.debris_ndvi * np.maximum(nir + red, 1e-3))
    mask &= ~((nir < t.water_nir) & (green - nir > t.water_ndwi * np.maximum(green + nir, 1e-3)))
    return mask if slope_deg is None or t.debris_slope_deg is None else mask & ~(slope_deg >= t.debris_slope_deg)


def debris_parts(
    ice: Mask,
    valid: NDArray[Any],
    looks: Mask,
    transform: Affine,
    crs: Any,
    rgi: BaseGeometry,
    thresholds: Thresholds = STANDARD,
) -> BaseGeometry | None:
    """Debris-covered parts of a glacier, from scenes that are not younger than its reference outline.

    What lies inside the outline, is seen, is no clean ice, looks like debris and touches ice is debris-covered: the
    ice had not left the outline yet. On younger scenes the same rule would take ground that the glacier has left for
    debris and hide its retreat, so these take the parts found here (`outline(debris=...)`).

    Returns:
        Polygons in EPSG:4326, or None when there is no debris.
    """
    from rasterio.features import shapes
    from scipy.ndimage import binary_opening
    from shapely import union_all
    from shapely.geometry import shape

    own = _projected(rgi, crs)
    inside = _burnt(own, ice.shape, transform)
    candidates = binary_opening(inside & ~ice & (valid > 0) & looks, np.ones((3, 3)))
    kept = _large(_touching(candidates, ice & inside), _cells(thresholds, transform))
    if not kept.any():
        return None
    polygons = [shape(one) for one, _ in shapes(kept.astype(np.uint8), mask=kept, transform=transform)]
    return _unprojected(union_all(polygons).intersection(own), crs)


def outline(
    ice: Mask,
    valid: NDArray[Any],
    transform: Affine,
    crs: Any,
    rgi: BaseGeometry,
    neighbours: Sequence[BaseGeometry] = (),
    debris: BaseGeometry | None = None,
    thresholds: Thresholds = STANDARD,
) -> OutlineResult:
    """The outline of one glacier from classified cells.

    Ice counts inside the reference outline and up to `buffer_m` beyond it, where it hangs together with ice inside.
    Divides are those of the reference: the outlines of its neighbours are cut away as they are, and new ice
    between two glaciers belongs to the nearer one. Narrow gaps (of
    Landsat 7) take the class of the nearest cell; wide ones (clouds) follow the reference, as the nearest cell would
    make ice of ground under a cloud at the margin. The boundary is the contour of the smoothed mask, at the level
    that keeps the mask's area.

    Args:
        ice: mask of clean ice, shape (rows, cols).
        valid: cells that say something: mask, or the count of scenes.
        transform: of the upper left corner, m.
        crs: projected CRS of the cells, in metres.
        rgi: reference outline, EPSG:4326, members dissolved.
        neighbours: outlines of all other glaciers around, EPSG:4326.
        debris: parts known to be debris-covered (`debris_parts`), EPSG:4326.
        thresholds: limits.

    Raises:
        SourceError: the cells do not lie in a projected CRS, or the masks have other shapes.
    """
    import shapely

    _check_grid(ice, valid, crs)
    t = thresholds
    own = _projected(rgi, crs)
    window, transform = _around(own.buffer(t.buffer_m + 10 * transform.a), ice.shape, transform)
    ice, seen = ice[window], valid[window] > 0
    cell_km2 = abs(transform.a * transform.e) / 1e6
    inside = _burnt(own, ice.shape, transform)
    n_inside = max(int(inside.sum()), 1)
    beyond = max(0.0, 1 - float(own.intersection(_extent(ice.shape, transform)).area / own.area))
    unclassified = beyond + (1 - beyond) * float((inside & ~seen).sum()) / n_inside
    if not (inside & seen).any() or unclassified > t.max_unclassified:
        return OutlineResult(None, unclassified, reason=_too_much(unclassified, t.max_unclassified, "without data"))
    filled, is_wide = _filled(ice, seen, inside, t.gap_m / 2 / transform.a)
    assumed = float((inside & is_wide).sum()) / n_inside
    if assumed > t.max_assumed:
        reason = _too_much(assumed, t.max_assumed, "in wide gaps")
        return OutlineResult(None, unclassified, assumed, reason=reason)

    covered = np.zeros_like(filled)
    if debris is not None:
        known = _burnt(_projected(debris, crs), ice.shape, transform)
        covered = _touching(known & inside & ~filled, filled & inside)
    reach = own.buffer(t.buffer_m)
    others = shapely.union_all([one for n in neighbours if (one := _projected(n, crs)).intersects(reach)])
    region = _valid(reach.difference(others))
    whole = _large(filled | covered, _cells(t, transform))
    whole &= ~_of_others(whole, inside, others, transform)
    whole = _without_holes(whole, _cells(t, transform))
    drawn = _valid(_contoured(whole, transform, t).intersection(region))
    polygon = _kept_parts(drawn, own, t.min_patch_km2 * 1e6)
    if polygon is None:
        return OutlineResult(None, unclassified, assumed, reason="no ice inside the RGI7 outline on these scenes")
    debris_km2 = float(covered.sum()) * cell_km2
    flags = [
        *(["debris_from_rgi7"] if debris_km2 else []),
        *(["gaps_filled"] if unclassified > 0.001 else []),
        *(["assumed_as_rgi7"] if assumed else []),
        *(["growth_beyond_rgi7"] if polygon.difference(own.buffer(transform.a)).area / 1e6 > t.min_patch_km2 else []),
    ]
    growth = float(polygon.difference(own).area) / 1e6
    divides = _burnt(others, inside.shape, transform)
    sigma = assumed_sigma_km2(whole, inside, is_wide, divides, cell_km2) if assumed else 0.0
    return OutlineResult(_unprojected(polygon, crs), unclassified, assumed, debris_km2, growth, sigma, tuple(flags))


def assumed_sigma_km2(mapped: Mask, reference: Mask, is_assumed: Mask, others: Mask, cell_km2: float) -> float:
    """Standard deviation of an area of which a part of the margin was not seen, and taken as in the reference.

    The unseen margin is taken to have moved as far as the seen one has on average, to an unknown side and as a whole:

        sigma = A_moved / L_seen * L_assumed

    with A_moved the area between the mapped and the reference outline where it was seen, and L the length of the
    reference margin, divides left out, counted in cells, whose steps are in both alike. Where no margin was seen
    nothing is known of it: sigma is the whole area that was assumed. The half pixel by which any margin is uncertain is
    not in it (`geometry.buffer_sigma_km2`). Our own reasoning: no published formula is known to us.

    Args:
        mapped: ice of the outline, shape (rows, cols).
        reference: cells of the reference outline, same shape.
        is_assumed: cells in wide gaps, same shape.
        others: cells of other glaciers' outlines, same shape.
        cell_km2: area of a cell, km2.
    """
    from scipy.ndimage import binary_dilation

    margin = _edge(reference) & ~binary_dilation(others, np.ones((3, 3)))
    seen, assumed = int((margin & ~is_assumed).sum()), int((margin & is_assumed).sum())
    if not assumed:
        return 0.0
    if not seen:
        return float((reference & is_assumed).sum()) * cell_km2
    moved = int(((mapped ^ reference) & ~is_assumed).sum())
    return moved * assumed / seen * cell_km2


def _too_much(share: float, limit: float, what: str) -> str:
    return f"{share:.0%} of the RGI7 outline is {what} (cloud, scene edge, gaps); at most {limit:.0%} may be"


def _check_grid(ice: Mask, valid: NDArray[Any], crs: Any) -> None:
    from pyproj import CRS

    if ice.shape != valid.shape or not CRS.from_user_input(crs).is_projected:
        raise SourceError(
            "ice cannot be outlined on this grid",
            where="clean_ice.outline",
            expected="masks of one shape in a projected CRS in metres",
            got=f"{ice.shape} and {valid.shape} in {crs}",
            todo="read all scenes of a glacier on the grid of the first (sources.landsat.read(path, like=...))",
        )


def _cells(thresholds: Thresholds, transform: Affine) -> int:
    """How many cells the smallest patch has."""
    return int(np.ceil(thresholds.min_patch_km2 * 1e6 / abs(transform.a * transform.e) - 1e-9))


def _filled(ice: Mask, seen: Mask, inside: Mask, reach_cells: float) -> tuple[Mask, Mask]:
    """Ice with gaps filled, and the wide gaps: those that hold a disc of this radius, as far as such discs reach."""
    if seen.all():
        return ice & seen, np.zeros_like(seen)
    is_wide = ~seen & _within(~_within(seen, reach_cells), reach_cells)
    filled = np.where(is_wide, inside, ice & seen)
    rows, cols = np.nonzero(~seen & ~is_wide)
    margin = int(reach_cells)
    is_near, is_ice = np.pad(seen, margin), np.pad(ice, margin)
    # Nothing of a narrow gap is farther than this from what is seen; of equals the westernmost counts.
    for row, col in _disc(reach_cells):
        there = rows + row + margin, cols + col + margin
        found = is_near[there]
        filled[rows[found], cols[found]] = is_ice[there][found]
        rows, cols = rows[~found], cols[~found]
    return filled, is_wide


def _within(mask: Mask, reach_cells: float) -> Mask:
    """Cells whose centre is at most so far from that of a cell of the mask."""
    wide = mask.copy()  # by so many columns as a row of the disc has on each side
    width, margin = 0, int(reach_cells)
    found = np.zeros_like(mask)
    for row in range(margin, -1, -1):
        while (width + 1) ** 2 + row**2 <= reach_cells**2:
            width += 1
            wide[:, width:] |= mask[:, :-width]
            wide[:, :-width] |= mask[:, width:]
        n = len(mask) - row
        if n > 0:
            found[row:] |= wide[:n]
            found[:n] |= wide[row:]
    return found


def _disc(reach_cells: float) -> list[tuple[int, int]]:
    """Steps in rows and columns to all cells that are at most so far away, the nearest first."""
    steps = range(-int(reach_cells), int(reach_cells) + 1)
    inside = [(row, col) for row in steps for col in steps if row**2 + col**2 <= reach_cells**2]
    return sorted(inside, key=lambda step: (step[0] ** 2 + step[1] ** 2, step[1], step[0]))


def _of_others(mask: Mask, inside: Mask, others: BaseGeometry, transform: Affine) -> Mask:
    """Cells of a mask beyond all outlines that are nearer to another glacier: each gets its half of a growth."""
    from scipy.spatial import KDTree

    theirs = _burnt(others, inside.shape, transform)
    beyond = mask & ~inside & ~theirs
    if not theirs.any() or not beyond.any():
        return np.zeros_like(mask)
    cells = np.argwhere(beyond)
    to_theirs, to_own = (KDTree(np.argwhere(_edge(one))).query(cells)[0] for one in (theirs, inside))
    beyond[beyond] = to_theirs < to_own
    return beyond


def _edge(mask: Mask) -> Mask:
    """Cells of a mask that have a side with another cell, or with the outside of the grid."""
    edge = mask.copy()
    edge[1:-1, 1:-1] &= ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
    return edge


def _touching(mask: Mask, ice: Mask) -> Mask:
    """Those connected parts of a mask that touch ice, across corners too."""
    from scipy.ndimage import binary_dilation, label

    around = np.ones((3, 3))
    labels, n = label(mask, around)
    touched = np.zeros(n + 1, bool)
    touched[np.unique(labels[binary_dilation(ice, around)])] = True
    touched[0] = False
    return touched[labels]


def _large(mask: Mask, cells: int, around: Any = None) -> Mask:
    """The mask without connected parts (across corners, unless told) of fewer cells."""
    from scipy.ndimage import label

    labels, _ = label(mask, np.ones((3, 3)) if around is None else around)
    is_large = np.bincount(labels.ravel()) >= cells
    is_large[0] = False
    return is_large[labels]


def _without_holes(mask: Mask, cells: int) -> Mask:
    """Holes of fewer cells become ice; rock islands of more stay."""
    return ~_large(~mask, cells, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]))


def _contoured(mask: Mask, transform: Affine, thresholds: Thresholds) -> BaseGeometry:
    """Boundary of a mask without steps: a contour of its Gaussian average, marching squares between cell centres.

    The level is searched that gives the area of the mask within 0.01 %: at 0.5, convex tongues lose and rock islands
    shrink.
    """
    import shapely
    from contourpy import FillType, contour_generator
    from scipy.ndimage import gaussian_filter

    pad = 4
    cell = float(transform.a)
    soft = gaussian_filter(np.pad(mask, pad).astype(np.float32), thresholds.smoothing_m / cell, truncate=3)
    rows, cols = soft.shape
    x = transform.c + (np.arange(cols) - pad + 0.5) * transform.a
    y = transform.f + (np.arange(rows) - pad + 0.5) * transform.e
    generator = contour_generator(x, y, soft, fill_type=FillType.OuterOffset)
    wanted = float(mask.sum()) * cell**2

    def at(level: float) -> BaseGeometry:
        points, offsets = cast(Any, generator.filled(level, 2.0))
        polygons = []
        for ring_points, starts in zip(points, offsets, strict=True):
            rings = [ring_points[a:b] for a, b in pairwise(starts) if b - a > 3]
            if rings:
                polygons.append(shapely.Polygon(rings[0], rings[1:]))
        return shapely.MultiPolygon(polygons)

    low, high = 0.3, 0.7  # the area falls with the level
    drawn = at(level := 0.5)
    for _ in range(8):
        if wanted == 0 or abs(drawn.area - wanted) <= 1e-4 * wanted:
            break
        low, high = (level, high) if drawn.area > wanted else (low, level)
        drawn = at(level := (low + high) / 2)
    return _valid(shapely.simplify(drawn, thresholds.simplify_m))


def _kept_parts(drawn: BaseGeometry, own: BaseGeometry, least_m2: float) -> BaseGeometry | None:
    """Parts that are large enough and reach into the reference outline, without holes that are too small."""
    import shapely

    polygons = []
    for part in shapely.get_parts(drawn):
        if part.area < least_m2 or part.intersection(own).area < least_m2 / 2:
            continue
        rings = [ring for ring in part.interiors if shapely.Polygon(ring).area >= least_m2]
        polygons.append(shapely.Polygon(part.exterior, rings))
    if not polygons:
        return None
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _around(geom: BaseGeometry, shape: tuple[int, ...], transform: Affine) -> tuple[tuple[slice, slice], Affine]:
    """The part of a grid that a geometry's box covers."""
    from affine import Affine

    west, south, east, north = geom.bounds
    (left, top), (right, bottom) = ~transform @ (west, north), ~transform @ (east, south)
    rows = slice(int(np.clip(np.floor(top), 0, shape[0])), int(np.clip(np.ceil(bottom), 0, shape[0])))
    cols = slice(int(np.clip(np.floor(left), 0, shape[1])), int(np.clip(np.ceil(right), 0, shape[1])))
    return (rows, cols), transform @ Affine.translation(cols.start, rows.start)


def _extent(shape: tuple[int, ...], transform: Affine) -> BaseGeometry:
    """The box of a grid."""
    import shapely

    left, top = transform @ (0, 0)
    right, bottom = transform @ (shape[1], shape[0])
    return shapely.box(left, bottom, right, top)


def _burnt(geom: BaseGeometry, shape: tuple[int, ...], transform: Affine) -> Mask:
    """Cells whose centre lies in a geometry."""
    from rasterio.features import rasterize

    if geom.is_empty or 0 in shape:
        return np.zeros(shape, bool)
    return rasterize([(geom, 1)], shape, transform=transform, dtype="uint8").astype(bool)


def _projected(geom: BaseGeometry, crs: Any) -> BaseGeometry:
    import shapely
    from pyproj import Transformer

    move = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    return _valid(shapely.transform(shapely.force_2d(geom), move.transform, interleaved=False))


def _unprojected(geom: BaseGeometry, crs: Any) -> BaseGeometry:
    """Back to degrees: a Polygon or MultiPolygon."""
    import shapely
    from pyproj import Transformer

    move = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return _valid(shapely.transform(geom, move.transform, interleaved=False))


def _valid(geom: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry, mended: overlays leave spikes that rounding in another projection turns over."""
    import shapely

    polygons = [part for part in shapely.get_parts(geom) if part.geom_type == "Polygon"]
    return shapely.union_all(shapely.make_valid(polygons, method="structure", keep_collapsed=False))
