"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "18128bf83861ba2049bd12b0214384e9959e459228f9068c98ef4e18f947400a"
