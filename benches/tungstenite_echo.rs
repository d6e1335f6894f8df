//! The peer of `benches/run.py` that shows what Rust alone costs: tokio-tungstenite's echo server, as anybody writes it.
//!
//! `tungstenite_echo PORT [CERTIFICATE.pem]`; the file has the key, too.

use std::env;
use std::error::Error;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Error as WebSocketError;

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), WebSocketError> {
    let mut stream = accept_async(stream).await?;
    while let Some(message) = stream.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            stream.send(message).await?;
        }
    }
    Ok(())
}

fn acceptor(path: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let certificate = CertificateDer::from_pem_file(path)?;
    let key = PrivateKeyDer::from_pem_file(path)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let port: u16 = arguments.next().ok_or("usage: tungstenite_echo PORT [CERTIFICATE.pem]")?.parse()?;
    let tls = arguments.next().map(|path| acceptor(&path)).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let tls = tls.clone();
        tokio::spawn(async move {
            // A client that goes without a word is no failure.
            let _ = match tls {
                None => echo(socket).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(stream) => echo(stream).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}
