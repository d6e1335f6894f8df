//! The pure modules of wshost, under the paths that they have in it. Nothing is here but where they lie.

pub mod cli;
pub mod handlers;
pub mod http;
#[path = "../../../src/per_process.rs"]
pub mod per_process;
#[path = "../../../src/websocket/mod.rs"]
pub mod websocket;
