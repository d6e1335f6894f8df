//! TLS: from the handshake to a handler's blocking socket, with certificates made for each test.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wshost::config::{ClientAuth, TlsConfig};
use wshost::handover::{HandlerConnection, Transport};
use wshost::wire::limits::Limits;
use wshost::wire::socket::{FrameReadError, Socket};
use wshost::wire::transport::Duplex;

use crate::support::{Server, connect};

/// More than the buffers of two sockets hold.
const LARGE: usize = 16 << 20;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"),
        )
    }

    /// A certificate for `name`, and its key.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.0).expect("a certificate"), key)
    }

    /// What a client has that trusts in us and has a certificate of `client`, if any.
    fn client(&self, client: Option<&Authority>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let (certificate, key) = authority.sign("client");
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("its key")
            }
        })
    }
}

/// A server with TLS, and who signed its certificate.
struct TlsServer {
    server: Server,
    authority: Authority,
    certificate: PathBuf,
}

impl TlsServer {
    fn start() -> Self {
        Self::start_with(ClientAuth::None)
    }

    /// Starts a server whose certificate and key are in one file.
    fn start_with(client_auth: ClientAuth) -> Self {
        let authority = Authority::new();
        let mut certificate = PathBuf::new();
        let server = Server::start_with(|config| {
            certificate = config.document_root.join("server.pem");
            std::fs::write(&certificate, pem(&authority)).expect("a file");
            config.tls = Some(TlsConfig {
                certificate: certificate.clone(),
                private_key: certificate.clone(),
                client_auth,
                self_signed: false,
            });
        });
        Self { server, authority, certificate }
    }

    fn connect(&self) -> Client {
        Client::new(self.server.port, self.authority.client(None))
    }

    /// A client's connection, and what the handler has of it.
    fn hand_over(&self, bytes: &str) -> (Client, HandlerConnection) {
        let mut client = self.connect();
        client.send(format!("GET /handler HTTP/1.1\r\n\r\n{bytes}"));
        (client, self.server.handed_over())
    }
}

/// A new certificate for `localhost`, and its key.
fn pem(authority: &Authority) -> String {
    let (certificate, key) = authority.sign("localhost");
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

/// What a handler has.
fn socket(taken: HandlerConnection) -> Arc<Socket> {
    Arc::new(Socket::new(
        Duplex::from(taken.transport),
        &taken.unread,
        taken.peer,
        None,
        Arc::clone(Limits::for_others()),
    ))
}

/// A connection over TLS.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    fn new(port: u16, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(config, name).expect("a session");
        Self(StreamOwned::new(session, connect(port).0))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("sent");
    }

    /// Everything until the server announces the end. An end without that is an error.
    fn rest(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(String::from_utf8(bytes).expect("UTF-8"))
    }

    /// The certificate that the server showed.
    fn certificate(&mut self) -> CertificateDer<'static> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock).expect("a handshake");
        }
        self.0.conn.peer_certificates().expect("certificates")[0].clone().into_owned()
    }
}

#[test]
fn files_come_over_tls_and_their_end_is_announced() {
    let server = TlsServer::start();
    server.server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let response = client.rest().expect("the announced end");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nhello"), "{response}");
}

#[test]
fn the_handler_gets_every_byte_and_says_goodbye() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("first");
    assert!(taken.is_https);
    assert!(matches!(taken.transport, Transport::Tls(..)));
    client.send("second");
    let socket = socket(taken);
    assert_eq!(socket.read_exactly(11).expect("bytes"), b"firstsecond");
    socket.write(b"he", b"ad").expect("written");
    socket.close();
    assert_eq!(client.rest().expect("the announced end"), "head");
    socket.write(b"more", b"").expect_err("closed");
}

#[test]
fn nothing_comes_behind_the_handshake_unasked() {
    // Clients that read and write in two threads over Python's ssl can get stuck on session tickets.
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    let socket = socket(taken);
    socket.write(b"answer", b"").expect("written");
    socket.close();
    assert_eq!(client.rest().expect("the announced end"), "answer");
    assert_eq!(client.0.conn.tls13_tickets_received(), 0);
}

#[test]
fn a_raw_read_waits_for_the_first_byte_only() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    let socket = socket(taken);
    let reader = thread::spawn({
        let socket = Arc::clone(&socket);
        move || socket.read_some(1000).expect("bytes")
    });
    client.send("some");
    assert_eq!(reader.join().expect("no panic"), b"some");
    assert_eq!(socket.read_some(0).expect("nothing"), b"");
    client.send("more");
    assert_eq!(socket.read_some(2).expect("bytes"), b"mo");
    assert_eq!(socket.read_some(1000).expect("bytes"), b"re");
}

#[test]
fn large_data_goes_both_ways_at_once() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    let socket = socket(taken);
    let pattern = |offset| (0..=250).cycle().skip(offset).take(LARGE).collect::<Vec<u8>>();
    let writer = thread::spawn({
        let socket = Arc::clone(&socket);
        move || socket.write(b"", &pattern(1)).expect("written")
    });
    // Nothing of what the server sends is read before the server has read everything.
    let reader = thread::spawn(move || socket.read_exactly(LARGE as u64).expect("bytes") == pattern(0));
    client.send(pattern(0));
    assert!(reader.join().expect("no panic"));
    let mut received = vec![0; LARGE];
    client.0.read_exact(&mut received).expect("bytes");
    assert!(received == pattern(1));
    writer.join().expect("no panic");
}

