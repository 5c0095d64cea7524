"""A place outside the repository that has only the wheel."""

import pytest

from support.wheel import Outside


@pytest.fixture(scope="session")
def outside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    wheel = request.config.getoption("wheel")
    return Outside(tmp_path_factory.mktemp("outside"), wheel and wheel.resolve())
