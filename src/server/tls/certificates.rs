//! Certificates and keys out of PEM files, and what is wrong with them in one line.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, Oid, asn1_rs::oid};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::error::{MIN_RSA_BITS, StartError, TlsFileError};

/// RFC 5758 section 3.2.
const OID_ECDSA_WITH_SHA1: Oid<'static> = oid!(1.2.840.10045.4.1);

/// A file that an option names.
#[derive(Clone, Copy)]
pub(super) struct TlsFile<'a> {
    option: &'static str,
    path: &'a Path,
}

impl<'a> TlsFile<'a> {
    /// The server's certificate.
    pub(super) fn certificate(path: &'a Path) -> Self {
        Self { option: "--certificate", path }
    }

    /// The server's key.
    fn private_key(path: &'a Path) -> Self {
        Self { option: "--private-key", path }
    }

    /// Who signs clients' certificates.
    pub(super) fn authorities(path: &'a Path) -> Self {
        Self { option: "--tls-client-ca", path }
    }

    /// The error that something is wrong with this file.
    pub(super) fn error(self, problem: TlsFileError) -> StartError {
        StartError::TlsFile { option: self.option, path: self.path.to_owned(), problem }
    }

    /// What is in the file.
    pub(super) fn read(self) -> Result<Vec<u8>, StartError> {
        fs::read(self.path).map_err(|source| StartError::File {
            option: self.option,
            path: self.path.to_owned(),
            source,
        })
    }

    /// The certificates in `text`, at least one.
    pub(super) fn certificates(self, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, StartError> {
        let certificates = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.error(TlsFileError::Damaged(error)))?;
        if certificates.is_empty() {
            return Err(self.error(TlsFileError::NoCertificate));
        }
        Ok(certificates)
    }

    /// The key in `text`: PKCS#8, PKCS#1 or SEC1.
    fn key(self, text: &[u8]) -> Result<Arc<dyn SigningKey>, StartError> {
        if is_encrypted(text) {
            return Err(self.error(TlsFileError::Encrypted));
        }
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
            pem::Error::NoItemsFound => self.error(TlsFileError::NoKey),
            error => self.error(TlsFileError::Damaged(error)),
        })?;
        any_supported_type(&key).map_err(|_| self.error(TlsFileError::UnusableKey))
    }
}

/// Whether there is an encrypted key in `text`: PKCS#8, or OpenSSL's own older form (RFC 1421 header fields).
fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// What a server proves itself with.
pub(super) struct Chain(CertifiedKey);

impl Chain {
    pub(super) fn into_resolver(self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(SingleCertAndKey::from(self.0))
    }
}

/// Reads and checks a certificate, those that follow it in its file, and its key.
pub(super) fn load(certificate: &Path, private_key: &Path) -> Result<Chain, StartError> {
    let certificate = TlsFile::certificate(certificate);
    let private_key = TlsFile::private_key(private_key);
    let certificates = certificate.certificates(&certificate.read()?)?;
    // A weak key is reported as that, not as one that cannot be used.
    check(&certificates[0]).map_err(|problem| certificate.error(problem))?;
    let key = private_key.key(&private_key.read()?)?;
    chain(certificates, key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            private_key.error(TlsFileError::OtherKey(certificate.path.to_owned()))
        }
        error => certificate.error(TlsFileError::Refused(error)),
    })
}

/// A chain whose first certificate is that of `key`.
pub(super) fn chain(
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<Chain, Error> {
    let certified = CertifiedKey::new(certificates, key);
    certified.keys_match()?;
    Ok(Chain(certified))
}

/// Whether clients would take this certificate.
fn check(certificate: &CertificateDer<'_>) -> Result<(), TlsFileError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(TlsFileError::Unreadable)?;
    let validity = certificate.validity();
    let now = ASN1Time::now();
    if now < validity.not_before {
        return Err(TlsFileError::Early(validity.not_before));
    }
    if now > validity.not_after {
        return Err(TlsFileError::Expired(validity.not_after));
    }
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() {
        let bits = key.key_size();
        if bits < MIN_RSA_BITS {
            return Err(TlsFileError::ShortKey(bits));
        }
    }
    let signature = &certificate.signature_algorithm.algorithm;
    if [OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_ECDSA_WITH_SHA1].contains(signature) {
        return Err(TlsFileError::WeakSignature);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate and its key, changed by `change`.
    fn made(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        change(&mut params);
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    /// What is wrong with files that say this.
    fn problem(certificate: &str, key: &str) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| -> PathBuf {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let loaded = load(&write("cert.pem", certificate), &write("key.pem", key));
        let text = loaded.map(drop).expect_err("an error").to_string();
        assert!(!text.contains('\n'), "{text}");
        text.replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn one_file_or_two_with_anything_between() {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = made(|_| {});
        let (next, _) = made(|_| {});
        let path = directory.path().join("both.pem");
        fs::write(&path, format!("subject=x\n{key}\n{certificate}issuer=y\n{next}")).expect("a file");
        let Chain(chain) = load(&path, &path).expect("a chain");
        assert_eq!(chain.cert.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        let (certificate, key) = made(|_| {});
        let (expired, expired_key) = made(|params| params.not_after = date_time_ymd(2020, 1, 2));
        let (early, early_key) = made(|params| params.not_before = date_time_ymd(3000, 1, 2));
        let (_, other_key) = made(|_| {});
        let damaged = certificate.replacen("MII", "!!!", 1);
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        for (certificate, key, expected) in [
            ("", key.as_str(), "--certificate cert.pem: no certificate in it"),
            (&key, &key, "--certificate cert.pem: no certificate in it"),
            (&damaged, &key, "--certificate cert.pem: the PEM is damaged"),
            (no_der, &key, "--certificate cert.pem: the certificate cannot be read"),
            (&expired, &expired_key, "--certificate cert.pem: the certificate has expired on Jan  2"),
            (&early, &early_key, "--certificate cert.pem: the certificate is not valid before Jan  2"),
            (&certificate, "", "--private-key key.pem: no private key in it"),
            (&certificate, &certificate, "--private-key key.pem: no private key in it"),
            (&certificate, encrypted, "--private-key key.pem: the key is encrypted"),
            (&certificate, old, "--private-key key.pem: the key is encrypted"),
            (&certificate, no_key, "--private-key key.pem: cannot use this key"),
            (
                &certificate,
                &other_key,
                "--private-key key.pem: does not belong to the certificate in cert.pem",
            ),
        ] {
            let problem = problem(certificate, key);
            assert!(problem.starts_with(expected), "{problem} instead of {expected}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error =
            load(Path::new("gone.pem"), Path::new("gone.pem")).map(drop).expect_err("gone").to_string();
        assert!(error.starts_with("--certificate gone.pem: No such file"), "{error}");
    }
}