#[test]
fn a_peer_that_announces_its_end_can_still_be_written_to() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("last");
    client.0.conn.send_close_notify();
    client.0.conn.complete_io(&mut client.0.sock).expect("sent");
    let socket = socket(taken);
    assert_eq!(socket.read_some(1000).expect("bytes"), b"last");
    for _ in 0..2 {
        assert_eq!(socket.read_some(1000).expect("the end"), b"");
    }
    socket.write(b"answer", b"").expect("written");
    socket.close();
    assert_eq!(client.rest().expect("the announced end"), "answer");
}

#[test]
fn an_end_that_is_not_announced_is_an_end_too() {
    let server = TlsServer::start();
    let (client, taken) = server.hand_over("last");
    client.0.sock.shutdown(std::net::Shutdown::Write).expect("shut");
    let socket = socket(taken);
    assert_eq!(socket.read_some(1000).expect("bytes"), b"last");
    assert_eq!(socket.read_some(1000).expect("the end"), b"");
    let error = socket.read_exactly(3).expect_err("the end");
    assert!(matches!(error, FrameReadError::Eof { wanted: 3 }), "{error:?}");
}

#[test]
fn bytes_that_are_not_tls_are_an_error_that_the_peer_hears_of() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    client.0.sock.write_all(b"\x17\x03\x03\x00\x20 not what a peer with the key wrote").expect("sent");
    let socket = socket(taken);
    let error = socket.read_some(1000).expect_err("not TLS");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let error = client.rest().expect_err("an alert").to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
}

#[test]
fn a_close_wakes_a_writer_and_waits_for_nobody() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    let socket = socket(taken);
    let writer = thread::spawn({
        let socket = Arc::clone(&socket);
        move || socket.write(b"", &vec![0; LARGE]).expect_err("closed")
    });
    // It is under way, and cannot end: the client reads no more.
    client.0.read_exact(&mut [0]).expect("a byte");
    socket.close();
    let error = writer.join().expect("no panic");
    assert!(matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EBADF)), "{error}");
}

#[test]
fn a_request_without_tls_gets_an_answer() {
    let server = TlsServer::start();
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "G", "POST /handler HTTP/1.1\r\n\r\nbody"] {
        let response = server.server.ask(request);
        assert!(response.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{response}");
        assert!(response.contains("use https:// or wss://"), "{response}");
    }
}

#[test]
fn what_is_neither_gets_an_alert() {
    let server = TlsServer::start();
    let mut client = server.server.connect();
    client.send("\x01\x02\x03\x04\x05\x06");
    let mut bytes = Vec::new();
    client.0.read_to_end(&mut bytes).expect("the end");
    // RFC 8446 section 5.1: 0x15 is an alert.
    assert_eq!(bytes.first(), Some(&0x15), "{bytes:?}");
}

#[test]
fn a_handshake_has_a_time_limit() {
    let authority = Authority::new();
    let server = Server::start_with(|config| {
        let path = config.document_root.join("server.pem");
        std::fs::write(&path, pem(&authority)).expect("a file");
        let tls = TlsConfig {
            certificate: path.clone(),
            private_key: path,
            client_auth: ClientAuth::None,
            self_signed: false,
        };
        config.tls = Some(tls);
        config.head_timeout = std::time::Duration::from_millis(1);
    });
    let mut silent = server.connect();
    assert_eq!(silent.rest(), "");
    let mut slow = server.connect();
    slow.send("\x16\x03\x01");
    assert_eq!(slow.rest(), "");
}

#[test]
fn clients_prove_themselves_as_asked() {
    let ours = Authority::new();
    let other = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, ours.0.pem()).expect("a file");
    let optional = || ClientAuth::Optional(path.clone());
    let required = || ClientAuth::Required(path.clone());
    for (client_auth, client, is_served) in [
        (ClientAuth::None, None, true),
        (ClientAuth::None, Some(&other), true),
        (optional(), None, true),
        (optional(), Some(&ours), true),
        (optional(), Some(&other), false),
        (required(), None, false),
        (required(), Some(&ours), true),
        (required(), Some(&other), false),
    ] {
        let case =
            format!("{client_auth:?} {:?}", client.map(|client| std::ptr::eq(client, &raw const ours)));
        let server = TlsServer::start_with(client_auth);
        let mut client = Client::new(server.server.port, server.authority.client(client));
        // With TLS 1.3 the client hears of a refusal only after it has sent.
        let sent = client.0.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = sent.and_then(|()| client.rest());
        assert_eq!(response.is_ok(), is_served, "{case}: {response:?}");
    }
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let server = TlsServer::start();
    let (mut client, taken) = server.hand_over("");
    let before = client.certificate();
    std::fs::write(&server.certificate, "nonsense").expect("a file");
    assert_eq!(server.connect().certificate(), before);
    // Renewed as renewal programs do it.
    let fresh = server.certificate.with_extension("new");
    std::fs::write(&fresh, pem(&server.authority)).expect("a file");
    std::fs::rename(&fresh, &server.certificate).expect("renamed");
    while server.connect().certificate() == before {}
    client.send("still here");
    let socket = socket(taken);
    assert_eq!(socket.read_exactly(10).expect("bytes"), b"still here");
}
