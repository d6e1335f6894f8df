"""What goes wrong on a stream, by what the peer is told."""


class ConnectionTerminatedException(Exception):
    """The peer is gone, or closed the connection against the rules. Nothing is sent."""


class InvalidFrameException(ConnectionTerminatedException):
    """The peer sent a frame that breaks the protocol. Close code 1002."""


class BadOperationException(Exception):
    """A call that the state of the connection forbids, such as sending after closing. Close code 1011."""


class UnsupportedFrameException(Exception):
    """A frame with bits or an opcode that nobody negotiated; later frames can be read. Close code 1003."""


class InvalidUTF8Exception(Exception):
    """A text message that is not UTF-8. Close code 1007."""


class MessageTooBigException(InvalidFrameException):
    """A message above the server's size limit (wshost's own). Close code 1009."""
