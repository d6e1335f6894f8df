//! The `wshost` binary.

use std::process::exit;

fn main() {
    let code = wshost::program::run(std::env::args_os().collect(), wshost::bridge::interpreter::start);
    // Handler threads that still run end with the process; Python is not finalized under them.
    exit(code.into());
}
