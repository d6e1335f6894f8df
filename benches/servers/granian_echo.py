"""The echo application for granian's RSGI interface: `granian --interface rsgi granian_echo:app`."""

from typing import Any


async def app(scope: Any, protocol: Any) -> None:
    """Sends each message back."""
    transport = await protocol.accept()
    while True:
        message = await transport.receive()
        if message.kind == 0:
            return
        if message.kind == 1:
            await transport.send_bytes(message.data)
        else:
            await transport.send_str(message.data)
