"""An event loop on a thread of its own, so that calls from any thread and any loop share its connections."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
STOP_S = 2.0


class LoopThread:
    """Runs coroutines on a daemon thread that starts with the first of them.

    After a fork the child has neither the thread nor, for its own use, the parent's connections: it begins
    again. `on_stop` runs on the loop before it ends, `on_fork` in a child.
    """

    def __init__(
        self, *, on_stop: Callable[[], Coroutine[Any, Any, None]], on_fork: Callable[[], object]
    ) -> None:
        self._on_stop = on_stop
        self._on_fork = on_fork
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        _ALIVE.add(self)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine on the loop.

        Raises:
            RuntimeError: the loop was stopped.
        """
        with self._lock:
            if self._is_stopped:
                coroutine.close()
                raise RuntimeError("the loop was stopped")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="agentguard-remote", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self) -> None:
        """Cancel what runs, close the loop and wait for its thread. Idempotent."""
        with self._lock:
            self._is_stopped = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is not None:
                asyncio.run_coroutine_threadsafe(_stop(self._on_stop), loop)
        # A garbage collection on the loop's own thread may be what brings us here.
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_S)

    def forget(self) -> None:
        """In a forked child: leave the parent's loop and sockets as they are, and begin again."""
        if self._loop is not None:
            # To close them would speak on connections that the parent still uses, and take them out of the
            # epoll set that it shares with us; so they must not be collected either.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._loop))
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._on_fork()))
        else:
            self._on_fork()
        self._lock = threading.Lock()
        self._loop = self._thread = None


_ALIVE: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _forget_all() -> None:
    for each in list(_ALIVE):
        each.forget()


os.register_at_fork(after_in_child=_forget_all)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _stop(on_stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    try:
        await on_stop()
    finally:
        asyncio.get_running_loop().stop()
