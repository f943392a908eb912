"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "d360b3141fa44121799035ae737d6dd9e9385d38823ea6c060b23ed5c70a4395"
