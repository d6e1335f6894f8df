//! Request heads and targets.

#[path = "../../../src/http/error_page.rs"]
mod error_page;
#[path = "../../../src/http/fields.rs"]
mod fields;
#[path = "../../../src/http/framing.rs"]
mod framing;
#[path = "../../../src/http/head.rs"]
mod head;
#[path = "../../../src/http/target.rs"]
mod target;

pub use error_page::*;
pub use framing::*;
pub use head::*;
pub use target::*;
