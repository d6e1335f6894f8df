"""The echo server of `websockets` on asyncio: `websockets_echo.py PORT`."""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    """Sends each message back."""
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serves until the process is ended."""
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), backlog=1024, max_size=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
