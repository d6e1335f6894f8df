//! The command line, in two levels: what was typed ([`Options`], one struct per help heading) and what it
//! means ([`Config`]).
//!
//! A new option is one field in `options`, one line in [`Options::resolve`] and one row in `tests`. Must not import anything but `config` and `error`; nothing here needs Python.

mod config_file;
pub mod ini;
mod names;
mod options;
mod reference;
mod replay;
#[cfg(test)]
mod tests;
mod usage;
mod value;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use clap_complete::Shell;

use crate::config::{
    ClientAuth, Config, HandlersConfig, ListenConfig, LogConfig, PingConfig, PolicyConfig, ReadyConfig,
    Secret, StatusConfig, TlsConfig,
};
use crate::deadline::LONGEST;
use crate::error::StartError;

use options::{PolicyOptions, TlsOptions};

pub use config_file::ConfigFileError;
pub use options::Options;
pub use reference::{Value, reference_options};
pub use replay::{ReplayOptions, ServerUrl, Trust};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Serve.
    Serve(Options),
    /// Print the versions of wshost and of the Python that it would run with.
    Version {
        /// `--python`: the interpreter or virtual environment to start.
        python: Option<PathBuf>,
    },
    /// Print this: a completion script or the manual page.
    Print(Vec<u8>),
    /// Write the compatible packages into this directory.
    Vendor(PathBuf),
    /// Load every handler and say what is wrong.
    Check(CheckOptions),
    /// Have recorded connections again and compare.
    Replay(ReplayOptions),
    /// Write a handler and its test.
    New {
        /// The resource, with or without its leading slash.
        name: String,
        /// The folder that gets `handlers/` and `tests/`.
        directory: PathBuf,
    },
}

/// What `wshost check` is asked for.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Those that the server would be started with.
    pub options: Options,
    /// Print JSON instead of a table.
    pub json: bool,
    /// Go on, and report again whenever a file changes.
    pub watch: bool,
    /// Show how files that are still Python 2 would be converted.
    pub fix: bool,
    /// Convert them.
    pub write: bool,
}

impl Invocation {
    /// `--python`: the interpreter or virtual environment to start Python as; relative to the directory that
    /// the program was started in. `None`: the active environment's, else the one of the build.
    #[must_use]
    pub fn python(&self) -> Option<&Path> {
        match self {
            Self::Serve(options) => options.server.python.as_deref(),
            Self::Version { python } => python.as_deref(),
            Self::Check(check) => check.options.server.python.as_deref(),
            Self::Print(_) | Self::Vendor(_) | Self::Replay(_) | Self::New { .. } => None,
        }
    }
}

/// Why a command line cannot be used. Also how `--help` comes back.
#[derive(Debug)]
pub enum UsageError {
    /// What was typed is wrong, or asks for help.
    Typed(clap::Error),
    /// The file of options cannot be used.
    ConfigFile(ConfigFileError),
}

impl UsageError {
    /// The exit code: 0 for help, 2 for wrong usage, 1 for a file of options that cannot be read (as
    /// pywebsocket).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Typed(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::ConfigFile(ConfigFileError::Option { .. }) => 2,
            Self::ConfigFile(_) => 1,
        }
    }

    /// Prints help to stdout, and everything else to stderr.
    pub fn print(&self) {
        match self {
            Self::Typed(error) if error.exit_code() == 0 => drop(error.print()),
            Self::Typed(error) => tell(&usage::one_line(error)),
            Self::ConfigFile(error) => tell(error),
        }
    }
}

/// Says on stderr, which may be closed, why there is no start.
fn tell(error: &dyn fmt::Display) {
    drop(writeln!(io::stderr(), "{PROGRAM}: {error}"));
}

/// Reads a command line and the file that its `--config` names; `args[0]` is the program's name, as
/// `std::env::args_os` gives it.
pub fn parse(args: Vec<OsString>) -> Result<Invocation, UsageError> {
    let command = command();
    let mut matches = matches(&command, args)?;
    if let Some((name, mut arguments)) = matches.remove_subcommand() {
        if let Some(option) = usage::first_typed(&command, &matches) {
            let text = format!("'{option}' cannot stand before the subcommand '{name}'");
            return Err(UsageError::Typed(command.clone().error(ErrorKind::ArgumentConflict, text)));
        }
        match name.as_str() {
            CHECK => return check_options(&command, arguments),
            replay::NAME => return replay::options(&command, arguments),
            NEW => {
                return Ok(Invocation::New {
                    name: arguments.remove_one("name").unwrap_or_default(),
                    directory: arguments.remove_one("into").unwrap_or_default(),
                });
            }
            _ => {}
        }
        if let Some(directory) = arguments.try_remove_one::<PathBuf>("directory").ok().flatten() {
            return Ok(Invocation::Vendor(directory));
        }
        let mut text = Vec::new();
        match arguments.try_remove_one::<Shell>("shell").ok().flatten() {
            Some(shell) => clap_complete::generate(shell, &mut command.clone(), PROGRAM, &mut text),
            // Writing to memory cannot fail.
            None => drop(clap_mangen::Man::new(command).render(&mut text)),
        }
        return Ok(Invocation::Print(text));
    }
    let options = Options::from_arg_matches_mut(&mut matches)
        .map_err(|error| UsageError::Typed(error.format(&mut command.clone())))?;
    Ok(if options.server.version {
        Invocation::Version { python: options.server.python }
    } else {
        check_descriptors(&command, &options)?;
        Invocation::Serve(options)
    })
}

