"""That each measurement runs to its end. What it measures here says nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("what", ["intake", "pipeline", "planning", "backtest"])
def test_a_measurement_tells_its_figures(what: str) -> None:
    assert len(_lines("bench", "--quick", what)) > 2


def test_every_page_and_its_regions_are_measured_on_a_store_that_is_kept(tmp_path: Path) -> None:
    told = _lines("bench.dashboard", "--orders", "200", "--times", "1", "--data", str(tmp_path))
    assert [line for line in told if "/orders?window=open #" in line]
    assert (tmp_path / "orders-200.db").exists()


def _lines(module: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
