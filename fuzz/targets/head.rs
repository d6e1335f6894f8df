//! Request heads, and how long the body behind them is.

use bytes::BytesMut;
use wshost::http::{HeadError, HeadParser, RequestBody, RequestHead, request_body};

use super::input::Input;

/// The limits that the server promises: bytes of a head, lines of a head behind the request line.
const MAX_HEAD: usize = 512 * 1024;
const MAX_LINES: usize = 100;

/// Takes the first byte for the way to cut, the rest for what a client sends.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let (bytes, at_eof) = (input.0, choice & 1 == 1);
    let (found, rest) = at_once(bytes, at_eof);
    let (in_pieces, rest_of_pieces) = piece_by_piece(bytes, at_eof, choice);
    match (&found, &in_pieces) {
        (Ok(Some(whole)), Ok(Some(cut))) => {
            assert_eq!((&whole.raw, &whole.headers), (&cut.raw, &cut.headers));
            assert_eq!(rest, rest_of_pieces);
        }
        (Ok(None), Ok(None)) => assert!(!at_eof && without_empty_lines(bytes) == &rest[..]),
        (Err(whole), Err(cut)) => assert_eq!(whole, cut),
        _ => panic!("at once {found:?}, in pieces {in_pieces:?}"),
    }
    match found {
        Ok(Some(head)) => check(&head, bytes, &rest),
        Err(HeadError::Rejected(rejection)) => check_page(&rejection.response()),
        Ok(None) | Err(HeadError::Empty) => {}
    }
}

type Found = Result<Option<RequestHead>, HeadError>;

fn at_once(bytes: &[u8], at_eof: bool) -> (Found, BytesMut) {
    let mut input = BytesMut::from(bytes);
    (HeadParser::default().parse(&mut input, at_eof), input)
}

fn piece_by_piece(bytes: &[u8], at_eof: bool, choice: u8) -> (Found, BytesMut) {
    let mut parser = HeadParser::default();
    let mut input = BytesMut::new();
    let mut found = Ok(None);
    for piece in Input(bytes).pieces(choice >> 1) {
        input.extend_from_slice(piece);
        if matches!(found, Ok(None)) {
            found = parser.parse(&mut input, false);
        }
    }
    if at_eof && matches!(found, Ok(None)) {
        found = parser.parse(&mut input, true);
    }
    (found, input)
}

/// What is left of `bytes` when the empty lines in front of a request are passed over.
fn without_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n").or(bytes.strip_prefix(b"\n")) {
        bytes = rest;
    }
    bytes
}

fn check(head: &RequestHead, bytes: &[u8], rest: &[u8]) {
    assert_eq!([&head.raw, rest].concat(), without_empty_lines(bytes), "each byte is the head's or left");
    assert!(head.raw.len() <= MAX_HEAD && line_ends(&head.raw) <= MAX_LINES + 1);
    // A lone CR ends a field, but no line.
    assert!(head.headers.len() < MAX_LINES || head.raw.contains(&b'\r'));
    assert!(!head.request_line().contains('\n'), "one line for the log");
    for word in [&head.method, &head.target, &head.protocol] {
        assert!(!word.is_empty() && !word.contains([' ', '\t', '\r', '\n']), "{word:?}");
    }
    assert!(head.protocol.starts_with("HTTP/") && !head.target.starts_with("//"));
    for (name, _) in &head.headers {
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'),
            "{name:?}"
        );
        assert!(head.header(&name.to_ascii_uppercase()).is_some());
    }
    comes_back(head);
    if let Ok(body) = request_body(head) {
        is_read_alike(head, body);
    }
}

/// A head that is written down again from its fields has the same fields.
fn comes_back(head: &RequestHead) {
    let mut text = format!("{} {} {}\r\n", head.method, head.target, head.protocol);
    if head.protocol == "HTTP/0.9" && !head.raw.windows(8).any(|bytes| bytes == b"HTTP/0.9") {
        text = format!("{} {}\r\n", head.method, head.target);
    }
    for (name, value) in &head.headers {
        text += &[name, ":", value, "\n"].concat();
    }
    text.push_str("\r\n");
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("ISO-8859-1")).collect();
    let (found, rest) = at_once(&bytes, false);
    if line_ends(&bytes) > MAX_LINES + 1 {
        // Fields that lone CRs ended have lines of their own now, too many of them.
        assert!(matches!(found, Err(HeadError::Rejected(rejection)) if rejection.status == 431));
        return;
    }
    let Ok(Some(again)) = found else { panic!("{text:?} gave {found:?}") };
    assert!(rest.is_empty());
    let first = (&head.method, &head.target, &head.protocol, &head.headers);
    assert_eq!((&again.method, &again.target, &again.protocol, &again.headers), first);
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// What is answered and read on behind is taken in one way only: a parser that others use finds the same head.
fn is_read_alike(head: &RequestHead, body: RequestBody) {
    let values = |name: &'static str| {
        head.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    // RFC 9112 section 3.2.
    let hosts = values("host").count();
    assert!(hosts == 1 || hosts == 0 && ["HTTP/1.0", "HTTP/0.9"].contains(&head.protocol.as_str()));
    match body {
        RequestBody::Chunked => assert_eq!(values("content-length").count(), 0),
        RequestBody::Length(0) => {
            let is_zero = |value: &String| without_ows(value).bytes().all(|byte| byte == b'0');
            assert!(values("content-length").all(is_zero));
        }
        RequestBody::Length(length) => {
            let written: Vec<&str> = values("content-length").map(|value| without_ows(value)).collect();
            assert!(
                written.len() == 1 && written[0].bytes().all(|byte| byte.is_ascii_digit()),
                "{written:?}"
            );
            assert_eq!(written[0].parse(), Ok(length));
            assert_eq!(values("transfer-encoding").count(), 0);
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut other = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = other.parse(&head.raw) else { return };
    assert_eq!(length, head.raw.len(), "where the head ends");
    assert_eq!(other.headers.len(), head.headers.len());
    for (theirs, (name, value)) in other.headers.iter().zip(&head.headers) {
        assert_eq!(theirs.name, name);
        let theirs: String = theirs.value.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(theirs.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
    }
}

/// `value` without the only white space that HTTP knows around it.
fn without_ows(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// The page of an error is whole: a head in single lines, and the length that it names.
fn check_page(page: &[u8]) {
    assert!(!page.is_empty());
    if !page.starts_with(b"HTTP/") {
        return;
    }
    let end = page.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the end of the head") + 4;
    let head = std::str::from_utf8(&page[..end]).unwrap_or_default();
    let named = head.split("\r\nContent-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    if let Some(length) = named {
        assert!(length.parse() == Ok(page.len() - end) || page.len() == end, "{length}");
    }
    for line in page[..end - 4].split(|byte| *byte == b'\n').rev().skip(1) {
        assert_eq!(line.last(), Some(&b'\r'), "a line of its own in the head");
    }
}
