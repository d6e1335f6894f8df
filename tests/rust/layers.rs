//! The direction of the layers (docs/design.md): who may name whom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of `src/` may name with `crate::`; `error`, `config`, `deadline`, `per_process` and `platform` are open to all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("lib", &["bridge", "cli", "embed", "forks", "program", "shutdown"]),
    (
        "embed",
        &[
            "bridge",
            "descriptors",
            "handlers",
            "http",
            "locks",
            "logging",
            "panics",
            "server",
            "shutdown",
            "wire",
        ],
    ),
    ("forks", &["bridge", "handlers", "logging", "shutdown", "status", "websocket", "wire", "writer"]),
    ("patience", &[]),
    ("per_process", &[]),
    ("platform", &[]),
    ("descriptors", &[]),
    (
        "program",
        &[
            "bridge",
            "check",
            "cli",
            "descriptors",
            "handlers",
            "logging",
            "panics",
            "probe",
            "python_files",
            "replay",
            "scaffold",
            "server",
            "shutdown",
            "status",
            "wire",
        ],
    ),
    ("check", &["bridge", "cli", "handlers", "logging"]),
    ("replay", &["cli"]),
    ("probe", &["cli", "logging", "replay"]),
    ("scaffold", &[]),
    ("children", &[]),
    ("cli", &[]),
    ("python_files", &[]),
    ("config", &[]),
    ("deadline", &[]),
    ("error", &["descriptors"]),
    ("logging", &["per_process", "writer"]),
    ("panics", &["logging"]),
    ("writer", &["per_process"]),
    ("shutdown", &["children", "logging"]),
    (
        "server",
        &[
            "children",
            "descriptors",
            "handover",
            "http",
            "logging",
            "patience",
            "shutdown",
            "status",
            "trace",
        ],
    ),
    ("trace", &["logging", "writer"]),
    ("status", &["handlers", "logging", "patience"]),
    ("http", &[]),
    ("websocket", &[]),
];

/// The same for the two parts that stand between the server and Python.
const MAY_USE_BETWEEN: &[(&str, &[&str])] = &[
    ("handover", &["http", "trace"]),
    ("handlers", &["handover", "http", "panics"]),
    (
        "bridge",
        &[
            "descriptors",
            "handlers",
            "handover",
            "http",
            "locks",
            "logging",
            "python_files",
            "shutdown",
            "threads",
            "websocket",
            "wire",
        ],
    ),
    ("locks", &[]),
    ("threads", &["logging"]),
    ("wire", &["handlers", "handover", "locks", "logging", "threads", "trace", "websocket"]),
];

/// Names of what only some systems have.
const ONLY_SOME_HAVE: &[&str] = &[
    "\"/proc/",
    "MADV_",
    "MSG_DONTWAIT",
    "MSG_MORE",
    "MSG_NOSIGNAL",
    "TIOCOUTQ",
    "__errno_location",
    "dup3",
    "epoll",
    "futex",
    "getattr_np",
    "malloc_trim",
    "openat2",
    "target_env",
    "target_os",
];

/// The rooms of `bridge`. Each may name those that come after it.
const ROOMS_OF_BRIDGE: [&str; 4] = ["run", "load", "api", "python"];

pub fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src/") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of `src/` that a file belongs to: its folder, or its own name.
fn part_of(source: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(source).expect("below src/");
    let first = relative.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The names behind `crate::` in code, comments left out.
fn named_parts(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>());
    let mut parts = Vec::new();
    for name in names {
        if let Some(group) = name.strip_prefix('{') {
            let inside = group.split('}').next().unwrap_or_default();
            parts.extend(
                inside.split(',').map(|part| part.split("::").next().unwrap_or_default().trim().to_owned()),
            );
        } else {
            parts.push(
                name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned(),
            );
        }
    }
    parts
}

/// A comparison that ends at the first difference tells a patient client a secret byte by byte. No test can see that
/// in the time it takes, so the source is looked at.
#[test]
fn secrets_are_compared_in_constant_time_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config.rs");
    let text = fs::read_to_string(source).expect("UTF-8");
    let begins =
        text.find("#[derive(Clone)]\npub struct Secret(String);").expect("a struct that cannot be compared");
    let ends = text.find("impl fmt::Debug for Secret").expect("its last part");
    let secret = &text[begins..ends];
    assert!(secret.contains("self.0.as_bytes().ct_eq(given.as_bytes()).into()"), "{secret}");
    assert_eq!(secret.matches("self").count(), 2, "nothing else may look at the text:\n{secret}");
    assert!(!text.contains("PartialEq for Secret") && !text.contains("Deref for Secret"));
}

