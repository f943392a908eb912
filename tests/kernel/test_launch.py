"""A launched program, told by its own process and not by the command line."""

from __future__ import annotations

import threading
import time

from agentguard.kernel._launch import Child


def test_end_that_another_thread_heard_of_is_seen() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    # It blocks no signal: what is sent to the process while nobody waits is its own.
    other.start()
    try:
        child = Child(["/bin/sh", "-c", "exit 3"])
        child.go()
        time.sleep(0.2)
        assert child.wait() == 3
    finally:
        over.set()
        other.join()
