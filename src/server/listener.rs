//! Listening sockets: on every address of a name with one port, on a path, or passed to us.
//!
//! Must not import pyo3.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, RawFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::disable_delay;
use super::stream::Socket;
use crate::config::ListenConfig;
use crate::descriptors;
use crate::error::StartError;
use crate::logging::LOG_SERVER;
use crate::per_process::Process;

/// How many free ports are tried until one is free for every address.
const PORT_ATTEMPTS: usize = 16;

/// Sockets that listen: on addresses, all on the same port; or on a path; or those that were passed to us.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<StdListener>,
    addresses: Vec<SocketAddr>,
    /// Where a client of a Unix socket connects to.
    unix_path: Option<PathBuf>,
    /// Removes the path of a Unix socket that we made.
    unix_guard: Option<RemovedAtEnd>,
}

/// A socket that listens, not in a runtime yet.
#[derive(Debug)]
enum StdListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that listens, in a tokio runtime.
pub(super) enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// The next connection. It has none of the numbers 0, 1 and 2, whatever a handler has closed: what is printed would
    /// go to the client. A client of a Unix socket has no address and gets 127.0.0.1, port 0: handlers expect
    /// one.
    pub(super) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (mut socket, peer) = listener.accept().await?;
                if descriptors::is_standard(&socket) {
                    let fd = descriptors::above_standard(socket.into_std()?.into())?;
                    socket = tokio::net::TcpStream::from_std(fd.into())?;
                }
                disable_delay(&socket);
                Ok((Socket::Tcp(socket), peer))
            }
            Self::Unix(listener) => {
                let (mut socket, _) = listener.accept().await?;
                if descriptors::is_standard(&socket) {
                    let fd = descriptors::above_standard(socket.into_std()?.into())?;
                    socket = tokio::net::UnixStream::from_std(fd.into())?;
                }
                Ok((Socket::Unix(socket), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)))
            }
        }
    }
}

/// A file that is removed when this is dropped, but not by a child that was forked: it is its parent's.
#[derive(Debug)]
pub(super) struct RemovedAtEnd(PathBuf, Process);

