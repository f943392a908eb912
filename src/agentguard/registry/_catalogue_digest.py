"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "37517e5f3dc66819f61f5a7bb8ace1921282415f10551d2defa5c3eb0985b570"
