"""What is imported at a start is looked through by no garbage collection, and everything else is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.host_events import Recording, settings, write_model

from reactor_runtime.importing import importing, importing_what_others_wrote
from reactor_runtime.worker.parent import ProcessHost

MODEL = """
import gc
from reactor_runtime import VideoModel

class Model(VideoModel):
    def __init__(self):
        print("collects", gc.isenabled(), "frozen", gc.get_freeze_count())

    def start_session(self): ...
"""


class Knot:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
def test_what_a_block_made_is_never_looked_at_and_what_comes_after_it_is_collected() -> None:
    with importing():
        assert not gc.isenabled()
        stays = weakref.ref(Knot())
    goes = weakref.ref(Knot())
    gc.collect()
    assert stays() is not None
    assert goes() is None


@pytest.mark.usefixtures("frozen")
def test_what_an_author_s_import_leaves_as_garbage_goes_and_what_it_keeps_is_never_looked_at() -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    with importing_what_others_wrote():
        assert not gc.isenabled()
        goes, kept = weakref.ref(Knot()), [Knot() for _ in range(100)]
    assert goes() is None
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


@pytest.mark.usefixtures("frozen")
def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.slow
async def test_a_model_process_collects_what_its_author_makes_and_nothing_of_the_runtime(
    tmp_path: Path,
) -> None:
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, MODEL), {}, settings())
    await host.load()
    await events.until(lambda: "frozen" in events.text)
    await host.close()
    _, _, told = events.text.partition("collects ")
    collects, _, frozen = told.split()[:3]
    assert collects == "True"
    assert int(frozen) > 10_000
