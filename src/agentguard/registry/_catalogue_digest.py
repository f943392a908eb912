"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "8ebdb6e875906944beb2c44953832cc889ff4495899c4f99463493ff5c41afd9"
