//! `--tls-self-signed`: a certificate for this machine, made at each start and kept in memory.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use super::certificates::{self, Chain};
use crate::error::StartError;

/// Whom the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long the certificate is valid; browsers refuse more than 398 days.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How far back it is valid, for clients whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and what to know it by.
pub(super) struct SelfSigned {
    pub(super) chain: Chain,
    pub(super) fingerprints: Fingerprints,
}

/// What tells people and browsers that a certificate is ours.
pub struct Fingerprints {
    /// SHA-256 of the certificate, as certificate viewers show it.
    certificate: [u8; 32],
    /// SHA-256 of its public key, as Chromium's `--ignore-certificate-errors-spki-list` takes it.
    public_key: [u8; 32],
}

/// Makes a certificate and its key (ECDSA on P-256).
pub(super) fn make() -> Result<SelfSigned, StartError> {
    made().map_err(StartError::SelfSigned)
}

fn made() -> Result<SelfSigned, Box<dyn Error + Send + Sync>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "wshost self-signed");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + VALIDITY).into();
    let certificate = params.self_signed(&key)?;
    let fingerprints = Fingerprints {
        certificate: Sha256::digest(certificate.der()).into(),
        public_key: Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into(),
    };
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&der)?;
    let chain = certificates::chain(vec![certificate.der().clone()], key)?;
    Ok(SelfSigned { chain, fingerprints })
}

impl fmt::Display for Fingerprints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SHA-256 ")?;
        for (index, byte) in self.certificate.iter().enumerate() {
            if index > 0 {
                formatter.write_char(':')?;
            }
            write!(formatter, "{byte:02X}")?;
        }
        write!(formatter, "; SHA-256 of its key in base64 {}", STANDARD.encode(self.public_key))
    }
}
