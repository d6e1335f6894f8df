//! Header fields, as Python's `email.parser` finds them in the lines of a request head.
//!
//! Pure: must not import tokio or pyo3.

/// Header fields out of `text` (everything after the request line), as `email.parser` finds them: a line
/// that is neither a field nor a continuation ends them, a lone CR ends a line, too.
pub(super) fn parse_fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut continues = false;
    for line in lines_with_ends(text) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut().filter(|_| continues) {
                value.push_str(line);
            }
            continue;
        }
        continues = false;
        // The envelope line of a mailbox, which email.parser skips.
        if line.starts_with("From ") {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { break };
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            break;
        }
        if !name.is_empty() {
            fields.push((name.to_owned(), value.trim_start_matches([' ', '\t']).to_owned()));
            continues = true;
        }
    }
    for (_, value) in &mut fields {
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
    }
    fields
}

/// `value` without the white space around it, which is SP and HTAB and nothing else (RFC 9110 section 5.6.3): what
/// Unicode calls space beside these is part of a value to others. Line ends are there where a value was folded, as a
/// stand-in for SP (RFC 9112 section 5.2).
pub(super) fn trim_ows(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\r', '\n'])
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(name: &[u8]) -> bool {
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token_byte)
}

/// The lines of `text`, each with its end: CR LF, LF or CR.
fn lines_with_ends(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = match text.find(['\r', '\n']) {
            Some(at) if text[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => text.len(),
        };
        let (line, rest) = text.split_at(end);
        text = rest;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::parse_fields;

    #[test]
    fn fields_are_read_as_python_reads_them() {
        for (text, expected) in [
            (
                "X:\r\n foo\r\nY: a  \r\nZ: a,\r\n\tb \r\n\r\n",
                &[("X", "\r\n foo"), ("Y", "a  "), ("Z", "a,\r\n\tb ")][..],
            ),
            (" a\r\nA: b\rC: d\r\nbad line\r\nE: f\r\n\r\n", &[("A", "b"), ("C", "d")]),
            (":x\r\n y\r\nFrom a\r\nB: c\r\nA : b\r\nD: e\r\n\r\n", &[("B", "c")]),
            ("A: b\r\n:x\r\n y\r\n\r\n", &[("A", "b")]),
            ("A: b\r\r\nC: d\r\n\r\n", &[("A", "b")]),
            ("\u{e9}: 1\r\nB: 2\r\n\r\n", &[]),
            ("A: \u{e9}\x0b\u{85}\r\na:2\r\n\r\n", &[("A", "\u{e9}\x0b\u{85}"), ("a", "2")]),
        ] {
            let fields = parse_fields(text);
            let found: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
