//! A server on a free port with a stub for its handlers, and a client that speaks bytes.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wshost::config::{Config, HandlersConfig, ListenConfig, LogConfig, LogLevel, PolicyConfig, ReadyConfig};
use wshost::error::StartError;
use wshost::handover::{HandlerConnection, HandlerHost, ReadyHandler, UriFragmentError};
use wshost::http::PolicySource;
use wshost::server::{self, Asked, Listeners};

/// How long a client waits before a test counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server does by default, on a free port of 127.0.0.1.
pub fn config(document_root: &Path) -> Config {
    Config {
        listen: ListenConfig { host: Some("127.0.0.1".to_owned()), port: 0, ..ListenConfig::default() },
        document_root: document_root.to_owned(),
        handlers: HandlersConfig {
            root: document_root.to_owned(),
            scan: document_root.to_owned(),
            allow_outside_root: false,
            map_file: None,
            encoding: None,
            reload: false,
            reload_delay: Duration::from_millis(5),
            reload_poll: None,
        },
        log: LogConfig { level: LogLevel::Warning, ..LogConfig::default() },
        ready: ReadyConfig::default(),
        // Longer than any test waits: what takes the grace is a failure.
        grace: PATIENCE * 100,
        head_timeout: PATIENCE,
        max_message_size: 1 << 20,
        ..Config::default()
    }
}

/// Has a handler for `/handler`, which hands its connection to the test, and for `/broken`, which cannot
/// start.
pub struct StubHost(pub Sender<HandlerConnection>);

impl HandlerHost for StubHost {
    fn resolve(&self, resource: &str) -> Result<Option<Box<dyn ReadyHandler>>, UriFragmentError> {
        let (path, fragment) = resource.split_once('#').unwrap_or((resource, ""));
        match path.split('?').next() {
            Some("/handler" | "/broken") if !fragment.is_empty() => Err(UriFragmentError),
            Some("/handler") => Ok(Some(Box::new(StubHandler(Some(self.0.clone()))))),
            Some("/broken") => Ok(Some(Box::new(StubHandler(None)))),
            _ => Ok(None),
        }
    }

    fn close_connections(&self, _grace: Duration) {}
}

struct StubHandler(Option<Sender<HandlerConnection>>);

impl ReadyHandler for StubHandler {
    fn start(self: Box<Self>, connection: HandlerConnection) -> io::Result<()> {
        let Some(taken) = self.0 else {
            return Err(io::Error::other("no thread"));
        };
        taken.send(connection).map_err(io::Error::other)
    }
}

/// A server that stops when it is dropped.
pub struct Server {
    pub port: u16,
    pub root: TempDir,
    pub stop: CancellationToken,
    handed_over: Receiver<HandlerConnection>,
    thread: Option<JoinHandle<Result<(), StartError>>>,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a server whose configuration `change` may change.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with_policy(change, PolicyConfig::default())
    }

    /// The same, with something to ask about each request.
    pub fn start_with_policy(change: impl FnOnce(&mut Config), policy: impl PolicySource) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mut config = config(root.path());
        change(&mut config);
        let listeners = Listeners::bind(&config.listen).expect("a free port");
        let port = listeners.port();
        let (sender, handed_over) = channel();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            let host = Arc::new(StubHost(sender));
            let asked = Asked { policy: Arc::new(policy), ..Asked::of(&config) };
            let result = runtime.block_on(server::run(listeners, Arc::new(config), host, asked, token));
            runtime.shutdown_background();
            result
        });
        Self { port, root, stop, handed_over, thread: Some(thread) }
    }

    /// Writes a file below the document root.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        std::fs::write(&path, content).expect("a file");
        path
    }

    pub fn connect(&self) -> Client {
        connect(self.port)
    }

    /// What comes back for `request` until the server closes. Our side stays open.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect();
        client.send(request);
        client.rest()
    }

    /// The answer to one `GET` whose connection closes.
    pub fn get(&self, target: &str) -> String {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    }

    /// The connection that `/handler` got.
    pub fn handed_over(&self) -> HandlerConnection {
        self.handed_over.recv_timeout(PATIENCE).expect("a connection for the handler")
    }

    /// Waits until the server has ended by itself.
    pub fn join(mut self) -> Result<(), StartError> {
        self.thread.take().expect("a thread").join().expect("no panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connection to 127.0.0.1.
pub fn connect(port: u16) -> Client {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    Client(socket)
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("sent");
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("the end of the connection");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The head of a response, its empty line included.
    pub fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a whole head");
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// A response with a `Content-Length`: head and body.
    pub fn response(&mut self) -> (String, String) {
        let head = self.head();
        let length = field(&head, "content-length").expect("a length").parse().expect("a number");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a whole body");
        (head, String::from_utf8(body).expect("UTF-8"))
    }
}

/// The value of a field in a response head.
pub fn field<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = response.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    fields.find_map(|line| {
        let (other, value) = line.split_once(": ")?;
        other.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// `response` without the values of `Server` and `Date`, to compare with the reference's.
pub fn without_server_and_date(response: &str) -> String {
    let mut text = response.to_owned();
    for name in ["Server", "Date"] {
        let value = field(&text, name).expect("the field").to_owned();
        text = text.replacen(&format!("{name}: {value}"), name, 1);
    }
    text
}
