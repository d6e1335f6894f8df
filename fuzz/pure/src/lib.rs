//! The pure modules of wshost, under the paths that they have in it. Nothing is here but where they lie.

pub mod cli;
pub mod handlers;
pub mod http;
#[expect(dead_code, reason = "forks are the business of the whole crate")]
#[path = "../../../src/per_process.rs"]
pub mod per_process;
#[expect(dead_code, reason = "forks are the business of the whole crate")]
#[path = "../../../src/websocket/mod.rs"]
pub mod websocket;
