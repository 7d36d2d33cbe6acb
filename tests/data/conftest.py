import pytest

pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def documents():
    """Sixty documents of unlike sizes, with no sentence twice."""
    return [
        [
            f"Doc {i} line {j} " + "so " * ((3 * i + j) % 9) + "end."
            for j in range(i % 7 + 1)
        ]
        for i in range(60)
    ]