/// Refuses one descriptor for two things: the ready line's is closed once it is written.
fn check_descriptors(command: &Command, options: &Options) -> Result<(), UsageError> {
    let Some(ready) = options.server.ready_fd else { return Ok(()) };
    if !options.listening_descriptors().contains(&ready) {
        return Ok(());
    }
    let text = format!(
        "the argument '--ready-fd {ready}' names the socket that is listened on; pass another descriptor"
    );
    Err(UsageError::Typed(command.clone().error(ErrorKind::ArgumentConflict, text)))
}

/// The program's name.
const PROGRAM: &str = "wshost";
/// The subcommand that checks handlers.
const CHECK: &str = "check";
/// The subcommand that writes a handler.
const NEW: &str = "new";

fn check_options(command: &Command, mut arguments: ArgMatches) -> Result<Invocation, UsageError> {
    let mut options = Options::from_arg_matches_mut(&mut arguments)
        .map_err(|error| UsageError::Typed(error.format(&mut command.clone())))?;
    if let Some(handlers) = arguments.remove_one("directory") {
        options.handlers.websock_handlers = handlers;
    }
    Ok(Invocation::Check(CheckOptions {
        options,
        json: arguments.get_flag("json"),
        watch: arguments.get_flag("watch"),
        fix: arguments.get_flag("fix"),
        write: arguments.get_flag("write"),
    }))
}

fn check_command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue).help_heading("Check")
    };
    let directory = Arg::new("directory")
        .value_parser(value_parser!(PathBuf))
        .value_name("DIR")
        .help("Root of the handler files, as --websock-handlers");
    Options::augment_args(Command::new(CHECK))
        .about("Load every handler as the server would, and say what is wrong and what to do")
        .arg(directory)
        .arg(flag("json", "Print JSON instead of a table"))
        .arg(flag("watch", "Go on, and report again whenever a file changes").conflicts_with("fix"))
        .arg(flag("fix", "Show how files that are still Python 2 would be converted"))
        .arg(flag("write", "With --fix: convert them").requires("fix"))
        .args_override_self(true)
}

fn new_command() -> Command {
    let into = Arg::new("into").long("into").value_parser(value_parser!(PathBuf)).value_name("DIR");
    Command::new(NEW)
        .about("Write a small handler and a test for it: handlers/NAME_wsh.py and tests/test_NAME.py")
        .arg(
            Arg::new("name")
                .required(true)
                .value_name("NAME")
                .help("The resource, such as chat or room/chat"),
        )
        .arg(into.default_value(".").help("Folder that gets handlers/ and tests/"))
}

/// The clap command of the program.
fn command() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell)).value_name("SHELL");
    let directory =
        Arg::new("directory").required(true).value_parser(value_parser!(PathBuf)).value_name("DIR");
    reference_command()
        .subcommand(
            Command::new("completions").about("Print a script that completes options in a shell").arg(shell),
        )
        .subcommand(Command::new("man").about("Print the manual page, in troff"))
        .subcommand(
            Command::new("vendor")
                .about("Write the packages pywebsocket3 and mod_pywebsocket into a directory")
                .arg(directory),
        )
        .subcommand(check_command())
        .subcommand(replay::command())
        .subcommand(new_command())
        .disable_help_subcommand(true)
}

/// The command with options only, as pywebsocket's.
fn reference_command() -> Command {
    // The text about the program comes last: the comments on the option structs would take its place.
    Options::augment_args(Command::new(PROGRAM))
        .about("Serves pywebsocket handlers (*_wsh.py) and reloads them when they change.")
        // pywebsocket: argparse takes the last of a repeated option.
        .args_override_self(true)
}

