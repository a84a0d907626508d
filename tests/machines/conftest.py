"""What tests in the laboratory share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.replicas import Deployed, deployed, require_laboratory


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Deployed]:
    """Four replicas in hosts of their own; the test is in the clients' host."""
    require_laboratory()
    with deployed(tmp_path / "net") as found:
        yield found
