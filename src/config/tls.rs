//! What the server was asked to do about TLS.

use std::path::PathBuf;

use crate::error::TlsOptionsError;

/// The server's certificate, and what it asks of clients. Whether the files are there and fit is found out
/// when they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the certificate and its chain, absolute (pywebsocket: `-c`). Empty with `self_signed`.
    pub certificate: PathBuf,
    /// PEM file of the private key, absolute; may be the certificate's (pywebsocket: `-k`). Empty with
    /// `self_signed`.
    pub private_key: PathBuf,
    /// What is asked of clients. Default nothing.
    pub client_auth: ClientAuth,
    /// Whether to make a certificate for localhost at the start instead of reading one.
    pub self_signed: bool,
}

/// What was said about TLS, each part for itself.
#[derive(Debug, Default)]
pub struct TlsParts {
    /// Whether TLS is wanted.
    pub tls: bool,
    /// Whether a certificate is to be made.
    pub self_signed: bool,
    /// The certificate, if one is named.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub private_key: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: bool,
    /// Whether they may have none.
    pub client_cert_optional: bool,
    /// What theirs are checked against.
    pub client_ca: Option<PathBuf>,
}

impl TlsParts {
    /// What the parts mean together; `None`: no TLS. Files are not looked at.
    pub fn resolve(self) -> Result<Option<TlsConfig>, TlsOptionsError> {
        if !(self.tls || self.self_signed) {
            return match (self.client_auth, self.client_cert_optional) {
                (true, _) => Err(TlsOptionsError::AuthWithoutTls),
                (_, true) => Err(TlsOptionsError::OptionalWithoutTls),
                _ => Ok(None),
            };
        }
        let (certificate, private_key) = match (self.certificate, self.private_key, self.self_signed) {
            (Some(certificate), Some(private_key), false) => (certificate, private_key),
            (None, None, true) => (PathBuf::new(), PathBuf::new()),
            (_, _, true) => return Err(TlsOptionsError::TwoCertificates),
            _ => return Err(TlsOptionsError::NoCertificate),
        };
        let client_auth = match (self.client_auth, self.client_cert_optional, self.client_ca) {
            (false, true, _) => return Err(TlsOptionsError::OptionalWithoutAuth),
            (false, false, _) => ClientAuth::None,
            (true, _, None) => return Err(TlsOptionsError::NoAuthorities),
            (true, true, Some(ca)) => ClientAuth::Optional(ca),
            (true, false, Some(ca)) => ClientAuth::Required(ca),
        };
        Ok(Some(TlsConfig { certificate, private_key, client_auth, self_signed: self.self_signed }))
    }
}

/// Certificates of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for, and checked against this file of CA certificates (PEM, absolute) if one comes.
    Optional(PathBuf),
    /// Asked for, and checked against this file of CA certificates (PEM, absolute).
    Required(PathBuf),
}
