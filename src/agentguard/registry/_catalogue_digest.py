"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "1714d9a6f0e0e3a7978fa90ac51b4ea81518fa71572da108ccdbf731ebdb12a5"
