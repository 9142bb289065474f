"""What a data plane carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bench.payload import COMMON, make_payload


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every kind of package."""
    found = dict.fromkeys(("common", "compute", "mixed"), 0)
    for path in (folder / "Packages").iterdir():
        found[path.name.split("-")[1]] += path.stat().st_size
    return found


def test_an_appliance_gets_what_the_cell_says(tmp_path: Path) -> None:
    make_payload(tmp_path, size=4_000_000, files=100, seed=1, is_mixed=False)
    assert sum(sizes(tmp_path).values()) == pytest.approx(4_000_000, rel=0.05)
    assert sizes(tmp_path)["mixed"] == 0
    assert len(list((tmp_path / "Packages").iterdir())) == 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_second_appliance_has_sixty_percent_of_the_first_and_as_much_of_its_own(tmp_path: Path, seed: int) -> None:
    make_payload(tmp_path, size=4_000_000, files=200, seed=seed, is_mixed=True)
    found = sizes(tmp_path)
    assert found["common"] / (found["common"] + found["compute"]) == pytest.approx(COMMON, abs=0.06)
    assert found["mixed"] == pytest.approx(found["compute"], rel=0.02)


def test_groups_name_every_package_once(tmp_path: Path) -> None:
    make_payload(tmp_path, size=1_000_000, files=20, seed=1, is_mixed=True)
    comps = (tmp_path / "comps.xml").read_text()
    for path in (tmp_path / "Packages").iterdir():
        assert comps.count(f">{path.name.removesuffix('-1-1.noarch.rpm')}<") == 1
