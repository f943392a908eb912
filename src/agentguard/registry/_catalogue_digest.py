"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "23f1fd804c594ce63f0e4ca17358cc2e170d533985fb1f30c7f3bbc706c3403c"
