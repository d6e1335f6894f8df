//! What handlers see, under pywebsocket3's names.
//!
//! - [`request`], [`connection`], [`stream`] (with [`stream_options`]), [`frames`], `frame_reading`, [`util`],
//!   [`header_util`]
//! - [`handshake`] and [`handshake_checks`] – the opening handshake; [`extensions`], [`extension_parameters`] and
//!   [`deflate_framer`] – what it negotiates; `deflation` – the state behind that
//! - `payload` – a message from the socket into the object that the handler gets

pub mod connection;
pub mod deflate_framer;
mod deflation;
pub mod extension_parameters;
pub mod extensions;
pub(crate) mod frame_reading;
pub mod frames;
pub mod handshake;
pub mod handshake_checks;
pub mod header_util;
mod payload;
pub mod request;
pub mod stream;
pub mod stream_options;
pub mod util;
