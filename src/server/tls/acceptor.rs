//! TLS handshakes, with certificates that are replaced while the server runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificates;
use super::self_signed::{self, Fingerprints};
use super::settings::server_config;
use crate::config::{ClientAuth, TlsConfig};
use crate::error::StartError;
use crate::logging::LOG_SERVER;
use crate::patience::Patient;
use crate::server::stream::{Socket, Stream};

/// How often the certificate files are looked at. A pair of files that is being replaced is whole by the next look,
/// and links and replaced folders, which renewal programs like, need no special care.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The server's side of TLS.
pub struct Tls {
    config: TlsConfig,
    /// What new connections get. Open ones keep what they began with.
    current: ArcSwap<ServerConfig>,
    /// The files as they were when last read. Locked while they are read.
    seen: Mutex<Vec<Option<FileState>>>,
    /// Of a certificate that the server made itself.
    fingerprints: Option<Fingerprints>,
}

/// What tells that a file is another one than before: device, inode, size, time of the last change.
type FileState = (u64, u64, u64, SystemTime);

impl Tls {
    /// Reads and checks the certificates, or makes one.
    pub fn load(config: &TlsConfig) -> Result<Self, StartError> {
        // Before they are read, so that a change in between is not missed.
        let seen = states(config);
        let (server, fingerprints) = if config.self_signed {
            let made = self_signed::make()?;
            (server_config(config, made.chain)?, Some(made.fingerprints))
        } else {
            (server_config(config, certificates::load(&config.certificate, &config.private_key)?)?, None)
        };
        Ok(Self {
            config: config.clone(),
            current: ArcSwap::from_pointee(server),
            seen: Mutex::new(seen),
            fingerprints,
        })
    }

    /// What to know about a certificate that the server made itself.
    pub fn fingerprints(&self) -> Option<&Fingerprints> {
        self.fingerprints.as_ref()
    }

    /// The TLS handshake. A client that speaks HTTP gets its socket back in [`AcceptError::Http`].
    pub async fn accept(&self, socket: Patient<Socket>) -> Result<Stream, AcceptError> {
        match socket.get_ref().first_byte().await.map_err(|error| AcceptError::Io(error, None))? {
            // Every HTTP method begins with a letter, every TLS handshake with 0x16 (RFC 8446 section 5.1).
            Some(byte) if byte.is_ascii_alphabetic() => return Err(AcceptError::Http(socket)),
            Some(_) => {}
            None => return Err(AcceptError::Io(io::ErrorKind::UnexpectedEof.into(), None)),
        }
        let accept = TlsAcceptor::from(self.current.load_full()).accept(socket).into_fallible();
        let stream = accept.await.map_err(|(error, socket)| AcceptError::Io(error, Some(socket)))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Reads the files again. If they are no good, new connections get what they got before, and the log says
    /// why. Blocks.
    pub fn reload(&self) {
        let mut seen = self.seen.lock();
        *seen = states(&self.config);
        if self.config.self_signed {
            return;
        }
        let loaded = certificates::load(&self.config.certificate, &self.config.private_key)
            .and_then(|chain| server_config(&self.config, chain));
        match loaded {
            Ok(server) => {
                self.current.store(Arc::new(server));
                tracing::info!(target: LOG_SERVER, "New connections get the certificate of {}", self.config.certificate.display());
            }
            Err(error) => {
                tracing::error!(target: LOG_SERVER, "{error}; going on with the certificates read before");
            }
        }
    }

    /// Reads the files again if they are others than before. Blocks.
    fn reload_if_changed(&self) {
        let has_changed = *self.seen.lock() != states(&self.config);
        if has_changed {
            self.reload();
        }
    }

    /// Follows changes of the files until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            let this = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || this.reload_if_changed());
            // A file that cannot be read, such as one on a dead mount, must not hold up the stop. The only error is a
            // panic, which the panic hook has reported.
            let _ = stop.run_until_cancelled(look).await;
        }
    }
}

/// Why there is no TLS with a client.
pub enum AcceptError {
    /// It speaks HTTP without TLS.
    Http(Patient<Socket>),
    /// The handshake failed; the client has been told why on this socket, if there was a handshake.
    Io(io::Error, Option<Patient<Socket>>),
}

/// The states of all files that `config` names. `None`: not there.
fn states(config: &TlsConfig) -> Vec<Option<FileState>> {
    let authorities = match &config.client_auth {
        ClientAuth::None => None,
        ClientAuth::Optional(path) | ClientAuth::Required(path) => Some(path),
    };
    let own = [&config.certificate, &config.private_key];
    own.into_iter().chain(authorities).map(|path| state(path)).collect()
}

fn state(path: &Path) -> Option<FileState> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_must_be_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("server.pem");
        let write = |text: &str| fs::write(&path, text).expect("a file");
        let pem = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem())
        };
        write(&pem());
        let config = TlsConfig {
            certificate: path.clone(),
            private_key: path.clone(),
            client_auth: ClientAuth::None,
            self_signed: false,
        };
        let tls = Tls::load(&config).map_err(|error| error.to_string()).expect("TLS");
        let first = tls.current.load_full();
        let is_first = || Arc::ptr_eq(&first, &tls.current.load());
        tls.reload_if_changed();
        assert!(is_first(), "nothing has changed");
        write("half a certificate");
        tls.reload_if_changed();
        assert!(is_first(), "there is nothing better");
        fs::remove_file(&path).expect("removed");
        tls.reload_if_changed();
        assert!(is_first(), "there is nothing at all");
        write(&pem());
        tls.reload_if_changed();
        assert!(!is_first(), "there is a new one");
        let second = tls.current.load_full();
        tls.reload();
        assert!(!Arc::ptr_eq(&second, &tls.current.load()), "asked to, it is read again");
    }
}
