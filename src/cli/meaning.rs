//! What options mean: from [`Options`] to [`Config`]. Must not import anything but `config`, `deadline`, `error` and its
//! neighbours.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::options::{Options, PolicyOptions, TlsOptions};
use super::value;
use crate::config::{
    Config, HandlersConfig, ListenConfig, LogConfig, PingConfig, PolicyConfig, ReadyConfig, Secret,
    StatusConfig, TlsConfig, TlsParts,
};
use crate::deadline::LONGEST;
use crate::error::StartError;

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
        let root = directory_below(&document_root, "--websock-handlers", &self.handlers.websock_handlers)?;
        let scan = match given(self.handlers.scan_dir) {
            Some(path) => scan_directory(&document_root, &root, &path)?,
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
        let parts = TlsParts {
            tls: self.tls,
            self_signed,
            certificate: file(self.certificate),
            private_key: file(self.private_key),
            client_auth: self.tls_client_auth,
            client_cert_optional: self.tls_client_cert_optional,
            client_ca: file(self.tls_client_ca),
        };
        parts.resolve().map_err(StartError::Tls)
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

/// The same; a relative path counts from `base`.
fn directory_below(base: &Path, option: &'static str, typed: &Path) -> Result<PathBuf, StartError> {
    directory(option, &base.join(typed)).map_err(|error| match error {
        StartError::Directory { path, source, .. } if typed.is_relative() => {
            StartError::RelativeDirectory { option, typed: typed.to_owned(), path, source }
        }
        error => error,
    })
}

/// The absolute path of the scan directory, which must lie under the handler root or be the root itself.
///
/// pywebsocket compares the canonical paths as text and so takes `/a/bc` to lie under `/a/b`; here they are
/// compared by component.
fn scan_directory(base: &Path, root: &Path, scan: &Path) -> Result<PathBuf, StartError> {
    let scan = directory_below(base, "--scan-dir", scan)?;
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
