//! What a server sent once and what it sends now: of the response's head the status line and the
//! `Sec-WebSocket-*` fields, then every byte. Must not import anything.

/// Bytes that are shown of either side: from so many before the first difference on.
const BEFORE: usize = 8;
/// The most that is shown.
const SHOWN: usize = 32;
/// How much longer than what was recorded the received bytes may get before no more are wanted: a head may be longer.
const SLACK: usize = 64 * 1024;

/// The end of a head (RFC 9112 section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Received bytes, beside those that were recorded.
#[derive(Debug)]
pub(super) struct Comparison<'r> {
    recorded: &'r [u8],
    /// Length of the head in `recorded`; 0: a handler answered with something that is no response.
    recorded_head: usize,
    received: Vec<u8>,
    /// Length of the head in `received`, once it is there.
    received_head: Option<usize>,
    /// How many bytes after the heads are equal.
    equal: usize,
    difference: Option<String>,
}

impl<'r> Comparison<'r> {
    pub(super) fn new(recorded: &'r [u8]) -> Self {
        let recorded_head =
            if recorded.starts_with(b"HTTP/") { head_length(recorded).unwrap_or(0) } else { 0 };
        Self {
            recorded,
            recorded_head,
            received: Vec::new(),
            received_head: (recorded_head == 0).then_some(0),
            equal: 0,
            difference: None,
        }
    }

    /// Takes what was received next.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let before = self.received.len();
        self.received.extend_from_slice(bytes);
        if self.difference.is_some() {
            return;
        }
        let Some(head) = self.received_head.or_else(|| self.take_head(before)) else { return };
        if self.difference.is_some() {
            return;
        }
        let (recorded, received) = (&self.recorded[self.recorded_head..], &self.received[head..]);
        let equal = recorded[self.equal..].iter().zip(&received[self.equal..]).take_while(|(a, b)| a == b);
        self.equal += equal.count();
        if self.equal < recorded.len() && self.equal < received.len() {
            let (recorded, received) = (shown(recorded, self.equal), shown(received, self.equal));
            self.difference = Some(format!("{}: recorded {recorded}, came {received}", self.place()));
        }
    }

    /// Compares the heads when that of `received` is there; gives its length. It does not end in the first `seen` bytes.
    fn take_head(&mut self, seen: usize) -> Option<usize> {
        let begin = seen.saturating_sub(HEAD_END.len());
        self.received_head = head_length(&self.received[begin..]).map(|length| begin + length);
        let (recorded, received) =
            (&self.recorded[..self.recorded_head], &self.received[..self.received_head?]);
        self.difference = head_difference(recorded, received);
        self.received_head
    }

    /// Where it differs, if it does so far.
    pub(super) fn difference(&self) -> Option<&str> {
        self.difference.as_deref()
    }

    /// Whether what answers to the first `count` recorded bytes has come.
    pub(super) fn has(&self, count: usize) -> bool {
        match (self.received_head, count.checked_sub(self.recorded_head)) {
            (Some(_), Some(after)) => self.equal >= after,
            (None, Some(_)) => false,
            // A part of a head: it may be cut elsewhere now.
            (_, None) => count == 0 || !self.received.is_empty(),
        }
    }

    /// Whether everything that was recorded has come.
    pub(super) fn is_complete(&self) -> bool {
        self.has(self.recorded.len())
    }

    /// What has come on top of what was recorded.
    pub(super) fn surplus(&self) -> Option<String> {
        if !self.is_complete() {
            return None;
        }
        let more = &self.received[self.received_head? + self.equal..];
        (!more.is_empty()).then(|| format!("{}: recorded the end, came {}", self.place(), shown(more, 0)))
    }

    /// What is missing when nothing more comes because of `reason`.
    pub(super) fn missing(&self, reason: &str) -> String {
        let recorded = match self.received_head {
            Some(_) if self.is_complete() => "the end".to_owned(),
            Some(_) => shown(&self.recorded[self.recorded_head..], self.equal),
            None => shown(self.recorded, 0),
        };
        let came = if self.received_head.is_none() && !self.received.is_empty() {
            format!("came {} and then {reason}", shown(&self.received, 0))
        } else {
            format!("then {reason}")
        };
        format!("{}: recorded {recorded}, {came}", self.place())
    }

    /// Whether more bytes could tell anything.
    pub(super) fn wants_more(&self) -> bool {
        self.difference.is_none() && self.received.len() < self.recorded.len() + SLACK
    }

    /// How many bytes have come.
    pub(super) fn received(&self) -> usize {
        self.received.len()
    }

    /// The first byte that is not known to be equal.
    fn place(&self) -> String {
        match (self.received_head, self.recorded_head) {
            (None, _) => "head".to_owned(),
            (_, 0) => format!("byte {}", self.equal),
            _ => format!("byte {} behind the head", self.equal),
        }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END).map(|at| at + HEAD_END.len())
}

