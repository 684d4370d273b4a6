"""The SYNTHETIC mirror: small files in the providers' formats, with known answers."""
