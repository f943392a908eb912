"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "e3af6a07266080fce4c46c6d36b3a6453bdc31101dbfa80e34dda4de33e8aba9"
