"""The package's front door: what `import vimbiso_fsm` loads and which names it offers."""

from __future__ import annotations

import subprocess
import sys

import vimbiso_fsm


def test_importing_loads_neither_redis_nor_asyncio():
    """`import vimbiso_fsm` is cheap and needs no server's client."""
    code = "import sys, vimbiso_fsm; print(sorted({'redis', 'asyncio', 'hiredis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    """Every name of `__all__` can be imported, and none is listed twice."""
    assert all(hasattr(vimbiso_fsm, name) for name in vimbiso_fsm.__all__)
    assert sorted(vimbiso_fsm.__all__) == sorted(set(vimbiso_fsm.__all__))
