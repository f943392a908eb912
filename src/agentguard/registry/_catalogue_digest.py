"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "4ff8c4126e03a20946ad71b94d5141a7f579e45dc3e1d4b14f3c4b4acc8dae3c"
