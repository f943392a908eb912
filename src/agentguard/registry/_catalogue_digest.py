"""Written by catalogue/compile.py: the digest of catalogue.json."""

CATALOGUE_SHA256 = "9df5ccb4a2a9a8087d084bbc787025a0dc4d78dc6df1deddd901e664f08ff641"