/// Where Python may be called, locks are those that are checked for being held then. The gate is the one exception.
#[test]
fn locks_beside_python_are_checked_ones() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("embed.rs")];
    source_files(&source.join("bridge"), &mut files);
    let unchecked = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("UTF-8");
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let names = |word: &str| code.iter().any(|line| line.contains(word));
        names("pyo3") && (names("Mutex") || names("RwLock")) && !file.ends_with("bridge/python/detach.rs")
    };
    files.retain(unchecked);
    assert!(files.is_empty(), "use locks::Lock: {files:?}");
}

/// A time that somebody has chosen may be too long to be added to a clock, which panics: `deadline` looks after that.
#[test]
fn only_constants_are_added_to_clocks() {
    let mut files = Vec::new();
    source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.retain(|file| !file.ends_with("deadline.rs") && !file.ends_with("tests.rs"));
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        for line in text.lines() {
            let summand = line.split("now() + ").nth(1).and_then(|rest| rest.chars().next());
            let is_constant = summand.is_none_or(|first| first.is_uppercase() || first.is_ascii_digit());
            if !is_constant || line.contains("::from_secs_f") || line.contains("::seconds_f64(") {
                broken.push(format!("{}: {}", file.display(), line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "use deadline::after and deadline::seconds:\n{}", broken.join("\n"));
}

/// What only some systems have has its place in `platform`, and tests may name it.
#[test]
fn one_folder_names_an_operating_system() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&source, &mut files);
    files.retain(|file| part_of(&source, file) != "platform" && !file.ends_with("tests.rs"));
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let names = |name: &&str| line.contains(*name);
            broken.extend(
                ONLY_SOME_HAVE
                    .iter()
                    .filter(|name| names(name))
                    .map(|name| format!("{}: {name}", file.display())),
            );
        }
    }
    assert!(broken.is_empty(), "give it a name in src/platform:\n{}", broken.join("\n"));
}

#[test]
fn each_room_of_bridge_names_only_those_after_it() {
    let bridge = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bridge");
    let place = |room: &str| ROOMS_OF_BRIDGE.iter().position(|known| *known == room);
    let mut files = Vec::new();
    source_files(&bridge, &mut files);
    files.retain(|file| !file.ends_with("bridge/mod.rs"));
    let mut broken = Vec::new();
    for file in files {
        let room = part_of(&bridge, &file);
        let here = place(&room).unwrap_or_else(|| panic!("no rule for {room}: add one here"));
        let text = fs::read_to_string(&file).expect("UTF-8");
        let named =
            text.split("crate::bridge::").skip(1).map(|rest| rest.split("::").next().unwrap_or_default());
        broken.extend(
            named
                .filter(|named| place(named).is_none_or(|there| there < here))
                .map(|named| format!("{}: crate::bridge::{named}", file.display())),
        );
    }
    assert!(broken.is_empty(), "each room names only those after it:\n{}", broken.join("\n"));
}

#[test]
fn each_layer_names_only_what_lies_below() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&source, &mut files);
    let rules: BTreeMap<_, _> = MAY_USE.iter().chain(MAY_USE_BETWEEN).copied().collect();
    let mut broken = Vec::new();
    for file in &files {
        let part = part_of(&source, file);
        let allowed = rules.get(part.as_str()).unwrap_or_else(|| panic!("no rule for {part}: add one here"));
        let text = fs::read_to_string(file).expect("UTF-8");
        for named in named_parts(&text) {
            let open_to_all =
                ["config", "deadline", "error", "per_process", "platform", "_native", part.as_str()]
                    .contains(&named.as_str());
            if !open_to_all && !allowed.contains(&named.as_str()) {
                broken.push(format!("{}: crate::{named}", file.display()));
            }
        }
        if text.contains("pyo3::") && !["bridge", "embed", "lib"].contains(&part.as_str()) {
            broken.push(format!("{}: pyo3", file.display()));
        }
        if text.contains("tokio::")
            && ["websocket", "handlers", "handover", "threads", "wire", "bridge"].contains(&part.as_str())
        {
            broken.push(format!("{}: tokio", file.display()));
        }
    }
    assert!(
        broken.is_empty(),
        "these name what they must not (docs/design.md, Layout):\n{}",
        broken.join("\n")
    );
    assert!(files.len() > 30, "the walk found only {} files", files.len());
}
