"""The system's libbpf, through ctypes: nothing is compiled, and the hot path never comes here."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import os
import threading
from typing import TYPE_CHECKING, Any

from agentguard.core import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = ("libbpf.so.1",)
_BTF_KIND_FUNC = 12
_KEPT = 200  # lines of libbpf's own messages
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_P, _I, _U32, _U64, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p

# name -> (what it returns, what it takes)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bpf_object__open_mem": (_P, (_P, ctypes.c_size_t, _P)),
    "bpf_object__load": (_I, (_P,)),
    "bpf_object__close": (None, (_P,)),
    "bpf_object__next_map": (_P, (_P, _P)),
    "bpf_object__next_program": (_P, (_P, _P)),
    "bpf_map__name": (_S, (_P,)),
    "bpf_map__fd": (_I, (_P,)),
    "bpf_map__reuse_fd": (_I, (_P, _I)),
    "bpf_map__set_max_entries": (_I, (_P, _U32)),
    "bpf_map__set_initial_value": (_I, (_P, _P, ctypes.c_size_t)),
    "bpf_program__name": (_S, (_P,)),
    "bpf_program__fd": (_I, (_P,)),
    "bpf_program__attach": (_P, (_P,)),
    "bpf_program__attach_cgroup": (_P, (_P, _I)),
    "bpf_program__set_autoload": (_I, (_P, ctypes.c_bool)),
    "bpf_program__set_type": (_I, (_P, _I)),
    "bpf_program__set_expected_attach_type": (_I, (_P, _I)),
    "bpf_link__destroy": (_I, (_P,)),
    "bpf_link__pin": (_I, (_P, _S)),
    "bpf_obj_pin": (_I, (_I, _S)),
    "bpf_obj_get": (_I, (_S,)),
    "bpf_map_update_elem": (_I, (_I, _P, _P, _U64)),
    "bpf_map_lookup_elem": (_I, (_I, _P, _P)),
    "bpf_map_delete_elem": (_I, (_I, _P)),
    "bpf_map_get_next_key": (_I, (_I, _P, _P)),
    "bpf_map_lookup_batch": (_I, (_I, _P, _P, _P, _P, _P, _P)),
    "bpf_prog_load": (_I, (_I, _S, _S, _P, ctypes.c_size_t, _P)),
    "bpf_map_create": (_I, (_I, _S, _U32, _U32, _U32, _P)),
    "bpf_obj_get_info_by_fd": (_I, (_I, _P, _P)),
    "bpf_enable_stats": (_I, (_I,)),
    "libbpf_num_possible_cpus": (_I, ()),
    "libbpf_find_vmlinux_btf_id": (_I, (_S, _I)),
    "btf__load_vmlinux_btf": (_P, ()),
    "btf__find_by_name_kind": (_I, (_P, _S, _U32)),
    "btf__free": (None, (_P,)),
    "libbpf_set_print": (_P, (_PRINT,)),
    "libbpf_version_string": (_S, ()),
}


class Library:
    """libbpf's functions by name; a failing one raises. `messages` are what it said of late."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions: dict[str, Any] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        self.messages: list[str] = []
        self._lock = threading.Lock()
        self._format = ctypes.CDLL(None).vsnprintf
        self._format.argtypes = (_P, ctypes.c_size_t, _P, _P)
        # Kept, or the callback would be freed while libbpf holds it.
        self._print = _PRINT(self._keep)
        self._functions["libbpf_set_print"](self._print)

    def _keep(self, level: int, form: bytes, arguments: int) -> int:
        if level > 1:
            return 0
        buffer = ctypes.create_string_buffer(8192)
        self._format(buffer, len(buffer), form, arguments)
        with self._lock:
            self.messages.extend(buffer.value.decode(errors="replace").splitlines())
            del self.messages[:-_KEPT]
        return 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = self._functions[name]
        return function

    def call(self, name: str, *arguments: Any) -> int:
        """Call what returns a number; a negative one raises OSError."""
        number = int(self._functions[name](*arguments))
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number

    def knows_function(self, name: str) -> bool:
        """Tell whether the running kernel has a function of this name, as its BTF says."""
        types = self.pointer("btf__load_vmlinux_btf")
        try:
            return bool(self._functions["btf__find_by_name_kind"](types, name.encode(), _BTF_KIND_FUNC) > 0)
        finally:
            self._functions["btf__free"](types)

    def pointer(self, name: str, *arguments: Any) -> int:
        """Call what returns a pointer; null raises OSError with the errno that libbpf set."""
        pointer = self._functions[name](*arguments)
        if not pointer:
            number = ctypes.get_errno() or errno.EINVAL
            raise OSError(number, os.strerror(number))
        return int(pointer)


@functools.cache
def libbpf() -> Library:
    """Return the system's libbpf.

    Raises:
        KernelError: it is not installed (`libbpf_missing`).
    """
    for name in _NAMES:
        try:
            return Library(ctypes.CDLL(name, use_errno=True))
        except OSError:
            continue
        except AttributeError as error:
            raise KernelError(
                f"the system's libbpf is too old: {error}",
                code="libbpf_missing",
                hint="install libbpf 1.0 or newer",
            ) from None
    raise KernelError(
        "libbpf.so.1 is not installed",
        code="libbpf_missing",
        hint="on Debian and Ubuntu: apt-get install libbpf1",
    )
