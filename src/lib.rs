//! wshost: a WebSocket server that runs pywebsocket handlers (`*_wsh.py`) unchanged, with hot reload.
//!
//! # Layout
//!
//! - [`cli`] – the command line → [`config::Config`]
//! - [`config`] – plain data, each field with its default and why
//! - [`error`] – what stops the start
//! - [`logging`] – `tracing`, in pywebsocket's line format
//! - [`shutdown`] – signals and the end of the process
//! - [`server`] – async: listeners and a connection up to the hand-over to its handler
//! - [`http`] – request heads, error pages, files
//! - [`websocket`] – pure: handshake, header grammar, frames, messages, deflate, close codes
//! - [`handlers`] – which file serves which resource: registry, watcher, reload
//! - [`bridge`] – the only module that names PyO3: interpreter, loader, handler threads, the Python objects

pub mod bridge;
pub mod cli;
pub mod config;
pub mod error;
pub mod handlers;
pub mod http;
pub mod logging;
pub mod server;
pub mod shutdown;
pub mod websocket;
