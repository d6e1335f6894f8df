//! The signals that would end the process when a write fails.

use super::signals;

/// What [`ignore_failed_writes`] ignores.
const FAILED_WRITES: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Ignores what would end the process when a write fails: nobody reads a pipe any more (SIGPIPE), or a file has
/// reached the limit on sizes (SIGXFSZ). The write's error is enough. Python does the same where it is the program; to be
/// called before it starts, so that it knows.
pub fn ignore_failed_writes() {
    for number in FAILED_WRITES {
        // They are signals that may be ignored.
        let _ = signals::ignore(number);
    }
}

/// The program that `command` starts gets those signals as programs expect them, as with Python's `subprocess`. What is
/// handled becomes the default by itself; what is ignored would stay so.
pub fn restore_for_program(command: &mut tokio::process::Command) {
    let restore = || {
        for number in FAILED_WRITES {
            // SAFETY: changes what the signal does in the child, which runs nothing else.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: in the child, `restore` calls `signal` only, which may be called there.
    unsafe { command.pre_exec(restore) };
}
