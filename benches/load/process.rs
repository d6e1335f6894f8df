//! What `/proc` says of a server: CPU time and memory of a process and its children.

use std::fs;

/// CPU seconds that the process, its threads and its children took so far, those that have ended included.
pub fn cpu_seconds(pid: u32) -> f64 {
    family(pid).into_iter().map(own_ticks).sum::<f64>() / ticks_per_second()
}

/// Resident memory of the process and its children in bytes.
pub fn resident_bytes(pid: u32) -> f64 {
    family(pid).into_iter().map(own_resident_kib).sum::<f64>() * 1024.0
}

fn ticks_per_second() -> f64 {
    // SAFETY: asks for a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    i32::try_from(ticks).map_or(100.0, f64::from)
}

/// The process and everything below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

/// User and system time, with that of children that were waited for (`proc_pid_stat(5)`, fields 14 to 17).
fn own_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field, the name in parentheses, may have spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum()
}

fn own_resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
