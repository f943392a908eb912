"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "effc9d7572634690824284bad6d4c2c0464a987470e5a6e0b8aa68b777f24676"
