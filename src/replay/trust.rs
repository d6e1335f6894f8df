//! Which certificates a client of ours takes.
//!
//! Must not import anything but `cli` and `error`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::ReplayError;
use crate::cli::Trust;
use crate::error::{StartError, TlsFileError};

/// How a client speaks TLS that trusts as told. An error: the file of `--ca` is none.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, StartError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ReplayError::Tls(error).end())?;
    let builder = match trust {
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Trust::Authorities(path) => builder.with_root_certificates(authorities(path)?),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// The certificates of `--ca`.
fn authorities(path: &Path) -> Result<RootCertStore, StartError> {
    let error = |problem| StartError::TlsFile { option: "--ca", path: path.to_owned(), problem };
    let text = fs::read(path).map_err(|source| StartError::File {
        option: "--ca",
        path: path.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|problem| error(TlsFileError::Damaged(problem)))?;
        roots.add(certificate).map_err(|problem| error(TlsFileError::UnreadableAuthority(problem)))?;
    }
    if roots.is_empty() {
        return Err(error(TlsFileError::NoCertificate));
    }
    Ok(roots)
}

/// `--insecure`: takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
