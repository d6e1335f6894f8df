//! The sockets that a server listens on: on addresses, on a path, or passed to us.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::accepting::Listener;
use super::addresses;
use super::passed::{self, Passed};
use super::unix_path::{self, RemovedAtEnd};
use crate::config::ListenConfig;
use crate::error::StartError;
use crate::logging::LOG_SERVER;

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

impl Listeners {
    /// Listens on what `config` names. An address that cannot be had is skipped with a warning,
    /// as in pywebsocket (a machine without IPv6); it is an error when none is left.
    pub fn bind(config: &ListenConfig) -> Result<Self, StartError> {
        let listeners = match &config.unix {
            Some(path) => Self::on_path(path, config.backlog)?,
            None if config.fds.is_empty() => Self::on_addresses(config)?,
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

    fn on_addresses(config: &ListenConfig) -> Result<Self, StartError> {
        let bound = addresses::bind(config)?;
        let (sockets, addresses) =
            bound.into_iter().map(|(socket, address)| (StdListener::Tcp(socket), address)).unzip();
        Ok(Self { sockets, addresses, unix_path: None, unix_guard: None })
    }

    fn on_path(path: &Path, backlog: i32) -> Result<Self, StartError> {
        let (socket, guard) = unix_path::bind(path, backlog)?;
        Ok(Self {
            sockets: vec![StdListener::Unix(socket)],
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
            match passed::take_over(fd)? {
                Passed::Tcp(socket, address) => {
                    listeners.sockets.push(StdListener::Tcp(socket));
                    listeners.addresses.push(address);
                }
                Passed::Unix(socket, path) => {
                    listeners.sockets.push(StdListener::Unix(socket));
                    listeners.unix_path = path;
                }
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

    /// The same sockets once more, for another call of [`run`](crate::server::run), while `self` lives.
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
    pub(in crate::server) fn into_tokio(self) -> Result<(Vec<Listener>, Option<RemovedAtEnd>), StartError> {
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::net::UnixStream;

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
            TcpStream::connect(address).expect("a connection over IPv4");
            if listeners.addresses().iter().any(SocketAddr::is_ipv6) {
                let address = (Ipv6Addr::LOCALHOST, listeners.port());
                TcpStream::connect(address).expect("a connection over IPv6");
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
        let client = TcpStream::connect(first.addresses()[0]).expect("a connection");
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
        TcpStream::connect(address).expect("a connection");
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
