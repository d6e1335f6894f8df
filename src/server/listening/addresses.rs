//! Sockets on every address of a name, all with one port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use socket2::{Domain, Protocol, Type};

use crate::config::ListenConfig;
use crate::error::StartError;
use crate::logging::LOG_SERVER;

/// How many free ports are tried until one is free for every address.
const PORT_ATTEMPTS: usize = 16;

/// Sockets that listen, each with its address.
pub(super) type Bound = Vec<(TcpListener, SocketAddr)>;
type Failures = Vec<(SocketAddr, io::Error)>;

/// Listens on the addresses that `config` names, all on one port. One that cannot be had is skipped with a warning, as in
/// pywebsocket (a machine without IPv6); it is an error when none is left.
pub(super) fn bind(config: &ListenConfig) -> Result<Bound, StartError> {
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
    Ok(bound)
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
    use super::*;

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
            let error = listen_error(&ListenConfig { port, ..ListenConfig::default() }, failures).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
