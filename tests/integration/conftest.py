"""An account's desk, for tests of its runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge_proxy import EdgeProxy
from tests.integration.account_desk import Desk
from tests.sandbox_server import SandboxProcess


@pytest.fixture
def desk() -> Iterator[Desk]:
    with SandboxProcess() as edge, EdgeProxy(edge.origin) as proxy:
        # Many runs in one moment: no sweep of them is to be held back by the budget, which has tests of its own.
        edge.switch(rate_limit_on=False, rate_limit=1_000_000)
        yield Desk(edge, proxy)