impl Drop for RemovedAtEnd {
    fn drop(&mut self) {
        if self.1.is_this() {
            // It may be gone already.
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl Listeners {
    /// Listens on what `config` names. An address that cannot be had is skipped with a warning,
    /// as in pywebsocket (a machine without IPv6); it is an error when none is left.
    pub fn bind(config: &ListenConfig) -> Result<Self, StartError> {
        let listeners = match &config.unix {
            Some(path) => Self::bind_unix(path, config.backlog)?,
            None if config.fds.is_empty() => Self::bind_addresses(config)?,
            None => Self::take_over(&config.fds)?,
        };
        for address in &listeners.addresses {
            tracing::info!(target: LOG_SERVER, "Listen on: {address}");
        }
        if let Some(path) = &listeners.unix_path {
            tracing::info!(target: LOG_SERVER, "Listen on: {}", path.display());
        }
        Ok(listeners)
    }

    fn bind_addresses(config: &ListenConfig) -> Result<Self, StartError> {
        let wanted = wanted_addresses(config)?;
        let mut attempts = PORT_ATTEMPTS;
        let (bound, failures) = loop {
            attempts -= 1;
            let (bound, failures) = bind_all(&wanted, config.backlog);
            // A port that is free for one address may be taken for another.
            let is_taken = |failure: &(SocketAddr, io::Error)| failure.1.kind() == io::ErrorKind::AddrInUse;
            let retry = config.port == 0 && attempts > 0 && failures.iter().any(is_taken);
            if !retry {
                break (bound, failures);
            }
        };
        if bound.is_empty() {
            return Err(listen_error(config, failures));
        }
        for (address, error) in failures {
            tracing::warn!(target: LOG_SERVER, "Not listening on {address}: {error}");
        }
        let (sockets, addresses) =
            bound.into_iter().map(|(socket, address)| (StdListener::Tcp(socket), address)).unzip();
        Ok(Self { sockets, addresses, unix_path: None, unix_guard: None })
    }

    /// Listens on a path. What an earlier server left there is replaced, if nobody listens on it.
    fn bind_unix(path: &Path, backlog: i32) -> Result<Self, StartError> {
        let fail = |source: io::Error| {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "stop the server that uses it, remove the file, or choose another path"
                }
                _ => "choose another path with --unix",
            };
            StartError::Listen { address: path.display().to_string(), source, hint }
        };
        let is_stale = || {
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
                && UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_stale() {
            fs::remove_file(path).map_err(fail)?;
        }
        let bind = || {
            let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let guard = RemovedAtEnd(path.to_owned(), Process::this());
            socket.listen(backlog)?;
            socket.set_nonblocking(true)?;
            Ok((UnixListener::from(socket), guard))
        };
        let (listener, guard) = bind().map_err(fail)?;
        Ok(Self {
            sockets: vec![StdListener::Unix(listener)],
            addresses: Vec::new(),
            unix_path: Some(path.to_owned()),
            unix_guard: Some(guard),
        })
    }

    /// Takes over sockets that listen already.
    fn take_over(fds: &[i32]) -> Result<Self, StartError> {
        let mut listeners =
            Self { sockets: Vec::new(), addresses: Vec::new(), unix_path: None, unix_guard: None };
        for &fd in fds {
            let fail = |problem: String| StartError::Descriptor { fd, problem };
            let socket = listening_socket(fd).map_err(fail)?;
            let address = socket.local_addr().map_err(|error| fail(error.to_string()))?;
            if let Some(address) = address.as_socket() {
                listeners.sockets.push(StdListener::Tcp(socket.into()));
                listeners.addresses.push(address);
            } else if address.is_unix() {
                listeners.sockets.push(StdListener::Unix(socket.into()));
                listeners.unix_path = address.as_pathname().map(Path::to_owned);
            } else {
                return Err(fail("neither a TCP nor a Unix socket".to_owned()));
            }
        }
        Ok(listeners)
    }

    /// The addresses listened on, with the real port. Empty on a Unix socket.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The real port, the same for every address, unless the sockets were passed to us; 0 on a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// The path of a Unix socket that is listened on, if there is no address.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        self.unix_path.as_deref().filter(|_| self.addresses.is_empty())
    }

    /// The descriptors of the sockets; they stay ours.
    #[must_use]
    pub fn filenos(&self) -> Vec<RawFd> {
        let fileno = |socket: &StdListener| match socket {
            StdListener::Tcp(socket) => socket.as_raw_fd(),
            StdListener::Unix(socket) => socket.as_raw_fd(),
        };
        self.sockets.iter().map(fileno).collect()
    }

    /// The same sockets once more, for another call of [`run`](super::run), while `self` lives.
    pub fn try_clone(&self) -> Result<Self, StartError> {
        let copy = |socket: &StdListener| {
            Ok(match socket {
                StdListener::Tcp(socket) => StdListener::Tcp(socket.try_clone()?),
                StdListener::Unix(socket) => StdListener::Unix(socket.try_clone()?),
            })
        };
        let sockets = self.sockets.iter().map(copy).collect::<io::Result<_>>();
        Ok(Self {
            sockets: sockets.map_err(StartError::Runtime)?,
            addresses: self.addresses.clone(),
            unix_path: self.unix_path.clone(),
            unix_guard: None,
        })
    }

    /// The sockets for the current tokio runtime, and what is to be kept for as long as they listen.
    pub(super) fn into_tokio(self) -> Result<(Vec<Listener>, Option<RemovedAtEnd>), StartError> {
        let enter = |socket| {
            Ok(match socket {
                StdListener::Tcp(socket) => Listener::Tcp(tokio::net::TcpListener::from_std(socket)?),
                StdListener::Unix(socket) => Listener::Unix(tokio::net::UnixListener::from_std(socket)?),
            })
        };
        let sockets = self.sockets.into_iter().map(enter).collect::<io::Result<_>>();
        Ok((sockets.map_err(StartError::Runtime)?, self.unix_guard))
    }
}

/// The socket `fd`, which was passed to this process, if it listens.
fn listening_socket(fd: i32) -> Result<socket2::Socket, String> {
    check_listening(fd)?;
    // SAFETY: it is open, and who passed it by number has given it away. `check_passed` has found it open before the
    // server opened anything, so the number is none of ours; and a command line names it once.
    Ok(unsafe { socket2::Socket::from_raw_fd(fd) })
}

/// Whether `fds` are sockets that listen, to be asked before the server opens anything: a number that is open
/// only later is one of our own.
pub fn check_passed(fds: &[i32]) -> Result<(), StartError> {
    for &fd in fds {
        check_listening(fd).map_err(|problem| StartError::Descriptor { fd, problem })?;
    }
    Ok(())
}

/// Whether `fd` is a socket that listens. Makes it one that does not block and that programs do not get.
fn check_listening(fd: i32) -> Result<(), String> {
    // SAFETY: `fcntl` touches no memory; a descriptor that is not open is an error.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err("not open in this process".to_owned());
    }
    // SAFETY: it is open, and whoever passed it by number gave it to us.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = SockRef::from(&borrowed);
    match (socket.r#type(), socket.is_listener()) {
        (Ok(Type::STREAM), Ok(true)) => {}
        (Err(_), _) => return Err("not a socket".to_owned()),
        _ => return Err("not a stream socket that listens".to_owned()),
    }
    socket.set_nonblocking(true).map_err(|error| error.to_string())
}

