//! Which places change without the system telling: what is mounted there has its files elsewhere.
//!
//! Asks the system, keeps nothing. Must not import anything of the crate.

use std::path::{Path, PathBuf};

/// Types of file systems whose files are changed by others than this system, which then makes no event. What begins
/// with one of these and a dot is among them (`fuse.sshfs`).
const SILENT: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "drvfs",
    "fakeowner",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "prl_fs",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "wslfs",
];

/// The file systems that are mounted at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// The type, if it is a silent one; `overlay on TYPE` for one that lies over such.
    silent: Option<String>,
}

impl Mounts {
    /// Those of now. None where the system does not tell: what is asked of it then is not silent.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn now() -> Self {
        std::fs::read("/proc/self/mountinfo").map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    /// None: here the system tells of what changes, or nobody knows better.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn now() -> Self {
        Self::default()
    }

    /// Where the file system is mounted that `path`, which has no links in it, lies on, and its type, if it is silent.
    #[must_use]
    pub fn silent(&self, path: &Path) -> Option<(&Path, &str)> {
        // Of several at one place the last one is seen.
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        let nearest = above.max_by_key(|mount| mount.point.as_os_str().len())?;
        Some((&nearest.point, nearest.silent.as_deref()?))
    }

    /// The places below `folder` where silent file systems are mounted.
    pub fn silent_below<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a Path> {
        let below = self.0.iter().map(|mount| mount.point.as_path());
        below.filter(move |point| {
            *point != folder && point.starts_with(folder) && self.silent(point).is_some()
        })
    }
}

#[cfg(any(target_os = "linux", test))]
impl Mounts {
    /// Reads what proc(5) calls mountinfo: number, parent, device, root, place, options, optional fields, `-`, type,
    /// source, options of the type.
    fn parse(text: &[u8]) -> Self {
        let mut mounts = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b' ');
            let Some(point) = fields.nth(4) else { continue };
            let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
            let (Some(kind), options) = (fields.next(), fields.nth(1).unwrap_or_default()) else { continue };
            let kind = String::from_utf8_lossy(kind);
            let silent = match &*kind {
                "overlay" => mounts.layer(options).map(|layer| format!("overlay on {layer}")),
                _ => is_silent(&kind).then(|| kind.into_owned()),
            };
            mounts.0.push(Mount { point: unescaped(point), silent });
        }
        mounts
    }

    /// The type of the silent file system of `path`.
    fn kind(&self, path: &Path) -> Option<&str> {
        self.silent(path).map(|(_, kind)| kind)
    }

    /// The type of a silent file system that one of an overlay's folders lies on, as far as they can be seen from here.
    fn layer(&self, options: &[u8]) -> Option<&str> {
        let named = options.split(|&byte| byte == b',').filter_map(|option| {
            let at = option.iter().position(|&byte| byte == b'=')?;
            matches!(&option[..at], b"lowerdir" | b"lowerdir+" | b"upperdir").then(|| &option[at + 1..])
        });
        named
            .flat_map(|folders| folders.split(|&byte| byte == b':'))
            .find_map(|folder| self.kind(&unescaped(folder)))
    }
}

#[cfg(any(target_os = "linux", test))]
fn is_silent(kind: &str) -> bool {
    SILENT.contains(&kind.split('.').next().unwrap_or(kind))
}

/// A path of mountinfo: spaces and the like are `\` and three octal digits.
#[cfg(any(target_os = "linux", test))]
fn unescaped(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;

    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                bytes.push(code);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = r"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/far rw shared:2 master:3 - fuse.sshfs me@there:/ rw,user_id=0
31 30 8:2 / /srv/far/near rw - xfs /dev/sdb rw
32 22 0:41 / /with\040space rw - nfs4 server:/x rw
33 22 0:42 / /over rw - overlay overlay rw,lowerdir=/lib:/srv/far/low,upperdir=/up,workdir=/w
34 22 0:43 / /plain rw - overlay overlay rw,lowerdir=/lib,upperdir=/up,workdir=/w
35 22 0:44 /a.py /h/a_wsh.py rw - 9p C: rw
36 22 0:45 / /twice rw - 9p x rw
37 36 0:46 / /twice rw - tmpfs x rw
";

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = Mounts::parse(MOUNTS.as_bytes());
        let table = [
            ("/", None),
            ("/srv", None),
            ("/srv/far", Some("fuse.sshfs")),
            ("/srv/far/a/b", Some("fuse.sshfs")),
            ("/srv/farther", None),
            ("/srv/far/near/x", None),
            ("/with space/x", Some("nfs4")),
            ("/over/x", Some("overlay on fuse.sshfs")),
            ("/plain/x", None),
            ("/h/a_wsh.py", Some("9p")),
            ("/h/b_wsh.py", None),
            ("/twice/x", None),
        ];
        for (path, silent) in table {
            assert_eq!(mounts.kind(Path::new(path)), silent, "{path}");
        }
        let below = |folder| mounts.silent_below(Path::new(folder)).map(Path::to_owned).collect::<Vec<_>>();
        assert_eq!(below("/srv"), [Path::new("/srv/far")]);
        assert_eq!(below("/h"), [Path::new("/h/a_wsh.py")]);
        assert_eq!(below("/srv/far"), [] as [&Path; 0]);
    }

    #[test]
    fn the_system_tells_what_is_mounted() {
        assert_eq!(Mounts::now().silent(Path::new("/proc")), None);
        assert!(!Mounts::now().0.is_empty());
    }
}
