//! What differs from one operating system to the next. Only this folder names one.
//!
//! - `descriptors` – what a descriptor has open, and opening below a folder
//! - `file_systems` – which places change without the system telling
//! - `memory` – a thread's stack, and giving memory back
//! - `sockets` – flags of single calls, and what the system knows of a connection
//! - `wait` – waiting for a number to change, and what a signal handler must keep
//!
//! Asks the system, keeps nothing. Must not import anything of the crate.

mod descriptors;
mod file_systems;
mod memory;
mod sockets;
mod wait;

pub use descriptors::{open_again, open_beneath, real_path, replace};
pub use file_systems::Mounts;
pub use memory::{give_back_freed, give_back_pages, own_stack, page_size};
pub use sockets::{MORE_TO_COME, NO_SIGNAL, NO_WAIT, unsent_bytes};
pub use wait::{keeping_errno, wait_while, wake_all};
