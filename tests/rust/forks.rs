//! What is `static`: each process has its own of it, or a child may share it.

use std::fs;
use std::path::{Path, PathBuf};

use super::layers::source_files;

/// Types of which a child may use a copy, whatever the parent's threads were doing.
const SHARED_TYPES: &[(&str, &str)] = &[
    ("Cached<", "stored whole by whoever comes first; nobody waits for it"),
    ("Logger", "has a `Cached`"),
    ("ExceptionClass", "the same"),
    ("Dir<", "a constant"),
];

/// Statics, by file, of which a child may use a copy.
const SHARED: &[(&str, &str, &str)] = &[
    ("bridge/python/detach.rs", "IS_TAKEN", "only a hint; wrong for a moment"),
    ("bridge/python/detach.rs", "MAY_LOOK", "made before the first fork"),
    ("bridge/run/dispatch.rs", "ENDS", "a constant"),
    ("wire/heartbeat.rs", "TOKEN", "made before the first fork; a child's pings may look the same"),
    ("bridge/run/host.rs", "NUMBER", "counts on"),
    (
        "wire/limits.rs",
        "FOR_OTHERS",
        "a setting, made before the first fork; what is held of it is each process's own",
    ),
    ("wire/limits.rs", "DEFAULT", "the same"),
    ("children.rs", "GROUPS", "each entry holds the number of its process"),
    ("children.rs", "NEXT", "counts on"),
    ("forks.rs", "RESULT", "done before the first fork"),
    ("handlers/traffic.rs", "EPOCH", "made before the first fork; times of the parent count from it"),
    ("logging/clock.rs", "OFFSET", "what was last known of the time zone"),
    ("logging/clock.rs", "IS_CHILD", "set in the child"),
    ("logging/kept.rs", "IS_KEEPING", "a setting"),
    ("logging/mod.rs", "THRESHOLD", "a setting"),
    ("logging/mod.rs", "IS_CHILD", "set in the child"),
    ("logging/mod.rs", "IS_OPEN", "a setting"),
    (
        "logging/mod.rs",
        "LOG",
        "where the parent logs to; swapped whole, and its queue knows when it is in a child",
    ),
    ("logging/mod.rs", "STDERR", "not asked in a child that has not opened a log; opening one renews it"),
    ("logging/tail.rs", "IS_KEPT", "a setting"),
    ("panics.rs", "ONCE", "done before the first fork, or by the thread that forks"),
    ("per_process.rs", "FORKS", "tells one process from the other"),
    ("per_process.rs", "NUMBER", "the same"),
    (
        "shutdown/exit.rs",
        "DEADLINE",
        "asked when the process ends by itself; a child's end has no deadline but its parent's",
    ),
    ("shutdown/exit.rs", "BEGIN", "made by the thread that begins to serve, before handlers fork"),
    ("shutdown/signals.rs", "PREVIOUS", "what a child gives back; written whole"),
    ("shutdown/signals.rs", "ARRIVED", "without a thread that looks at it"),
    ("shutdown/signals.rs", "CHANGES", "the same"),
    ("writer/queue.rs", "FORKS", "tells one process from the other"),
    ("writer/direct.rs", "IS_STALLED", "set anew in the child"),
    ("writer/direct.rs", "DROPPED", "set anew in the child"),
];

/// What each process has its own of, by file, and why it is not in a server, of which a process may have many.
const RENEWED: &[(&str, &str, &str)] = &[
    ("bridge/python/detach.rs", "GATE", "one interpreter, one lock of Python"),
    ("bridge/run/connections.rs", "SERVERS", "the process's end is the end of all servers"),
    ("handlers/history.rs", "HISTORY", "the status page is one for the process"),
    ("logging/kept.rs", "KEPT", "Python's logging is one for the interpreter"),
    ("logging/mod.rs", "STDERR", "one standard error"),
    ("logging/tail.rs", "TAIL", "one log"),
    ("status/clock.rs", "STARTED", "when the process began to serve"),
    ("websocket/deflate.rs", "IDLE", "compressors that no connection uses, for any one that needs them"),
    ("wire/socket/cork.rs", "CORKED", "one thread sends what is kept back on all connections"),
    ("wire/trim.rs", "FREED", "one allocator"),
    ("writer/queue.rs", "QUEUES", "what must be written before the process ends"),
];

/// The same for those in a thread: a child has the copy of the thread that forked.
const THREAD_LOCAL: &[(&str, &str)] = &[
    ("bridge/python/refusals.rs", "HAS_TOLD"),
    ("threads/stack.rs", "IS_OURS"),
    ("panics.rs", "IS_QUIET"),
    ("locks.rs", "LOCKS"),
    ("locks.rs", "TURNS"),
    ("shutdown/signals.rs", "BLOCKED"),
];

/// A static value.
#[derive(Debug)]
struct Static {
    file: String,
    name: String,
    kind: String,
    is_in_a_thread: bool,
}

