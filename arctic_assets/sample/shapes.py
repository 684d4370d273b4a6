"""Outlines and centrelines with the look of glaciers: valley glaciers, divided ones, ice caps of many members.

Here: geometry only, first in a plane (km), then placed on the globe. Ids, names and files are `rgi7`'s.

Every shape starts as a simple drawing (a trunk with tributaries; an ellipse cut into cells) and is then bent by maps
of the plane onto itself that cannot fold (see `_Warp`). So drawings stay valid when they become irregular, lines stay
inside their outlines, and divides that two members share stay shared to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import LineString, Polygon

Floats = NDArray[np.float64]
Move = Callable[[Floats], Floats]

#: RGI coordinates carry six decimals, 0.1 m.
_DECIMALS = 6
#: Bends lose this much of their strength until a drawing is valid after bending; without any, it is.
_STRENGTHS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)

#: A valley glacier in units of about the root of its area: length of the trunk, and of the neighbour's behind it.
_LENGTH, _NEIGHBOUR_LENGTH = 2.2, 1.2
#: Half width of the trunk where two glaciers meet head to head.
_SADDLE = 0.34
#: The medial line along which a trunk may be divided.
_MEDIAL = -0.05


@dataclass(frozen=True)
class Piece:
    """One outline.

    Attributes:
        polygon: with rock islands as interior rings.
        lines: centrelines from head to terminus, tributaries first, the main one last; a tributary ends on a vertex
            of the main line, the main line on a vertex of the outline.
        heights: surface elevations evenly sampled over the outline, m.
    """

    polygon: Polygon
    lines: tuple[LineString, ...]
    heights: Floats


@dataclass(frozen=True)
class Sketch:
    """A glacier before or after it is placed: in km around its centre, or in degrees.

    Attributes:
        members: its outlines.
        neighbours: outlines that share a divide with it.
        former: outlines of another inventory that divides the same ice differently: of the glacier, then of the
            neighbour; empty where both agree.
    """

    members: tuple[Piece, ...]
    neighbours: tuple[Piece, ...] = ()
    former: tuple[Polygon, ...] = ()

    def moved(self, move: Move) -> Sketch:
        """The same with all coordinates mapped; equal ones stay equal."""
        pieces = [*self.members, *self.neighbours]
        flat = [g for piece in pieces for g in (piece.polygon, *piece.lines)]
        done = iter(_moved([*flat, *self.former], move))
        mapped = [Piece(next(done), tuple(next(done) for _ in piece.lines), piece.heights) for piece in pieces]
        n = len(self.members)
        return Sketch(tuple(mapped[:n]), tuple(mapped[n:]), tuple(done))

    @property
    def polygons(self) -> list[Polygon]:
        """All outlines of the present inventory."""
        return [piece.polygon for piece in (*self.members, *self.neighbours)]

    @property
    def is_valid(self) -> bool:
        """No outline crosses itself."""
        return bool(shapely.is_valid([*self.polygons, *self.former]).all())


def valley(
    rng: np.random.Generator, area_km2: float, zmin_m: float, zmax_m: float, exchange: float = 0.0, split: bool = False
) -> Sketch:
    """A valley glacier: a trunk with tributaries.

    Args:
        rng: source of its individuality.
        area_km2: area of the members together.
        zmin_m: elevation of the terminus.
        zmax_m: elevation of the highest head.
        exchange: share of the area that a former inventory gave to the neighbour beyond the ice divide, taking as
            much from it; 0 for a glacier that stands alone.
        split: divide the trunk lengthwise into two members; only with `exchange`.
    """
    joined = exchange > 0
    step = 0.028 if area_km2 > 5 else 0.05
    trunk, branches, blank = _blank(rng, joined)
    boundary = shapely.segmentize(blank.exterior, step)
    main = LineString(trunk)
    if joined:
        pieces, lines = _divided(boundary, main, branches, step, split)
    else:
        pieces, lines = [Polygon(boundary)], [[main, *branches]]
    wanted = 0 if area_km2 < 5 else min(6, 1 + int(np.log2(area_km2 / 5)))
    drawn: list[Piece] = []
    for polygon, drawn_lines in zip(pieces, lines, strict=True):
        whole = _with_islands(rng, polygon, drawn_lines, wanted if not drawn else wanted // 2)
        heights = _valley_heights(_even_points(polygon, 1500), zmin_m, zmax_m)
        drawn.append(Piece(whole, _joined_lines(drawn_lines[0], drawn_lines[1:], step), heights))
    count = len(drawn) - (1 if joined else 0)
    plain = Sketch(tuple(drawn[:count]), tuple(drawn[count:]))

    wavelengths = (2.6, 0.9, 0.35, 0.14) if area_km2 > 5 else (2.6, 0.9, 0.35)
    bend = _bend(plain, rng, wavelengths, (0.85, 0.8, 0.75, 0.7), main.interpolate(0.45, normalized=True))
    bent = plain.moved(bend)
    if joined:
        bent = replace(bent, former=_former(bent, boundary, bend, exchange, step))
    return _scaled(bent, area_km2)


def ice_caps(rng: np.random.Generator, area_km2: float, members: int, zmax_m: float) -> Sketch:
    """Ice caps in a row, each tiled by members without gaps: neighbours share every vertex of their divide.

    Args:
        rng: source of its individuality.
        area_km2: area of all members together.
        members: their number.
        zmax_m: elevation of the highest dome; the smaller caps are lower, all reach down to the sea.
    """
    caps = _row_of_caps(area_km2, members)
    # Short waves for small members: the size of a typical one sets the grain.
    grain = float(np.sqrt(area_km2 / members))
    step = 0.08 * grain
    pieces: list[Piece] = []
    for cap in caps:
        pieces += _tiled(rng, cap, step, zmax_m)
    plain = Sketch(tuple(pieces))
    waves = (40 * grain, 14 * grain, 5 * grain, 2 * grain, grain)
    return _scaled(plain.moved(_bend(plain, rng, waves, (0.8, 0.7, 0.6, 0.6, 0.5), shapely.Point(0, 0))), area_km2)


def placed(sketch: Sketch, longitude: float, latitude: float, bearing_deg: float) -> Sketch:
    """Put a sketch on the globe: its centre at a position, its x axis towards a bearing (clockwise from north).

    Lambert's azimuthal equal-area projection keeps areas; coordinates are rounded to six decimals.
    """
    from pyproj import Transformer

    to_globe = Transformer.from_crs(
        f"+proj=laea +lat_0={latitude!r} +lon_0={longitude!r} +datum=WGS84 +units=km", "EPSG:4326", always_xy=True
    )
    angle = np.radians(90.0 - bearing_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def move(xy: Floats) -> Floats:
        x, y = _times(xy, turn).T
        lon, lat = to_globe.transform(x, y)
        # Beyond 180 rather than across it, so that no ring jumps.
        lon = longitude + (np.asarray(lon) - longitude + 180.0) % 360.0 - 180.0
        return np.round(np.column_stack([lon, lat]), _DECIMALS)

    return sketch.moved(move)


class _Warp:
    """A map of the plane onto itself that cannot fold: a chain of x -> x + g(x) with g's slope below 1.

    g is a sum of sine waves of one length; the sum of wave number times amplitude bounds its slope. Such a map is
    one-to-one, so what does not cross before does not cross afterwards.
    """

    def __init__(self, rng: np.random.Generator, wavelengths: Sequence[float], slopes: Sequence[float]) -> None:
        self.octaves = []
        for wavelength, slope in zip(wavelengths, slopes, strict=False):
            towards, along = rng.uniform(0, 2 * np.pi, (2, 2))
            number = 2 * np.pi / wavelength
            waves = number * np.array([np.cos(towards), np.sin(towards)])
            amplitudes = slope / (number * len(along)) * np.column_stack([np.cos(along), np.sin(along)])
            self.octaves.append((waves, rng.uniform(0, 2 * np.pi, len(along)), amplitudes))

    def __call__(self, xy: Floats) -> Floats:
        for waves, phases, amplitudes in self.octaves:
            xy = xy + _times(np.sin(_times(xy, waves) + phases), amplitudes)
        return xy


def _bend(
    plain: Sketch,
    rng: np.random.Generator,
    wavelengths: Sequence[float],
    slopes: Sequence[float],
    centre: shapely.Point,
) -> Move:
    """The strongest bend under which a sketch stays valid between its vertices; it takes `centre` to 0, 0."""
    seed = int(rng.integers(2**63))
    for strength in _STRENGTHS:
        warp = _Warp(np.random.default_rng(seed), wavelengths, [strength * slope for slope in slopes])
        origin = warp(np.array([[centre.x, centre.y]]))

        def bend(xy: Floats, warp: _Warp = warp, origin: Floats = origin) -> Floats:
            return warp(xy) - origin

        if plain.moved(bend).is_valid:
            return bend
    raise AssertionError("a drawing that is not bent is valid")


def _scaled(sketch: Sketch, area_km2: float) -> Sketch:
    present = sum(piece.polygon.area for piece in sketch.members)
    return sketch.moved(lambda xy: xy * np.sqrt(area_km2 / present))


def _former(bent: Sketch, boundary: LineString, bend: Move, exchange: float, step: float) -> tuple[Polygon, Polygon]:
    """The ice of a glacier and its neighbour, divided by a line that is turned and shifted against the divide.

    Turning the line about its middle swaps two triangles. How far to turn and to shift it, so that the areas stay
    and `exchange` is swapped, is found by trying: the bend changes areas.
    """
    present = shapely.union_all([piece.polygon for piece in bent.members])
    islands = shapely.union_all([Polygon(ring) for polygon in bent.polygons for ring in polygon.interiors])
    reach, lean, shift = 1.06 * _SADDLE, 2 * exchange / _SADDLE**2, 0.0
    for _ in range(8):
        line = LineString([(shift - lean * reach, -reach), (shift + lean * reach, reach)])
        two = sorted(_tessellated([boundary, line], step), key=lambda cell: -float(cell.area))[:2]
        right, left = sorted(two, key=lambda cell: -_inside(cell)[0])
        own, other = (_largest(shapely.get_parts(half.difference(islands))) for half in _moved([right, left], bend))
        lost = 1 - own.intersection(present).area / own.area
        lean *= float(np.clip(exchange / max(lost, 1e-3), 0.5, 2))
        shift += (own.area - present.area) / (2 * _SADDLE)
    return own, other


def _half_width(x: Floats, joined: bool) -> Floats:
    """Half width of the trunk: a wide basin that narrows to a tongue; x from head (0) to terminus (_LENGTH)."""
    width = 0.16 + 0.26 * np.exp(-(((x - 0.45) / 0.4) ** 2))
    tongue = np.sqrt(np.clip((_LENGTH - x) / 0.2, 0, 1))
    if joined:
        return np.where(x < 0.45, _SADDLE, np.minimum(width, _SADDLE)) * tongue
    return width * tongue * np.sqrt(np.clip(x / 0.2, 0, 1))


def _neighbour_half_width(x: Floats) -> Floats:
    """Half width of the glacier behind the divide; x from 0 to -_NEIGHBOUR_LENGTH."""
    return _SADDLE * np.sqrt(np.clip((x + _NEIGHBOUR_LENGTH) / 0.6, 0, 1))


def _blank(rng: np.random.Generator, joined: bool) -> tuple[list[tuple[float, float]], list[LineString], Polygon]:
    """Main line, tributaries (head to junction) and outline of the drawing."""
    x = np.linspace(-_NEIGHBOUR_LENGTH if joined else 0.0, _LENGTH, 90)
    half = np.where(x < 0, _neighbour_half_width(x), _half_width(x, joined))
    parts = [_ribbon(x, half)]
    branches = []
    side = 1.0 if rng.random() < 0.5 else -1.0
    for _ in range(int(rng.integers(2, 5))):
        # Behind a divide the basins next to it stay free: the divide may turn there.
        junction = rng.uniform(0.95, 1.7) if joined else rng.uniform(0.5, 1.5)
        length, angle = rng.uniform(0.5, 0.9), np.radians(rng.uniform(35, 65))
        head = np.array([junction - length * np.cos(angle), side * length * np.sin(angle)])
        if joined:
            head[0] = max(head[0], 0.62)
        foot = np.array([junction, 0.0])
        u = np.linspace(0, 1, 30)
        width = (0.06 + rng.uniform(0.03, 0.07) * (1 - u)) * np.sqrt(np.clip(u / 0.2, 0, 1))
        towards = (foot - head) / np.hypot(*(foot - head))
        local = shapely.get_coordinates(_ribbon(u * float(np.hypot(*(foot - head))), width))
        across = np.array([-towards[1], towards[0]])
        parts.append(Polygon(head + local[:, :1] * towards + local[:, 1:] * across))
        start = head + 0.06 * towards
        branches.append(LineString([tuple(start), tuple(foot)]))
        side = -side
    union = shapely.union_all(parts)
    outline = Polygon(_largest(shapely.get_parts(union)).exterior)
    return [(0.05, 0.0), (_LENGTH, 0.0)], branches, outline


def _ribbon(x: Floats, half: Floats) -> Polygon:
    upper = np.column_stack([x, half])
    lower = np.column_stack([x, -half])[::-1]
    return shapely.make_valid(Polygon(np.vstack([upper, lower])))


def _divided(
    boundary: LineString, main: LineString, branches: Sequence[LineString], step: float, split: bool
) -> tuple[list[Polygon], list[list[LineString]]]:
    """Two glaciers head to head, the first one split lengthwise or not: outlines, and the lines of each.

    The neighbour behind the divide at x = 0 comes last; main lines come before their tributaries.
    """
    reach = 1.06 * _SADDLE
    divide = LineString([(0.0, -reach), (0.0, reach)])
    medial = LineString([(0.0, _MEDIAL), (_LENGTH + 0.1, _MEDIAL)])
    cells = [(cell, *_inside(cell)) for cell in _tessellated([boundary, divide, *([medial] if split else [])], step)]
    neighbour = _largest(cell for cell, x, _ in cells if x < 0)
    neighbour_lines = [LineString([(-0.04, 0.0), (-_NEIGHBOUR_LENGTH, 0.0)])]
    if not split:
        return [_largest(cell for cell, x, _ in cells if x > 0), neighbour], [[main, *branches], neighbour_lines]
    halves = [_largest(cell for cell, x, y in cells if x > 0 and (y - _MEDIAL) * side > 0) for side in (1, -1)]
    lines = [
        [_half_trunk(half, side), *[b for b in branches if b.coords[0][1] * side > 0]]
        for half, side in zip(halves, (1, -1), strict=True)
    ]
    return [*halves, neighbour], [*lines, neighbour_lines]


def _half_trunk(piece: Polygon, side: int) -> LineString:
    """Main line of one half of a divided trunk: midway between the medial line and the margin, to its lowest vertex."""
    vertices = shapely.get_coordinates(piece)
    tip = vertices[vertices[:, 0].argmax()]
    x = np.linspace(0.04, tip[0] - 0.02, 60)
    half = _half_width(x, True)
    inner, outer = np.clip(_MEDIAL, -half, half), side * half
    return LineString([*zip(x, (inner + outer) / 2, strict=True), tuple(tip)])


def _joined_lines(main: LineString, side: Sequence[LineString], step: float) -> tuple[LineString, ...]:
    """Tributaries, led to the nearest vertex of the main line, then the main line; all with close vertices."""
    main = shapely.segmentize(main, step)
    vertices = shapely.get_coordinates(main)
    lines = []
    for branch in side:
        start, foot = np.array(branch.coords[0]), np.array(branch.coords[-1])
        end = vertices[np.hypot(*(vertices - foot).T).argmin()]
        lines.append(shapely.segmentize(LineString([start, end]), step))
    return (*lines, main)


def _valley_heights(points: Floats, zmin_m: float, zmax_m: float) -> Floats:
    """Concave along the trunk, higher at its sides; both ways from a divide at x = 0."""
    x, y = points.T
    down = np.where(x >= 0, x / _LENGTH, -x / _NEIGHBOUR_LENGTH)
    rise = 0.85 * np.clip(1 - down, 0, 1) ** 0.8 + 0.15 * np.clip(np.abs(y) / 0.5, 0, 1)
    return zmin_m + (zmax_m - zmin_m) * rise


def _with_islands(rng: np.random.Generator, polygon: Polygon, lines: Sequence[LineString], wanted: int) -> Polygon:
    """The polygon with up to `wanted` rock islands that keep clear of its margin, its lines and each other."""
    rings: list[Polygon] = []
    for x, y in _random_points(rng, polygon, 60 if wanted else 0):
        radius = rng.uniform(0.025, 0.05)
        keep_clear = [polygon.exterior, *lines, *rings]
        if len(rings) < wanted and shapely.distance(keep_clear, shapely.Point(x, y)).min() > 2.2 * radius:
            rings.append(_disc(x, y, radius))
    return Polygon(polygon.exterior, [ring.exterior for ring in rings])


def _disc(x: float, y: float, radius: float) -> Polygon:
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return Polygon(np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)]))


@dataclass(frozen=True)
class _Cap:
    """An ellipse before it is bent: position of its centre on the row, semi-axes, members, height of its dome."""

    x: float
    a: float
    b: float
    members: int
    height: float

    def radius(self, xy: Floats) -> Floats:
        """0 at the summit, 1 at the margin."""
        return np.hypot((xy[:, 0] - self.x) / self.a, xy[:, 1] / self.b)


def _row_of_caps(area_km2: float, members: int) -> list[_Cap]:
    """A large cap in the middle and smaller ones alternately on both sides of it."""
    count = int(np.clip(members // 50, 1, 9))
    # Four fifths of the ice in the largest; each further cap three quarters of the one before.
    rest = 0.75 ** np.arange(count - 1)
    shares = np.array([1.0]) if count == 1 else np.concatenate([[0.8], 0.2 * rest / rest.sum()])
    crowd = shares**0.7
    counts = np.maximum(1, np.floor(members * crowd / crowd.sum())).astype(int)
    counts[0] += members - counts.sum()
    caps: list[_Cap] = []
    ends = {-1: 0.0, 1: 0.0}
    for i, (share, n) in enumerate(zip(shares, counts, strict=True)):
        ratio = 3.0 if i == 0 and count > 1 else 1.6
        a = float(np.sqrt(share * area_km2 * ratio / np.pi))
        side = 1 if i % 2 else -1
        x = 0.0 if i == 0 else side * (ends[side] + 1.15 * a)
        for s in (-1, 1) if i == 0 else (side,):
            ends[s] = abs(x) + 1.15 * a
        caps.append(_Cap(x, a, a / ratio, int(n), float((share / shares[0]) ** 0.15)))
    return caps


def _tiled(rng: np.random.Generator, cap: _Cap, step: float, zmax_m: float) -> list[Piece]:
    """The members of a cap: Voronoi cells of seeds that crowd towards the margin, so that sizes vary."""
    from scipy.spatial import cKDTree

    turn, spread = rng.uniform(0, 2 * np.pi, cap.members), 0.97 * rng.random(cap.members) ** 0.4
    seeds = np.column_stack([cap.x + cap.a * spread * np.cos(turn), cap.b * spread * np.sin(turn)])
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ellipse = Polygon(np.column_stack([cap.x + cap.a * np.cos(angle), cap.b * np.sin(angle)]))
    divides = []
    if cap.members > 1:
        divides = [
            shapely.voronoi_polygons(shapely.MultiPoint(seeds), extend_to=ellipse.buffer(cap.a), only_edges=True)
        ]
    cells = [cell for cell in _tessellated([ellipse.exterior, *divides], step) if ellipse.contains(_point(cell))]
    tree = cKDTree(seeds)
    owners = tree.query([shapely.get_coordinates(_point(cell))[0] for cell in cells])[1]
    ground = _even_points(ellipse, 150 * cap.members)
    ground_owners = tree.query(ground)[1]

    def height(xy: Floats) -> Floats:
        return 20.0 + (cap.height * zmax_m - 20.0) * np.sqrt(np.clip(1 - cap.radius(xy) ** 2, 0, 1))

    pieces = []
    for owner in range(cap.members):
        cell = _largest(cell for cell, o in zip(cells, owners, strict=True) if o == owner)
        vertices = shapely.get_coordinates(cell)
        centre = shapely.get_coordinates(cell.centroid)[0]
        lines = _cell_lines(cap, cell, vertices, centre, step)
        points = np.vstack([vertices, centre[None], ground[ground_owners == owner]])
        pieces.append(Piece(_with_nunatak(rng, cell, lines), lines, height(points)))
    return pieces


def _cell_lines(cap: _Cap, cell: Polygon, vertices: Floats, centre: Floats, step: float) -> tuple[LineString, ...]:
    """From near the vertex next to the summit to the one furthest out; cells are convex, straight lines stay inside."""
    radius = cap.radius(vertices)
    head = vertices[radius.argmin()] + 0.15 * (centre - vertices[radius.argmin()])
    main = LineString([head, vertices[radius.argmax()]])
    apart = shapely.distance(shapely.points(vertices), main)
    far = vertices[apart.argmax()] + 0.25 * (centre - vertices[apart.argmax()])
    side = [LineString([far, main.interpolate(0.6, normalized=True)])] if cell.area > 30 else []
    return _joined_lines(main, side, step)


def _with_nunatak(rng: np.random.Generator, cell: Polygon, lines: Sequence[LineString]) -> Polygon:
    """Every third larger cell has a rock island, where there is room between its lines and its margin."""
    radius = 0.05 * np.sqrt(cell.area)
    if cell.area > 25 and rng.random() < 0.33:
        for x, y in _random_points(rng, cell, 10):
            if shapely.distance([cell.exterior, *lines], shapely.Point(x, y)).min() > 2 * radius:
                return Polygon(cell.exterior, [_disc(x, y, radius).exterior])
    return cell


def _tessellated(lines: Sequence[Any], step: float) -> list[Polygon]:
    """The faces that lines enclose, with vertices at most `step` apart; faces side by side share their vertices."""
    noded = shapely.segmentize(shapely.union_all(lines), step)
    return list(shapely.get_parts(shapely.polygonize(shapely.get_parts(noded))))


def _largest(polygons: Iterable[Polygon]) -> Polygon:
    return max((p for p in polygons if p.geom_type == "Polygon"), key=lambda polygon: float(polygon.area))


def _point(polygon: Polygon) -> shapely.Point:
    return shapely.point_on_surface(polygon)


def _inside(polygon: Polygon) -> tuple[float, float]:
    point = _point(polygon)
    return point.x, point.y


def _even_points(polygon: Polygon, count: int) -> Floats:
    """About `count` points of a square lattice inside a polygon, shape (n, 2)."""
    west, south, east, north = polygon.bounds
    spacing = np.sqrt(polygon.area / count)
    x, y = np.meshgrid(np.arange(west + spacing / 2, east, spacing), np.arange(south + spacing / 2, north, spacing))
    shapely.prepare(polygon)
    inside = shapely.contains_xy(polygon, x, y)
    return np.column_stack([x[inside], y[inside]])


def _random_points(rng: np.random.Generator, polygon: Polygon, tries: int) -> Floats:
    """Those of `tries` random points in the box of a polygon that lie inside it, shape (n, 2)."""
    west, south, east, north = polygon.bounds
    points = rng.uniform((west, south), (east, north), (tries, 2))
    inside = shapely.contains_xy(polygon, points)
    return points[inside]


def _times(xy: Floats, matrix: Floats) -> Floats:
    """Matrix product by hand: BLAS may round a row differently from one machine to the next."""
    total = xy[:, :1] * matrix[0]
    for i in range(1, matrix.shape[0]):
        total = total + xy[:, i : i + 1] * matrix[i]
    return total


def _moved(geometries: Sequence[Any], move: Move) -> list[Any]:
    """Geometries with mapped coordinates. Each distinct coordinate is mapped once, so equal ones stay equal."""
    old = np.array(geometries, dtype=object)
    coordinates, where = np.unique(shapely.get_coordinates(old), axis=0, return_inverse=True)
    return list(shapely.set_coordinates(old.copy(), move(coordinates)[where.ravel()]))