/// What was typed, behind what is in the file that its `--config` names.
fn matches(command: &Command, mut args: Vec<OsString>) -> Result<ArgMatches, UsageError> {
    args = names::written_out(command, args);
    let typed = command.clone().try_get_matches_from(&args).map_err(UsageError::Typed)?;
    // `wshost check` takes the server's options behind its name.
    let (scope, at) = match typed.subcommand() {
        Some((_, arguments)) => (arguments, 2),
        None => (&typed, 1),
    };
    let file = scope.try_get_one::<PathBuf>("config").ok().flatten();
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else {
        return Ok(typed);
    };
    let from_file = config_file::arguments(file, &reference_command()).map_err(UsageError::ConfigFile)?;
    // The last of a repeated option counts, so what was typed comes last.
    let at = at.min(args.len());
    let behind = args.split_off(at);
    args.extend(from_file.into_iter().chain(behind));
    command.clone().try_get_matches_from(args).map_err(UsageError::Typed)
}

/// Makes the document root the working directory, as pywebsocket does before anything else, so that relative
/// paths in handlers count from there. Call it once, before the server and the log start; not part of
/// [`Options::resolve`] because it changes the whole process.
pub fn enter_document_root(config: &Config) -> Result<(), StartError> {
    env::set_current_dir(&config.document_root).map_err(|source| StartError::Directory {
        option: "--document-root",
        path: config.document_root.clone(),
        source,
    })
}

impl Options {
    /// The descriptors of sockets that listen already: `--fd`, else those of systemd.
    #[must_use]
    pub fn listening_descriptors(&self) -> Vec<i32> {
        self.server.fd.map_or_else(value::systemd_fds, |fd| vec![fd])
    }

    /// What the options mean: defaults filled in, paths absolute, directories checked. Changes nothing.
    pub fn resolve(self) -> Result<Config, StartError> {
        let fds = self.listening_descriptors();
        let document_root = directory("--document-root", &self.files.document_root)?;
        let log = LogConfig {
            level: self.log.log_level,
            file: given(self.log.log_file).map(|path| below(&document_root, &path)),
            max_size: u64::try_from(self.log.log_max).unwrap_or(0),
            backups: u32::try_from(self.log.log_count.max(0)).unwrap_or(u32::MAX),
            format: self.server.log_format,
            deflate_level: self.log.deflate_log_level,
        };
        let trace = given(self.server.trace).map(|path| private_file("--trace", &path, &document_root));
        let trace = trace.transpose()?;
        let tls = self.tls.resolve(&document_root, self.server.tls_self_signed)?;
        let root = directory("--websock-handlers", &document_root.join(&self.handlers.websock_handlers))?;
        let scan = match given(self.handlers.scan_dir) {
            Some(path) => scan_directory(&root, &document_root.join(path))?,
            None => root.clone(),
        };
        let map_file = match given(self.handlers.websock_handlers_map_file) {
            Some(path) => Some(readable_file("--websock-handlers-map-file", below(&document_root, &path))?),
            None => None,
        };
        Ok(Config {
            listen: ListenConfig {
                host: Some(self.listen.server_host).filter(|host| !host.is_empty()),
                port: self.listen.port,
                backlog: self.listen.queue.max(0),
                fds,
                unix: given(self.server.unix).map(|path| absolute(&path).unwrap_or(path)),
            },
            document_root,
            hide_handlers: self.server.hide_handlers,
            cgi_directories: match self.files.cgi_paths.as_deref() {
                None | Some("") => Vec::new(),
                Some(paths) => paths.split(',').map(str::to_owned).collect(),
            },
            tls,
            policy: self.policy.resolve(),
            handlers: HandlersConfig {
                root,
                scan,
                allow_outside_root: self.handlers.allow_handlers_outside_root_dir,
                map_file,
                encoding: self.handlers.handler_encoding.filter(|name| !name.is_empty()),
                reload: !self.server.no_reload,
                reload_delay: self.server.reload_delay,
                reload_poll: self.server.reload_poll,
            },
            log,
            trace,
            thread_monitor: u64::try_from(self.log.thread_monitor_interval_in_sec)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST)),
            status: self.server.status.map(|(host, port)| StatusConfig {
                host,
                port,
                token: self.server.status_token,
            }),
            ready: ReadyConfig { file: self.server.ready_file, fd: self.server.ready_fd },
            grace: self.server.grace,
            head_timeout: self.server.head_timeout,
            write_timeout: self.server.write_timeout,
            max_message_size: self.server.max_message_size,
            max_total_message_size: self.server.max_total_message_size,
            ping: (!self.server.ping_interval.is_zero()).then_some(PingConfig {
                interval: self.server.ping_interval,
                timeout: self.server.ping_timeout,
            }),
        })
    }
}