/// The static values of a file, those within functions, too.
fn statics(file: &str, text: &str) -> Vec<Static> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let tests = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    let code = &code[..tests];
    let mut found = Vec::new();
    for (place, _) in code.match_indices("static ") {
        let before = &code[..place];
        let begins = before.rsplit(['\n', ';', '{']).next().unwrap_or_default().trim();
        let is_declared = begins.is_empty() || begins.starts_with("pub");
        let rest = code[place..].trim_start_matches("static ").trim_start_matches("mut ");
        let Some((name, rest)) = rest.split_once(':').filter(|_| is_declared) else { continue };
        if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            continue;
        }
        let is_in_a_thread =
            before.rfind("thread_local!").is_some_and(|begin| !before[begin..].contains("\n}"));
        let kind = rest.split('=').next().unwrap_or_default().split_whitespace().collect::<String>();
        found.push(Static { file: file.to_owned(), name: name.to_owned(), kind, is_in_a_thread });
    }
    found
}

/// Each file of `src/`, by its path below it.
fn sources() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = Vec::new();
    source_files(&source, &mut files);
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&source).expect("below src/").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("UTF-8"))
    };
    files.iter().map(read).filter(|(name, _)| !name.ends_with("tests.rs")).collect()
}

#[test]
fn what_is_static_is_renewed_in_a_child_or_may_be_shared() {
    let sources = sources();
    let all: Vec<Static> = sources.iter().flat_map(|(name, text)| statics(name, text)).collect();
    assert!(all.len() > 50, "found only {} statics", all.len());
    let renewals: String = sources
        .iter()
        .map(|(_, text)| text.split("fn renew_after_fork() {").skip(1))
        .flat_map(|functions| {
            functions.map(|text| text.split("\n}").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let mut unknown = Vec::new();
    for found in &all {
        let (file, name, kind) = (found.file.as_str(), found.name.as_str(), found.kind.as_str());
        let is_renewed = kind.starts_with("PerProcess<")
            && renewals.contains(&format!("{name}.renew();"))
            && RENEWED.iter().any(|&(in_file, known, _)| (in_file, known) == (file, name));
        let may_be_shared = SHARED_TYPES.iter().any(|(known, _)| kind.starts_with(known))
            || SHARED.iter().any(|&(in_file, known, _)| (in_file, known) == (file, name))
            || (found.is_in_a_thread && THREAD_LOCAL.contains(&(file, name)));
        if !is_renewed && !may_be_shared {
            unknown.push(format!("src/{file}: static {name}: {kind}"));
        }
    }
    assert!(
        unknown.is_empty(),
        "a child that is forked gets a copy of these, locked or half changed as it may be; make each a `PerProcess` \
         that `renew_after_fork` of its folder renews and say here why no server has it, or why a child may share it:\n{}",
        unknown.join("\n")
    );
    for &(file, name, _) in SHARED.iter().chain(RENEWED) {
        let is_there = all.iter().any(|found| found.file == file && found.name == name);
        assert!(is_there, "src/{file} has no {name} any more: take it out here");
    }
}

/// `forks` calls the lists of all folders, and each folder those of its files.
#[test]
fn each_list_is_called() {
    let sources = sources();
    for (name, text) in &sources {
        if text.contains("fn renew_after_fork() {") {
            let module = name.trim_end_matches("/mod.rs").trim_end_matches(".rs");
            let (parent, module) = module.rsplit_once('/').unwrap_or(("forks", module));
            let is_parent = |file: &str| file == format!("{parent}.rs") || file == format!("{parent}/mod.rs");
            let (_, above) = sources.iter().find(|(file, _)| is_parent(file)).expect("the file above");
            assert!(
                above.contains(&format!("    {module}::renew_after_fork();")),
                "{parent} does not call {module}"
            );
        }
    }
}

/// PyO3's ways to make an object once let go of Python meanwhile: a child that is forked then waits for ever.
#[test]
fn nothing_of_python_is_made_while_others_wait() {
    for (name, text) in sources() {
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for way in ["PyOnceLock", "GILOnceCell", "pyo3::intern"] {
            assert!(!code.contains(way), "src/{name}: {way}; use `bridge::cached`");
        }
    }
}

#[test]
fn statics_are_found_wherever_they_stand() {
    let text = "static A: Mutex<u8> = Mutex::new(0);\npub(super) static B: [AtomicU8; 2] =\n    x;\nfn f() {\n    \
                static C: Once = Once::new();\n}\nthread_local! {\n    static D: Cell<u8> = const { Cell::new(0) };\n}\n\
                // static E: u8 = 0;\nfn g(x: &'static str) -> &'static T {}\nunsafe { static F: u8 = 1; }\n\
                pub static mut G: u8 = 1;\n#[cfg(test)]\nmod tests {\n    static H: u8 = 0;\n}\n";
    let found: Vec<_> =
        statics("a.rs", text).into_iter().map(|f| (f.name, f.kind, f.is_in_a_thread)).collect();
    let expected = [
        ("A", "Mutex<u8>", false),
        ("B", "[AtomicU8;2]", false),
        ("C", "Once", false),
        ("D", "Cell<u8>", true),
        ("F", "u8", false),
        ("G", "u8", false),
    ];
    assert_eq!(found, expected.map(|(name, kind, local)| (name.to_owned(), kind.to_owned(), local)));
}
