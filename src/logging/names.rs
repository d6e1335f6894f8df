//! Loggers of ours that others name.

/// The logger of what concerns the whole server (pywebsocket's name).
pub const LOG_SERVER: &str = "pywebsocket3.websocket_server.WebSocketServer";
/// The logger of what concerns one request (pywebsocket's name).
pub const LOG_REQUEST: &str = "pywebsocket3.request_handler.WebSocketRequestHandler";
