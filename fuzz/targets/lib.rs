//! What the fuzz targets assert, one module each: `run` takes any bytes and panics when a promise is broken.
//!
//! Used twice: by the programs of `fuzz_targets/`, and by `tests/rust/fuzz_seeds.rs`, which replays the seeds.

pub mod config;
pub mod extensions;
pub mod frame;
pub mod handshake;
pub mod head;
pub mod inflate;
mod input;
pub mod map;
pub mod message;

/// A name and its `run`.
type Target = (&'static str, fn(&[u8]));

/// Each target under its name, which its folder of seeds has, too.
pub const ALL: [Target; 8] = [
    ("config", config::run),
    ("extensions", extensions::run),
    ("frame", frame::run),
    ("handshake", handshake::run),
    ("head", head::run),
    ("inflate", inflate::run),
    ("map", map::run),
    ("message", message::run),
];
