"""Print what becomes of the same small bot in several libraries: `python -m tests.peers [NAME…] [--python PATH]`.

Needs the program redis-server. A library that is not installed is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.engines import redis_program, running
from tests.peers.trials import PEERS, Trial


def main() -> None:
    """Run the trials, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the libraries")
    given = parser.parse_args()
    for name in given.names or PEERS:
        peer = PEERS[name]
        python = sys.executable if name == "vimbiso" else given.python
        lacks = subprocess.run([python, "-c", f"import {peer.needs}"], capture_output=True, check=False).returncode
        if lacks:
            print(f"{peer.title}: {peer.needs} is not installed")
            continue
        with running(redis_program()) as server, tempfile.TemporaryDirectory() as folder:
            found = Trial(peer, server.url, Path(folder), python).run()
        print(peer.title)
        for trial, seen in found.items():
            then = f"; then {seen.next!r}" if seen.next else ""
            print(f"  {trial:<10} payments {seen.payments}   {' | '.join(seen.replies) or '(no reply)'}{then}")


if __name__ == "__main__":
    main()
