"""Software-defined assets: wiring only. Formulas are in `science`, columns in `tables`, quirks in `sources`."""