/// Where two heads differ in what counts.
fn head_difference(recorded: &[u8], received: &[u8]) -> Option<String> {
    let (recorded, received) = (String::from_utf8_lossy(recorded), String::from_utf8_lossy(received));
    let status_line = |head: &str| head.lines().next().unwrap_or_default().to_owned();
    let (was, is) = (status_line(&recorded), status_line(&received));
    if was != is {
        return Some(format!("status line: recorded {was:?}, came {is:?}"));
    }
    let (was, is) = (websocket_fields(&recorded), websocket_fields(&received));
    let value = |fields: &[(String, String)], name: &str| {
        let values: Vec<_> = fields.iter().filter(|field| field.0 == name).map(|field| &*field.1).collect();
        if values.is_empty() { "none".to_owned() } else { format!("{:?}", values.join(", ")) }
    };
    was.iter().chain(&is).find_map(|(name, _)| {
        let (was, is) = (value(&was, name), value(&is, name));
        (was != is).then(|| format!("field {name}: recorded {was}, came {is}"))
    })
}

/// The fields that the opening handshake is about (RFC 6455 section 11.3): names in lower case, and values.
fn websocket_fields(head: &str) -> Vec<(String, String)> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name.starts_with("sec-websocket-"))
        .collect()
}

/// The bytes around index `at`.
fn shown(bytes: &[u8], at: usize) -> String {
    let start = at.saturating_sub(BEFORE);
    let end = bytes.len().min(start + SHOWN);
    let dots = |more| if more { "..." } else { "" };
    format!("{}\"{}\"{}", dots(start > 0), bytes[start..end].escape_ascii(), dots(end < bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nDate: then\r\nSec-WebSocket-Protocol: a\r\n\r\n";

    fn after(recorded: &[u8], pieces: &[&[u8]]) -> (Option<String>, bool, Option<String>) {
        let mut comparison = Comparison::new(recorded);
        for piece in pieces {
            comparison.take(piece);
        }
        let difference = comparison.difference().map(str::to_owned);
        (difference, comparison.is_complete(), comparison.surplus())
    }

    #[test]
    fn the_date_does_not_count_and_the_rest_does() {
        let recorded = [HEAD, b"\x81\x05hello"].concat();
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol:a\r\nDate: much later\r\n\r\n";
        let same = (None, true, None);
        assert_eq!(after(&recorded, &[head, b"\x81\x05hello"]), same);
        // However it is cut.
        let whole = [&head[..], b"\x81\x05hello"].concat();
        assert_eq!(after(&recorded, &whole.chunks(1).collect::<Vec<_>>()), same);
        assert_eq!(after(&recorded, &[head, b"\x81"]), (None, false, None));
        let (difference, is_complete, _) = after(&recorded, &[head, b"\x81\x05heLLo"]);
        let expected = r#"byte 4 behind the head: recorded "\x81\x05hello", came "\x81\x05heLLo""#;
        assert_eq!((difference.as_deref(), is_complete), (Some(expected), false));
        let (_, _, surplus) = after(&recorded, &[head, b"\x81\x05hello\x88\x00"]);
        assert_eq!(surplus.as_deref(), Some(r#"byte 7 behind the head: recorded the end, came "\x88\x00""#));
    }

    #[test]
    fn heads_differ_by_status_line_and_fields_of_the_handshake() {
        let told = |head: &[u8]| after(HEAD, &[head]).0.unwrap_or_default();
        assert_eq!(
            told(b"HTTP/1.1 404 Not Found\r\n\r\n"),
            r#"status line: recorded "HTTP/1.1 101 Switching Protocols", came "HTTP/1.1 404 Not Found""#
        );
        let begin = b"HTTP/1.1 101 Switching Protocols\r\n";
        let field = |text: &str| told(&[begin, text.as_bytes(), b"\r\n\r\n"].concat());
        assert_eq!(field("X: y"), r#"field sec-websocket-protocol: recorded "a", came none"#);
        assert_eq!(
            field("Sec-WebSocket-Protocol: b"),
            r#"field sec-websocket-protocol: recorded "a", came "b""#
        );
        assert_eq!(
            field("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: x"),
            r#"field sec-websocket-extensions: recorded none, came "x""#
        );
    }

    #[test]
    fn what_is_no_response_is_compared_from_the_first_byte_on() {
        assert_eq!(after(b"own\r\n\r\nbytes", &[b"own\r\n\r\nbytes"]), (None, true, None));
        let (difference, ..) = after(b"own bytes", &[b"own Bytes"]);
        assert_eq!(difference.as_deref(), Some(r#"byte 4: recorded "own bytes", came "own Bytes""#));
        assert_eq!(
            Comparison::new(b"own").missing("the server ended"),
            r#"byte 0: recorded "own", then the server ended"#
        );
    }

    #[test]
    fn counts_of_recorded_bytes_follow_a_head_of_another_length() {
        let recorded = [HEAD, b"12345"].concat();
        let mut comparison = Comparison::new(&recorded);
        assert!(comparison.has(0) && !comparison.has(1));
        comparison.take(b"HTTP/1.1 101 Switching Protocols\r\n");
        assert!(comparison.has(1) && !comparison.has(HEAD.len()));
        comparison.take(b"Sec-WebSocket-Protocol: a\r\n\r\n123");
        assert!(comparison.has(HEAD.len()) && comparison.has(HEAD.len() + 3));
        assert!(!comparison.has(HEAD.len() + 4) && !comparison.is_complete());
        let missing = comparison.missing("silence");
        assert_eq!(missing, r#"byte 3 behind the head: recorded "12345", then silence"#);
    }

    #[test]
    fn a_flood_is_not_kept() {
        let mut comparison = Comparison::new(b"abc");
        comparison.take(b"abc");
        assert!(comparison.wants_more());
        comparison.take(&vec![0; SLACK]);
        assert!(!comparison.wants_more());
    }
}
