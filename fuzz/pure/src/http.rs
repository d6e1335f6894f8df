//! Request heads and targets.

#[path = "../../../src/http/error_page.rs"]
pub mod error_page;
#[path = "../../../src/http/fields.rs"]
mod fields;
#[path = "../../../src/http/framing.rs"]
pub mod framing;
#[path = "../../../src/http/head.rs"]
pub mod head;
#[path = "../../../src/http/target.rs"]
pub mod target;