/// Every address that `config` names, each once.
fn wanted_addresses(config: &ListenConfig) -> Result<Vec<SocketAddr>, StartError> {
    let Some(host) = config.host.as_deref().filter(|host| !host.is_empty()) else {
        let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(any.map(|address| SocketAddr::new(address, config.port)).to_vec());
    };
    let resolve_error = |source| StartError::Resolve { host: host.to_owned(), source };
    let mut addresses = Vec::new();
    for address in (host, config.port).to_socket_addrs().map_err(resolve_error)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(resolve_error(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

type Bound = Vec<(TcpListener, SocketAddr)>;
type Failures = Vec<(SocketAddr, io::Error)>;

/// Listens on each of `wanted`. Where the port is 0, the first address gets a free one and the others the same.
fn bind_all(wanted: &[SocketAddr], backlog: i32) -> (Bound, Failures) {
    let mut bound = Bound::new();
    let mut failures = Failures::new();
    for &address in wanted {
        let mut address = address;
        if let Some((_, first)) = bound.first() {
            address.set_port(first.port());
        }
        match bind_one(address, backlog) {
            Ok(socket) => bound.push(socket),
            Err(error) => failures.push((address, error)),
        }
    }
    (bound, failures)
}

fn bind_one(address: SocketAddr, backlog: i32) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    // Otherwise connections of a server that just ended would keep the port for a while.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The most telling of `failures`: what is wrong with a port tells more than that IPv6 is missing.
fn listen_error(config: &ListenConfig, failures: Failures) -> StartError {
    let is_telling = |failure: &&(SocketAddr, io::Error)| {
        matches!(failure.1.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
    };
    let index = failures.iter().position(|failure| is_telling(&failure)).unwrap_or(0);
    let (address, source) = failures.into_iter().nth(index).unwrap_or_else(|| {
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), config.port);
        (address, io::ErrorKind::AddrNotAvailable.into())
    });
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the program that uses the port, or choose another with --port (0 takes a free one)"
        }
        io::ErrorKind::PermissionDenied if config.port < 1024 => {
            "ports below 1024 are for root; choose another with --port"
        }
        io::ErrorKind::AddrNotAvailable => "name an address of this machine with --server-host",
        _ => "choose another address or port with --server-host and --port",
    };
    StartError::Listen { address: address.to_string(), source, hint }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd as _;

    use super::*;

    fn config(host: Option<&str>, port: u16) -> ListenConfig {
        ListenConfig { host: host.map(str::to_owned), port, backlog: 16, ..ListenConfig::default() }
    }

    #[test]
    fn no_host_is_every_address_with_one_port() {
        for host in [None, Some("")] {
            let listeners = Listeners::bind(&config(host, 0)).expect("listeners");
            assert_ne!(listeners.port(), 0);
            assert!(listeners.addresses().iter().all(|address| address.port() == listeners.port()));
            assert!(listeners.addresses().iter().all(|address| address.ip().is_unspecified()));
            assert!(listeners.addresses().iter().any(SocketAddr::is_ipv4));
            let address = (Ipv4Addr::LOCALHOST, listeners.port());
            std::net::TcpStream::connect(address).expect("a connection over IPv4");
            if listeners.addresses().iter().any(SocketAddr::is_ipv6) {
                let address = (Ipv6Addr::LOCALHOST, listeners.port());
                std::net::TcpStream::connect(address).expect("a connection over IPv6");
            }
        }
    }

    #[test]
    fn a_host_is_all_its_addresses_and_no_other() {
        let listeners = Listeners::bind(&config(Some("localhost"), 0)).expect("listeners");
        assert!(listeners.addresses().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_port_in_use_is_an_error_that_says_what_to_do() {
        let first = Listeners::bind(&config(Some("127.0.0.1"), 0)).expect("listeners");
        let error = Listeners::bind(&config(Some("127.0.0.1"), first.port())).expect_err("in use");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on 127.0.0.1:{}: ", first.port())), "{text}");
        assert!(text.contains("--port"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn the_port_of_a_server_that_just_ended_is_free() {
        let first = Listeners::bind(&config(Some("127.0.0.1"), 0)).expect("listeners");
        let client = std::net::TcpStream::connect(first.addresses()[0]).expect("a connection");
        // The side that closes first keeps the address for a while.
        let StdListener::Tcp(listener) = &first.sockets[0] else { panic!("not TCP") };
        drop(listener.accept().expect("the connection"));
        drop(client);
        let port = first.port();
        drop(first);
        Listeners::bind(&config(Some("127.0.0.1"), port)).expect("listeners");
    }

    #[test]
    fn an_address_of_another_machine_and_an_unknown_name() {
        // RFC 5737: for documentation only. RFC 6761: never resolves.
        let error = Listeners::bind(&config(Some("192.0.2.1"), 0)).expect_err("not ours").to_string();
        assert!(error.contains("name an address of this machine"), "{error}");
        let error = Listeners::bind(&config(Some("nowhere.invalid"), 0)).expect_err("unknown").to_string();
        assert!(error.starts_with("--server-host nowhere.invalid: "), "{error}");
    }

    #[test]
    fn hints() {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 80);
        let failure = |kind: io::ErrorKind| (address, io::Error::from(kind));
        for (port, failures, expected) in [
            (80, vec![failure(io::ErrorKind::PermissionDenied)], "ports below 1024"),
            (8080, vec![failure(io::ErrorKind::PermissionDenied)], "choose another address or port"),
            (
                80,
                vec![failure(io::ErrorKind::Unsupported), failure(io::ErrorKind::AddrInUse)],
                "stop the program",
            ),
            (80, vec![failure(io::ErrorKind::Unsupported)], "choose another address or port"),
        ] {
            let error = listen_error(&config(None, port), failures).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn on_path(path: &Path) -> ListenConfig {
        ListenConfig { unix: Some(path.to_owned()), ..ListenConfig::default() }
    }

    #[test]
    fn a_path_is_ours_while_we_listen_and_gone_then() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let listeners = Listeners::bind(&on_path(&path)).expect("a listener");
        assert_eq!((listeners.port(), listeners.unix_path()), (0, Some(path.as_path())));
        UnixStream::connect(&path).expect("a connection");
        let error = Listeners::bind(&on_path(&path)).expect_err("in use").to_string();
        assert!(error.contains("stop the server that uses it"), "{error}");
        UnixStream::connect(&path).expect("a connection, still");
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_server_left_is_replaced_and_no_other_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).expect("a listener"));
        Listeners::bind(&on_path(&path)).expect("a listener");
        fs::write(&path, "mine").expect("a file");
        let error = Listeners::bind(&on_path(&path)).expect_err("a file").to_string();
        assert!(error.contains("remove the file"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "mine");
        let error =
            Listeners::bind(&on_path(&directory.path().join("gone/s"))).expect_err("no folder").to_string();
        assert!(error.contains("gone/s: No such file") && error.contains("--unix"), "{error}");
    }

    fn passed(fds: &[i32]) -> Result<Listeners, StartError> {
        Listeners::bind(&ListenConfig { fds: fds.to_vec(), ..ListenConfig::default() })
    }

    #[test]
    fn sockets_that_listen_are_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = tcp.local_addr().expect("an address");
        let unix = UnixListener::bind(&path).expect("a listener");
        let listeners = passed(&[tcp.into_raw_fd(), unix.into_raw_fd()]).expect("listeners");
        assert_eq!((listeners.addresses(), listeners.unix_path()), (&[address][..], None));
        let copy = listeners.try_clone().expect("a copy");
        drop(listeners);
        std::net::TcpStream::connect(address).expect("a connection");
        UnixStream::connect(&path).expect("a connection");
        for fd in copy.filenos() {
            // SAFETY: F_GETFD and F_GETFL touch no memory.
            let flags = unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
            assert_ne!(flags.0 & libc::FD_CLOEXEC, 0, "programs that we start must not have it");
            assert_ne!(flags.1 & libc::O_NONBLOCK, 0);
        }
        drop(copy);
        assert!(path.exists(), "who made it removes it");
    }

    /// How many connections may wait at a socket, as Linux tells.
    fn backlog_of(fd: RawFd) -> u32 {
        let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).expect("a small struct");
        // SAFETY: the kernel writes at most `length` bytes, and any bytes are a `tcp_info`.
        let info = unsafe {
            let result = libc::getsockopt(
                fd,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            );
            assert_eq!(result, 0);
            info.assume_init()
        };
        // Of a socket that listens: tcp(7) leaves it out, `ss` shows it.
        info.tcpi_sacked
    }

    #[test]
    fn the_queue_is_as_long_as_asked_for() {
        for backlog in [1, 77] {
            let config = ListenConfig { backlog, ..config(Some("127.0.0.1"), 0) };
            let listeners = Listeners::bind(&config).expect("listeners");
            assert_eq!(backlog_of(listeners.filenos()[0]), u32::try_from(backlog).expect("positive"));
        }
    }

    #[test]
    fn what_does_not_listen_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::create(directory.path().join("f")).expect("a file");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (stream, _other) = UnixStream::pair().expect("sockets");
        for (fd, expected) in [
            (i32::MAX, "not open"),
            (file.as_raw_fd(), "not a socket"),
            (udp.as_raw_fd(), "not a stream socket that listens"),
            (stream.as_raw_fd(), "not a stream socket that listens"),
        ] {
            let error = passed(&[fd]).expect_err("an error").to_string();
            assert!(error.starts_with(&format!("file descriptor {fd}: {expected}")), "{error}");
            assert!(error.contains("--fd"), "{error}");
        }
    }
}
