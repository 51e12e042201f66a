"""A figure is asserted as promised where the machine is quiet, and with room where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import crowd as crowds
from support.crowd import Crowd


@pytest.mark.parametrize(("waited_us", "adds_s"), [(0, 0.0), (10_000_000, 0.25), (None, 0.25)])
def test_only_a_crowded_machine_is_given_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited_us: int | None, adds_s: float
) -> None:
    monkeypatch.setattr(crowds, "NIGHTLY", False)
    monkeypatch.setattr(crowds, "BESIDE_OTHERS", False)
    pressure = tmp_path / "cpu"
    line = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 total=0\n"
    if waited_us is not None:
        pressure.write_text(line.format(5_000))
    crowd = Crowd(pressure)
    if waited_us is not None:
        pressure.write_text(line.format(5_000 + waited_us))
    assert crowd.adds_s(0.25) == adds_s
    monkeypatch.setattr(crowds, "BESIDE_OTHERS", True)
    assert crowd.adds_s(0.25) == 0.25
    monkeypatch.setattr(crowds, "NIGHTLY", True)
    assert crowd.adds_s(0.25) == 0.0
