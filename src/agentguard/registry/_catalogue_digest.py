"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "8d5cd4176b5f36906e38c74f45d3c3b159a30199a3ffeb62ef327ab4af556de0"
