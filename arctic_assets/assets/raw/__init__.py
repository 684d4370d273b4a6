"""Assets that fetch and archive providers' files, one module per provider."""
