"""Types for handlers, so that editors complete and type checkers check: `from wshost.typing import Request`.

```
from wshost.typing import Request

def web_socket_transfer_data(request: Request) -> None:
    request.ws_stream.send_message("hello")
```
"""

from wshost._native import Connection, ExtensionParameter, Request, Stream

__all__ = ["Connection", "ExtensionParameter", "Request", "Stream"]
