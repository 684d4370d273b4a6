"""Libraries that a process of ours needs sooner or later, loaded when this module is imported.

`workers.context` names it to multiprocessing's fork server: what is started from there has them at once, instead of
after 2 s of a processor. Nothing of this package is among them: an edited module is read when a process starts.
"""

import gc

gc.collect()
gc.freeze()  # the pages of what is loaded stay shared, and collections do not look at it again
