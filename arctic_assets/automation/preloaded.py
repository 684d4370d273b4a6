"""Libraries that a process of ours needs sooner or later, loaded when this module is imported.

`processes.context` names it to the fork server: what is started from there has them at once, instead of after 2 s of a
processor. Nothing of this package that does anything is among them: a process reads our modules as they are when it
starts. DuckDB is not either: at the end of a process that only loaded it, it complains of leaks.
"""

import gc
import importlib

import xarray

LIBRARIES = (
    "dagster",
    "dagster._cli.api",
    "dagster._core.storage.sqlite_storage",
    "filelock",
    "geopandas",
    "netCDF4",
    "numpy",
    "pandas",
    "pandera.backends.pandas.builtin_checks",
    "pandera.pandas",
    "psutil",
    "pyproj",
    "rasterio.features",
    "rasterio.warp",
    "requests",
    "scipy.sparse",
    "shapely",
    "upath",
    "yaml",
)

for _name in LIBRARIES:
    importlib.import_module(_name)
xarray.backends.list_engines()  # looks through all that is installed, and remembers
gc.collect()
gc.freeze()  # the pages of what is loaded stay shared, and collections do not look at it again
