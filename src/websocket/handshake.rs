//! The key of the opening handshake and the answer to it (RFC 6455 sections 4.2.1 and 4.2.2).
//!
//! Must not import tokio or pyo3.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};

/// What every server appends to the key (RFC 6455 section 1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for the value of `Sec-WebSocket-Key`. The key is taken as it is: handlers
/// compute answers to invalid keys on purpose.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

/// Whether `key` is the canonical base64 of 16 bytes: 24 characters, padded, unused bits 0.
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    // The engine refuses missing padding, foreign characters and unused bits that are set, so 24 characters remain.
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_6455_section_1_3() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn any_key_gets_an_answer() {
        assert_eq!(accept_key(b""), "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
    }

    #[test]
    fn only_canonical_base64_of_16_bytes_is_a_key() {
        let cases = [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("+/+/+/+/+/+/+/+/+/+/+A==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("AAAAAAAAAAAAAAAAAAAAAQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAg==", true),
            ("AAAAAAAAAAAAAAAAAAAAAw==", true),
            // Unused bits that are set.
            ("AAAAAAAAAAAAAAAAAAAAAB==", false),
            ("AAAAAAAAAAAAAAAAAAAAAh==", false),
            // 15, 17 and 18 bytes.
            ("AAAAAAAAAAAAAAAAAAAA", false),
            ("AAAAAAAAAAAAAAAAAAAAAAA=", false),
            ("AAAAAAAAAAAAAAAAAAAAAAAA", false),
            ("AAAAAAAAAAAAAAAAAAAAAA", false),
            ("AAAAAAAAAAAAAAAAAAAAAA=", false),
            ("AAAAAAAAAAAAAAAAAAAAAA===", false),
            (" AAAAAAAAAAAAAAAAAAAAAA==", false),
            ("AAAAAAAAAAAAAAAAAAAAAA==\n", false),
            ("AAAAAAAAAA AAAAAAAAAAA==", false),
            ("-_AAAAAAAAAAAAAAAAAAAA==", false),
            ("AAAAAAAAAAAAAAAAAAAAA,==", false),
            ("äAAAAAAAAAAAAAAAAAAAA==", false),
            ("", false),
        ];
        for (key, valid) in cases {
            assert_eq!(is_valid_key(key), valid, "{key:?}");
        }
    }
}
