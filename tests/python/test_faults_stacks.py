"""Handlers that run on a stack of their own, as coroutines of C extensions do."""

import os
from pathlib import Path

import pytest
from serving import Start, handler, wait_until, write
from test_memory import is_resting, place_of

# glibc switches stacks itself: no extension is needed. The stack lies above the thread's:
# from the end of the thread's up to it lies all that the thread lives on.
ELSEWHERE = """
import ctypes, mmap, re

libc = ctypes.PyDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
SIZE = 4 << 20


class Context(ctypes.Structure):
    # The beginning of ucontext_t on 64-bit Linux, and room for the rest.
    _fields_ = [
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_size", ctypes.c_size_t),
        ("rest", ctypes.c_char * 8192),
    ]


def on_another_stack(function):
    maps = open("/proc/self/maps").read()
    main = int(re.search(r"([0-9a-f]+)-[0-9a-f]+ .*\\[stack]", maps).group(1), 16)
    own = int(open("/proc/thread-self/syscall").read().split()[-2], 16)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    place = libc.mmap(main - (1 << 28), SIZE, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    assert place > own, (hex(place), hex(own))
    back, there = Context(), Context()
    assert libc.getcontext(ctypes.byref(there)) == 0
    there.link, there.stack, there.stack_size = ctypes.addressof(back), place, SIZE
    begin = ctypes.PYFUNCTYPE(None)(function)
    libc.makecontext(ctypes.byref(there), begin, 0)
    assert libc.swapcontext(ctypes.byref(back), ctypes.byref(there)) == 0
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="ucontext_t of another layout")
def test_a_message_received_on_another_stack(start: Start, tmp_path: Path, way: str) -> None:
    body = """
    stream = request.ws_stream

    def echo():
        while (message := stream.receive_message()) != "enough":
            stream.send_message(message)

    on_another_stack(echo)
    stream.send_message("back")
    """
    write(tmp_path, "a_wsh.py", handler(body, before=ELSEWHERE))
    server = start(way=way)
    if all(place_of(os.getpid(), thread) == "0" for thread in os.listdir("/proc/self/task")):
        pytest.skip("the kernel does not tell where threads wait (/proc/PID/task/TID/wchan)")
    with server.raw("/a") as client:
        for message in (b"first", b"second"):
            client.send(1, message)
            assert client.frame().payload == message
            wait_until(lambda: is_resting(server), "a thread that waits for long")
        client.send(1, b"enough")
        assert client.frame().payload == b"back"
