//! Who scripts run as.

use std::fs;

use tokio::process::Command;

/// A user of the system, by numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Who runs scripts instead of us: `nobody`, where we are root.
    pub(super) fn for_scripts() -> Option<Self> {
        // SAFETY: geteuid touches no memory.
        let is_root = unsafe { libc::geteuid() } == 0;
        is_root.then(|| Self::nobody(&fs::read_to_string("/etc/passwd").unwrap_or_default()))
    }

    /// Makes `command` run as this user.
    pub(super) fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// `nobody`, whom pywebsocket runs scripts as when it runs as root; unlike there, the group changes, too.
    fn nobody(passwd: &str) -> Self {
        // Negative on some systems; the kernel takes the same 32 bits.
        let number = |text: &str| text.parse().or_else(|_| text.parse().map(i32::cast_unsigned)).ok();
        let entry = passwd.lines().find_map(|line| {
            let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
            Some(Self { uid: number(fields.next()?)?, gid: number(fields.next()?)? })
        });
        entry.unwrap_or(Self { uid: 65534, gid: 65534 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody() {
        for (passwd, uid, gid) in [
            ("root:x:0:0::/:\nnobody:x:65534:65533:n:/:\n", 65534, 65533),
            ("nobody:*:-2:-2::/:\n", u32::MAX - 1, u32::MAX - 1),
            ("nobody:x:a:b\n", 65534, 65534),
            ("", 65534, 65534),
        ] {
            assert_eq!(User::nobody(passwd), User { uid, gid }, "{passwd}");
        }
    }
}
