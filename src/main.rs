//! The `wshost` binary.

use std::process::exit;

use wshost::shutdown;

fn main() {
    shutdown::ignore_failed_writes();
    let code =
        wshost::program::run(std::env::args_os().collect(), wshost::bridge::python::interpreter::start);
    shutdown::exit_in_time(code.into());
    // Handler threads that still run end with the process; Python is not finalized under them.
    exit(code.into());
}
