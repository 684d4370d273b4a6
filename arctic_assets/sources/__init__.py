"""One module per provider: where it is, how to ask, how to verify and open what came."""
