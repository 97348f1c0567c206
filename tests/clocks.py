"""A wall clock that is moved, for a program and all that it starts.

Clocks that measure spans are not moved, nor are the times of files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void) {
  long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_AHEAD"), "r");
  if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
  return seconds;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(now, zone);
  if (!result && now) now->tv_sec += ahead();
  return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (!result && clock == CLOCK_REALTIME) now->tv_sec += ahead();
  return result;
}

time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}
"""
"""A library for LD_PRELOAD. It moves the wall clock of a program by the seconds that a file holds."""
_AHEAD: Final = "CLOCK_AHEAD"
"""The environment variable with the path of a file that holds the seconds."""


def compiler() -> str | None:
    """Return the path of the C compiler that makes the library, or None."""
    return shutil.which("cc")


def ahead_of_all() -> int:
    """Return the seconds by which the clock of this process is moved; 0 for a process as others are."""
    path = os.environ.get(_AHEAD)
    return int(Path(path).read_text()) if path else 0


class MovedClock:
    """A clock that is ahead of the machine's by a number of seconds, which can be changed while programs run.

    Attributes:
        environment: The environment variables that give a program this clock.
    """

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        """Make the library in a folder.

        Args:
            folder: An existing folder, which stays as long as a program uses the clock.
            seconds: The seconds by which the clock is ahead at first; below 0 it is behind.

        Raises:
            FileNotFoundError: There is no C compiler.
            subprocess.CalledProcessError: The compiler failed.
        """
        library, source = folder / "clock.so", folder / "clock.c"
        self._file = folder / "ahead"
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), _AHEAD: str(self._file)}
        source.write_text(_SOURCE)
        subprocess.run([compiler() or "cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Let the clock be so many seconds ahead from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(round(seconds)))
        new.replace(self._file)
