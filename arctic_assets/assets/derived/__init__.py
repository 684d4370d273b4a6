"""Assets that compute the tables of the schema `derived`, one module per variable."""
