"""Asset checks: those built from `tables` (`of_tables`), those that compare variables (`across`), and whether exports
are made from the tables as they are (`of_exports`).

The gate is the write: the warehouse refuses rows that break their model. Checks are the visible evidence. Each is
unpartitioned, looks at the whole table, and carries the exact number of rows checked and failed, at most 20 of the
failing rows, and what to do.
"""
