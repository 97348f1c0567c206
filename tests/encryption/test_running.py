"""A worker that runs while the file of its key ring changes."""

from __future__ import annotations

import time
from pathlib import Path

import attrs
import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.bots import fruit_bot, member_document
from vimbiso_fsm import EncryptedState, Encryption, FlowStateManager, KeyRing
from vimbiso_fsm.encryption.keys import KeyFile
from vimbiso_fsm.store.memory import MemoryStore

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
BOTH = KeyRing({"two": TWO, "one": ONE})


@pytest.mark.parametrize("follows", [True, False], ids=["follows", "broken"])
def test_a_running_worker_takes_up_the_new_ring(follows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What another process has encrypted with a new key is read by a worker that runs, as its file changes.

    With a ring that does not look at its file, the worker is stopped by the key that it does not have.
    """
    path, store = tmp_path / "keys", MemoryStore(time.time)
    path.write_text(f"one:{ONE.hex()}")
    with (
        FlowStateManager(fruit_bot(), store, encryption=Encryption(KeyFile(path)), rates=None) as worker,
        FlowStateManager(fruit_bot(), store, encryption=Encryption(BOTH), rates=None) as other,
    ):
        worker.save(member_document())
        worker.wake("m-1")
        path.write_text(f"two:{TWO.hex()}\none:{ONE.hex()}")
        other.update("m-1", lambda document: attrs.evolve(document, profile={"name": "Ada"}))
        if follows:
            worker.wake("m-1")
            document = worker.state("m-1")
            assert document is not None
            assert document.profile == {"name": "Ada"}
        else:
            monkeypatch.setattr(KeyFile, "look", lambda ring: ring._ring)
            with pytest.raises(EncryptedState):
                worker.wake("m-1")
