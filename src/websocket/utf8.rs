//! Whether bytes that come in pieces can still become UTF-8 (RFC 6455 section 8.1).
//!
//! Must not import tokio or pyo3.

use std::str;

/// Bytes that are UTF-8 so far, but for a character that may be cut at their end. Each byte is looked at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8Progress {
    /// The beginning of the character that is cut: `cut[..length]`.
    cut: [u8; 4],
    length: usize,
    is_broken: bool,
}

impl Utf8Progress {
    /// Takes the next piece; `false`, then and for ever, if no further one can make the whole UTF-8.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        self.is_broken = self.is_broken || !self.takes(piece);
        !self.is_broken
    }

    fn takes(&mut self, mut rest: &[u8]) -> bool {
        while self.length > 0 {
            let Some((byte, after)) = rest.split_first() else { return true };
            self.cut[self.length] = *byte;
            self.length += 1;
            rest = after;
            match str::from_utf8(&self.cut[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match str::from_utf8(rest) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let cut = &rest[error.valid_up_to()..];
                self.cut[..cut.len()].copy_from_slice(cut);
                self.length = cut.len();
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::XorShift;

    fn takes(pieces: &[&[u8]]) -> bool {
        let mut progress = Utf8Progress::default();
        pieces.iter().all(|piece| progress.push(piece))
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        for text in ["\u{80}", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10ffff}"] {
            let bytes = ["a", text, "b"].concat().into_bytes();
            for at in 0..=bytes.len() {
                assert!(takes(&[&bytes[..at], &bytes[at..]]), "{text:?} at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert!(takes(&single), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_mended_is_refused_at_once() {
        for broken in [
            &[&b"\xff"[..]][..],
            &[b"\xc0"],
            &[b"\xed", b"\xa0"],
            &[b"\xf4", b"\x90"],
            &[b"\xe4\xb8", b"a"],
            &[b"\xe4\xb8", b"", b"\xff"],
            &[b"a\x80"],
        ] {
            let (last, before) = broken.split_last().unwrap();
            assert!(takes(before), "{broken:?}");
            assert!(!takes(&[before, &[*last]].concat()), "{broken:?}");
            let mut progress = Utf8Progress::default();
            assert!(!broken.iter().all(|piece| progress.push(piece)));
            assert!(!progress.push(b"") && !progress.push(b"a") && !progress.push(b"\x80\x80\x80\x80"));
        }
    }

    #[test]
    fn pieces_are_judged_as_the_whole_is() {
        let mut random = XorShift::new(11);
        let alphabet = b"a\x80\xbf\xc3\xe2\x82\xac\xed\xa0\xf0\x9f\x90\xf4";
        for _ in 0..20_000 {
            let size = random.below(9);
            let whole: Vec<u8> = (0..size).map(|_| alphabet[random.below(alphabet.len())]).collect();
            let can_be_mended = match str::from_utf8(&whole) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none(),
            };
            let at = random.below(size + 1);
            assert_eq!(takes(&[&whole[..at], &whole[at..]]), can_be_mended, "{whole:02x?} at {at}");
        }
    }
}
