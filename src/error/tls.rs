//! What is wrong with options for TLS, and with the files that they name. Must not import anything of the crate.

use std::path::PathBuf;

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;
use x509_parser::error::X509Error;
use x509_parser::nom;
use x509_parser::time::ASN1Time;

/// The fewest bits of an RSA key: rustls takes no smaller one, and browsers do not either.
pub const MIN_RSA_BITS: usize = 2048;

/// Options for TLS that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsOptionsError {
    /// Clients are to be checked, without TLS.
    #[error("--tls-client-auth needs --tls")]
    AuthWithoutTls,
    /// Certificates of clients are optional, without TLS.
    #[error("--tls-client-cert-optional needs --tls and --tls-client-auth")]
    OptionalWithoutTls,
    /// Certificates of clients are optional, and not asked for.
    #[error("--tls-client-cert-optional needs --tls-client-auth")]
    OptionalWithoutAuth,
    /// Clients are to be checked against nothing.
    #[error("--tls-client-auth needs --tls-client-ca FILE to check against")]
    NoAuthorities,
    /// Two certificates.
    #[error("--tls-self-signed makes its own certificate; leave out --certificate and --private-key, or it")]
    TwoCertificates,
    /// No certificate.
    #[error(
        "--tls needs --certificate FILE and --private-key FILE (one file may hold both), or --tls-self-signed"
    )]
    NoCertificate,
    /// No certificate in the options of a harness.
    #[error("use_tls needs a certificate and a private_key (one file may hold both)")]
    NoCertificateInOptions,
}

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It is no PEM.
    #[error("the PEM is damaged: {0}")]
    Damaged(pem::Error),
    /// It is PEM, and has no certificate.
    #[error("no certificate in it; it must be PEM, with \"BEGIN CERTIFICATE\"")]
    NoCertificate,
    /// It is PEM, and has no key.
    #[error("no private key in it; it must be PEM, with \"BEGIN PRIVATE KEY\"")]
    NoKey,
    /// The key needs a password.
    #[error("the key is encrypted; write it without a password: openssl pkey -in FILE -out NEW")]
    Encrypted,
    /// A key of a kind that TLS here does not know.
    #[error("cannot use this key; it must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519")]
    UnusableKey,
    /// The key is that of another certificate.
    #[error("does not belong to the certificate in {}; name the key that it was made with", .0.display())]
    OtherKey(PathBuf),
    /// The server's certificate is none.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(nom::Err<X509Error>),
    /// One of the authorities' certificates is none.
    #[error("a certificate cannot be read: {0}")]
    UnreadableAuthority(rustls::Error),
    /// Its time has not come.
    #[error("the certificate is not valid before {0}; check the clock, or use another certificate")]
    Early(ASN1Time),
    /// Its time is over.
    #[error("the certificate has expired on {0}; renew it")]
    Expired(ASN1Time),
    /// An RSA key of so many bits.
    #[error("the certificate is too weak: RSA with {0} bits; make one with {MIN_RSA_BITS} or more")]
    ShortKey(usize),
    /// A signature that can be forged.
    #[error("the certificate is too weak: signed with MD5 or SHA-1; make one with SHA-256")]
    WeakSignature,
    /// TLS refuses the certificate.
    #[error(transparent)]
    Refused(rustls::Error),
    /// TLS refuses the authorities.
    #[error(transparent)]
    RefusedAuthorities(VerifierBuilderError),
}
