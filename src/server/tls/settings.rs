//! rustls's configuration.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, version};

use super::certificates::{Chain, TlsFile};
use crate::config::{ClientAuth, TlsConfig};
use crate::error::{StartError, TlsFileError};

/// TLS 1.2 and 1.3, no ALPN (as pywebsocket).
pub(super) fn server_config(config: &TlsConfig, chain: Chain) -> Result<ServerConfig, StartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = client_verifier(&config.client_auth, &provider)?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| TlsFile::certificate(&config.certificate).error(TlsFileError::Refused(error)))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(chain.into_resolver());
    // Session tickets come right after the handshake. A client that reads in one thread and writes in another over
    // Python's ssl, such as that of `websockets`, gets stuck on them now and then: OpenSSL's connections are not safe
    // for threads, and Python 3.11 does not guard them. What tickets would save is about a millisecond.
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Who asks clients for certificates and checks them.
fn client_verifier(
    client_auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, StartError> {
    let (path, is_required) = match client_auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional(path) => (path, false),
        ClientAuth::Required(path) => (path, true),
    };
    let file = TlsFile::authorities(path);
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates(&file.read()?)? {
        roots.add(certificate).map_err(|error| file.error(TlsFileError::UnreadableAuthority(error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|error| file.error(TlsFileError::RefusedAuthorities(error)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_authorities_that_has_none_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let problem = || {
            let result = client_verifier(&ClientAuth::Required(path.clone()), &provider);
            result.map(drop).expect_err("an error").to_string()
        };
        assert!(
            problem().starts_with("--tls-client-ca ") && problem().contains("No such file"),
            "{}",
            problem()
        );
        fs::write(&path, "nothing").expect("a file");
        assert!(problem().contains("ca.pem: no certificate in it"), "{}", problem());
    }
}
