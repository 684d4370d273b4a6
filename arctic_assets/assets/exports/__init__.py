"""Assets that publish: workbook, Parquet tables, coverage."""
