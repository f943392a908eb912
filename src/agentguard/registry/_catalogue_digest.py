"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "50881d54db7b775ddc40479ab611cbb9305fc13a1a8da9d6cb67c1f3c9afaa7f"
