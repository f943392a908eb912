from __future__ import annotations

import pytest

from audit_doubles import Ed25519Signer, SetClock


@pytest.fixture
def signer() -> Ed25519Signer:
    return Ed25519Signer()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()
