//! Listening sockets: which addresses, one port for all of them.
//!
//! Must not import pyo3.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ListenConfig;
use crate::error::StartError;
use crate::logging::LOG_SERVER;

/// How many free ports are tried until one is free for every address.
const PORT_ATTEMPTS: usize = 16;

/// Sockets that listen, all on the same port.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// Listens on every address that `config` names. An address that cannot be had is skipped with a warning,
    /// as in pywebsocket (a machine without IPv6); it is an error when none is left.
    pub fn bind(config: &ListenConfig) -> Result<Self, StartError> {
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
        let (sockets, addresses): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        for address in &addresses {
            tracing::info!(target: LOG_SERVER, "Listen on: {address}");
        }
        Ok(Self { sockets, addresses })
    }

    /// The addresses listened on, with the real port. Never empty.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The real port, the same for every address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// The sockets themselves.
    #[must_use]
    pub fn sockets(&self) -> &[TcpListener] {
        &self.sockets
    }

    /// The same sockets once more, for another call of [`run`](super::run).
    pub fn try_clone(&self) -> Result<Self, StartError> {
        let sockets = self.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        Ok(Self { sockets: sockets.map_err(StartError::Runtime)?, addresses: self.addresses.clone() })
    }

    /// The sockets for the current tokio runtime.
    pub(super) fn into_tokio(self) -> Result<Vec<tokio::net::TcpListener>, StartError> {
        self.sockets
            .into_iter()
            .map(tokio::net::TcpListener::from_std)
            .collect::<io::Result<_>>()
            .map_err(StartError::Runtime)
    }
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
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
    use super::*;

    fn config(host: Option<&str>, port: u16) -> ListenConfig {
        ListenConfig { host: host.map(str::to_owned), port, backlog: 16 }
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
        drop(first.sockets[0].accept().expect("the connection"));
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
}