impl TlsOptions {
    /// What the options mean; `None` without TLS. Files are not looked at.
    fn resolve(self, document_root: &Path, self_signed: bool) -> Result<Option<TlsConfig>, StartError> {
        let file = |path| given(path).map(|path| below(document_root, &path));
        if !(self.tls || self_signed) {
            return match (self.tls_client_auth, self.tls_client_cert_optional) {
                (true, _) => Err(StartError::Tls("--tls-client-auth needs --tls")),
                (_, true) => {
                    Err(StartError::Tls("--tls-client-cert-optional needs --tls and --tls-client-auth"))
                }
                _ => Ok(None),
            };
        }
        let (certificate, private_key) = match (file(self.certificate), file(self.private_key), self_signed) {
            (Some(certificate), Some(private_key), false) => (certificate, private_key),
            (None, None, true) => (PathBuf::new(), PathBuf::new()),
            (_, _, true) => {
                return Err(StartError::Tls(
                    "--tls-self-signed makes its own certificate; leave out --certificate and --private-key, or it",
                ));
            }
            _ => {
                return Err(StartError::Tls(
                    "--tls needs --certificate FILE and --private-key FILE (one file may hold both), \
                     or --tls-self-signed",
                ));
            }
        };
        let client_auth =
            match (self.tls_client_auth, self.tls_client_cert_optional, file(self.tls_client_ca)) {
                (false, true, _) => {
                    return Err(StartError::Tls("--tls-client-cert-optional needs --tls-client-auth"));
                }
                (false, false, _) => ClientAuth::None,
                (true, _, None) => {
                    return Err(StartError::Tls(
                        "--tls-client-auth needs --tls-client-ca FILE to check against",
                    ));
                }
                (true, true, Some(ca)) => ClientAuth::Optional(ca),
                (true, false, Some(ca)) => ClientAuth::Required(ca),
            };
        Ok(Some(TlsConfig { certificate, private_key, client_auth, self_signed }))
    }
}

impl PolicyOptions {
    /// What the options mean.
    fn resolve(self) -> PolicyConfig {
        let Self { validation_host, validation_port, basic_auth, basic_auth_credential } = self;
        let expected = || format!("Basic {}", BASE64_STANDARD.encode(basic_auth_credential));
        PolicyConfig {
            validation_host,
            validation_port,
            basic_auth: basic_auth.then(expected).map(Secret::new),
        }
    }
}

/// pywebsocket: an option with an empty value is as good as none.
fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// `path` made absolute; a relative one counts from `base`, which is absolute. Symbolic links stay.
fn below(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    absolute(&joined).unwrap_or(joined)
}

/// The absolute path of a directory that can be read.
fn directory(option: &'static str, path: &Path) -> Result<PathBuf, StartError> {
    let error = |source| StartError::Directory { option, path: path.to_owned(), source };
    fs::read_dir(path).map_err(error)?;
    absolute(path).map_err(error)
}

/// The absolute path of the scan directory, which must lie under the handler root or be the root itself.
///
/// pywebsocket compares the canonical paths as text and so takes `/a/bc` to lie under `/a/b`; here they are
/// compared by component.
fn scan_directory(root: &Path, scan: &Path) -> Result<PathBuf, StartError> {
    let scan = directory("--scan-dir", scan)?;
    let canonical = |option, path: &Path| {
        path.canonicalize().map_err(|source| StartError::Directory { option, path: path.to_owned(), source })
    };
    if canonical("--scan-dir", &scan)?.starts_with(canonical("--websock-handlers", root)?) {
        Ok(scan)
    } else {
        Err(StartError::ScanOutsideRoot { scan, root: root.to_owned() })
    }
}

/// The path, without links, of a file that clients must not be able to fetch. It counts from where the program was
/// started, also when it is `/proc/self/cwd/...`.
fn private_file(option: &'static str, path: &Path, document_root: &Path) -> Result<PathBuf, StartError> {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = match fs::canonicalize(&path) {
        Ok(real) => real,
        // What a link that leads nowhere names would be made, wherever that is.
        Err(source) if path.is_symlink() => return Err(StartError::File { option, path, source }),
        Err(_) => match (path.parent().map(fs::canonicalize), path.file_name()) {
            (Some(Ok(folder)), Some(name)) => folder.join(name),
            // Reported when the file is opened.
            _ => path.clone(),
        },
    };
    let root = fs::canonicalize(document_root).unwrap_or_else(|_| document_root.to_owned());
    let has_other_names = fs::metadata(&real).is_ok_and(|file| file.is_file() && file.nlink() > 1);
    if real.starts_with(root) || has_other_names {
        Err(StartError::Served { option, path })
    } else {
        Ok(real)
    }
}

/// `path` if it is a file that can be opened for reading.
fn readable_file(option: &'static str, path: PathBuf) -> Result<PathBuf, StartError> {
    let opened = fs::File::open(&path).and_then(|file| {
        if file.metadata()?.is_dir() { Err(io::Error::from(io::ErrorKind::IsADirectory)) } else { Ok(()) }
    });
    match opened {
        Ok(()) => Ok(path),
        Err(source) => Err(StartError::File { option, path, source }),
    }
}
