"""What tests of the client share."""

import pytest


@pytest.fixture(params=range(4))
def first(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The member that clients designate; it, and the one after it where two are needed, are asked first."""
    member: int = request.param
    monkeypatch.setattr("tetrarch.client.links.random.randrange", lambda _: member)
    return member
