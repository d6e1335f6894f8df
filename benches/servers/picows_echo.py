"""The echo server of `picows` on uvloop: `picows_echo.py PORT`."""

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    """Sends each frame back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answers close frames, and all others with themselves."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


async def main() -> None:
    """Serves until the process is ended."""

    def listener(request: WSUpgradeRequest) -> WSListener:
        return Echo()

    server = await ws_create_server(
        listener, "127.0.0.1", int(sys.argv[1]), max_frame_size=1 << 24, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())
