//! What a request for a file makes of it: all of it, a part (RFC 9110 section 14), or nothing because a condition is
//! not met (section 13).
//!
//! Must not import tokio or pyo3.

use std::fs::Metadata;
use std::ops::RangeInclusive;
use std::time::{Duration, UNIX_EPOCH};

use super::fields::trim_ows;
use super::head::RequestHead;

/// The last second that an HTTP date can name, of the year 9999.
const LAST_DATE: u64 = 253_402_300_799;

/// One version of a file, as clients know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its length in bytes.
    pub length: u64,
    /// Its entity tag, in quotes.
    pub tag: Option<String>,
    /// When it was last modified, in seconds since 1970; `None` when no HTTP date says it.
    modified: Option<u64>,
}

impl Version {
    /// The version of the file that has this `metadata`.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let length = metadata.len();
        let since = metadata.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        let tag =
            since.map(|since| format!("\"{:x}.{:08x}-{length:x}\"", since.as_secs(), since.subsec_nanos()));
        Self { length, tag, modified: since.map(|since| since.as_secs()).filter(|since| *since <= LAST_DATE) }
    }

    /// The value of `Last-Modified`.
    #[must_use]
    pub fn last_modified(&self) -> Option<String> {
        self.modified.map(|since| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since)))
    }
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Whole,
    /// These bytes: 206.
    Part(RangeInclusive<u64>),
    /// No part of it is what was asked for: 416.
    NoPart,
    /// The client has it already: 304.
    NotModified,
    /// It is not the version that the client wants: 412.
    Failed,
}

/// The fields of a request that [`Self::judge`] looks at.
#[derive(Debug, Default)]
pub struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
    if_unmodified_since: Option<String>,
    if_range: Option<String>,
    range: Option<String>,
}

impl Conditions {
    /// The conditions of `head`.
    #[must_use]
    pub fn of(head: &RequestHead) -> Self {
        let mut found = Self::default();
        let mut ranges = 0;
        for (name, value) in &head.headers {
            let (field, is_list) = match name.to_ascii_lowercase().as_str() {
                "if-match" => (&mut found.if_match, true),
                "if-none-match" => (&mut found.if_none_match, true),
                "if-modified-since" => (&mut found.if_modified_since, false),
                "if-unmodified-since" => (&mut found.if_unmodified_since, false),
                "if-range" => (&mut found.if_range, false),
                // Section 14.2: ranges are for GET.
                "range" if head.method == "GET" => {
                    ranges += 1;
                    (&mut found.range, false)
                }
                _ => continue,
            };
            let value = trim_ows(value);
            match field {
                Some(before) if is_list => before.extend([",", value]),
                Some(_) => {}
                None => *field = Some(value.to_owned()),
            }
        }
        // No list: what two of them mean is not said, and a server may ignore them.
        found.range = found.range.filter(|_| ranges == 1);
        found
    }

    /// What they make of a file, in the order of section 13.2.2.
    #[must_use]
    pub fn judge(&self, version: &Version) -> Verdict {
        let tag = version.tag.as_deref();
        match (&self.if_match, self.if_unmodified_since.as_deref().and_then(seconds)) {
            // Section 13.1.1: a weak tag never does.
            (Some(tags), _) if !names(tags, tag, false) => return Verdict::Failed,
            (None, Some(since)) if version.modified.is_some_and(|modified| modified > since) => {
                return Verdict::Failed;
            }
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since.as_deref().and_then(seconds)) {
            (Some(tags), _) if names(tags, tag, true) => return Verdict::NotModified,
            (None, Some(since)) if version.modified.is_some_and(|modified| modified <= since) => {
                return Verdict::NotModified;
            }
            _ => {}
        }
        // Section 13.1.5: a part of another version is of no use.
        let is_current = |wanted: &String| {
            Some(wanted.as_str()) == tag || Some(wanted) == version.last_modified().as_ref()
        };
        let range = self.range.as_deref().filter(|_| self.if_range.as_ref().is_none_or(is_current));
        range.map_or(Verdict::Whole, |range| part(range, version.length))
    }
}

/// Whether the list `tags` names `tag`; `*` names any.
fn names(tags: &str, tag: Option<&str>, weakly: bool) -> bool {
    let Some(tag) = tag else { return false };
    let mut is_quoted = false;
    // Section 8.8.3: a tag may have commas inside its quotes.
    let between = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    tags == "*"
        || tags.split(between).map(trim_ows).any(|listed| {
            let listed = if weakly { listed.strip_prefix("W/").unwrap_or(listed) } else { listed };
            listed == tag
        })
}

/// An HTTP date in seconds since 1970; `None` for anything else, which is to be ignored.
fn seconds(date: &str) -> Option<u64> {
    // httpdate passes over what Unicode calls space.
    let is_text = date.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let date = httpdate::parse_http_date(date).ok().filter(|_| is_text)?;
    Some(date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// What of `length` bytes the value of `Range` asks for (section 14.1.2).
fn part(range: &str, length: u64) -> Verdict {
    let Some((unit, set)) = range.split_once('=') else { return Verdict::Whole };
    // Section 14.1: names of units have no case; unknown ones are ignored.
    if !unit.eq_ignore_ascii_case("bytes") {
        return Verdict::Whole;
    }
    let specs = set.split(',').map(trim_ows).filter(|spec| !spec.is_empty());
    let Some(parts) = specs.map(|spec| bytes_of(spec, length)).collect::<Option<Vec<_>>>() else {
        return Verdict::NoPart;
    };
    match &parts[..] {
        parts if parts.iter().all(RangeInclusive::is_empty) => Verdict::NoPart,
        [part] => Verdict::Part(part.clone()),
        // Section 14.2: a server may ignore ranges. Several would need a body of several parts.
        _ => Verdict::Whole,
    }
}

/// The bytes that `spec` (`0-4`, `5-`, `-5`) names, an empty range when there are none of them; `None`: it is no such
/// text.
fn bytes_of(spec: &str, length: u64) -> Option<RangeInclusive<u64>> {
    let nothing = RangeInclusive::new(1, 0);
    let (first, last) = spec.split_once('-')?;
    let end = length.checked_sub(1);
    if first.is_empty() {
        let count = number(last)?;
        let named = end.filter(|_| count > 0).map(|end| length.saturating_sub(count)..=end);
        return Some(named.unwrap_or(nothing));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    let named = end.filter(|end| first <= *end).map(|end| first..=last.min(end));
    (first <= last).then(|| named.unwrap_or(nothing))
}

/// `1*DIGIT`; what is too large is larger than any file.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::head::HeadParser;

    fn judge(request: &str, version: &Version) -> Verdict {
        let mut input = BytesMut::from(format!("{request}\r\n\r\n").as_str());
        let head = HeadParser::default().parse(&mut input, false).expect("no error").expect("a head");
        Conditions::of(&head).judge(version)
    }

    fn get(fields: &str, length: u64) -> Verdict {
        let version = Version { length, tag: Some("\"a,b\"".to_owned()), modified: Some(1_000_000_000) };
        judge(&format!("GET / HTTP/1.1\r\n{fields}"), &version)
    }

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes=0-0", Verdict::Part(0..=0)),
            ("bytes=2-4", Verdict::Part(2..=4)),
            ("bytes=002-04", Verdict::Part(2..=4)),
            ("bytes=2-", Verdict::Part(2..=9)),
            ("bytes=9-99999999999999999999", Verdict::Part(9..=9)),
            ("bytes=-3", Verdict::Part(7..=9)),
            ("bytes=-10", Verdict::Part(0..=9)),
            ("bytes=-200", Verdict::Part(0..=9)),
            ("bytes=-99999999999999999999", Verdict::Part(0..=9)),
            ("Bytes=0-1", Verdict::Part(0..=1)),
            ("BYTES=0-1", Verdict::Part(0..=1)),
            ("bytes=0-1,", Verdict::Part(0..=1)),
            ("bytes=, 0-1 ,", Verdict::Part(0..=1)),
            ("bytes=10-", Verdict::NoPart),
            ("bytes=99999999999999999999-", Verdict::NoPart),
            ("bytes=-0", Verdict::NoPart),
            ("bytes=20-,30-", Verdict::NoPart),
            ("bytes=0-1,3-4", Verdict::Whole),
            ("bytes=0-1 ,\t3-4", Verdict::Whole),
            ("bytes=0-1,20-", Verdict::Whole),
            ("bytes=5-3", Verdict::NoPart),
            ("bytes=0-1,5-3", Verdict::NoPart),
            ("bytes=", Verdict::NoPart),
            ("bytes=a-b", Verdict::NoPart),
            ("bytes=+0-1", Verdict::NoPart),
            ("bytes=0-+1", Verdict::NoPart),
            ("bytes=0-1-2", Verdict::NoPart),
            ("bytes=0-1\x0b", Verdict::NoPart),
            ("bytes=\u{a0}0-1", Verdict::NoPart),
            ("bytes=--1", Verdict::NoPart),
            ("bytes=-", Verdict::NoPart),
            ("lines=0-1", Verdict::Whole),
            ("bytes =0-1", Verdict::Whole),
            ("bytes 0-1", Verdict::Whole),
            ("", Verdict::Whole),
        ] {
            assert_eq!(get(&format!("Range: {range}"), 10), expected, "{range}");
        }
        assert_eq!(get("Range: bytes=0-1\r\nRange: bytes=3-4", 10), Verdict::Whole);
        let version = Version { length: 10, tag: None, modified: None };
        assert_eq!(judge("HEAD / HTTP/1.1\r\nRange: bytes=0-1", &version), Verdict::Whole);
    }

    #[test]
    fn nothing_is_a_part_of_an_empty_file() {
        for range in ["0-", "0-0", "-5", "-0", "5-", "0-,1-", ""] {
            assert_eq!(get(&format!("Range: bytes={range}"), 0), Verdict::NoPart, "{range}");
        }
        assert_eq!(get("Range: lines=0-", 0), Verdict::Whole);
    }

    #[test]
    fn conditions() {
        const AT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
        const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
        for (fields, expected) in [
            (r#"If-None-Match: "a,b""#.to_owned(), Verdict::NotModified),
            (r#"If-None-Match: W/"a,b""#.to_owned(), Verdict::NotModified),
            ("If-None-Match: *".to_owned(), Verdict::NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"a,b\"".to_owned(), Verdict::NotModified),
            (r#"If-None-Match: "a","b""#.to_owned(), Verdict::Whole),
            ("If-None-Match: a,b".to_owned(), Verdict::Whole),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {AT}"), Verdict::Whole),
            (format!("If-Modified-Since: {AT}"), Verdict::NotModified),
            (format!("If-Modified-Since: {BEFORE}"), Verdict::Whole),
            (format!("If-Modified-Since: {AT}\x0b"), Verdict::Whole),
            ("If-Modified-Since: nonsense".to_owned(), Verdict::Whole),
            (r#"If-Match: "x", "a,b""#.to_owned(), Verdict::Whole),
            (r#"If-Match: W/"a,b""#.to_owned(), Verdict::Failed),
            ("If-Match: *".to_owned(), Verdict::Whole),
            (r#"If-Match: "x""#.to_owned(), Verdict::Failed),
            (format!("If-Unmodified-Since: {AT}"), Verdict::Whole),
            (format!("If-Unmodified-Since: {BEFORE}"), Verdict::Failed),
            (format!("If-Unmodified-Since: {BEFORE}\r\nIf-Match: *"), Verdict::Whole),
            ("Range: bytes=1-2\r\nIf-Range: \"a,b\"".to_owned(), Verdict::Part(1..=2)),
            (format!("Range: bytes=1-2\r\nIf-Range: {AT}"), Verdict::Part(1..=2)),
            ("Range: bytes=1-2\r\nIf-Range: W/\"a,b\"".to_owned(), Verdict::Whole),
            (format!("Range: bytes=1-2\r\nIf-Range: {BEFORE}"), Verdict::Whole),
            (format!("Range: bytes=1-2\r\nIf-Modified-Since: {AT}"), Verdict::NotModified),
        ] {
            assert_eq!(get(&fields, 10), expected, "{fields}");
        }
    }
}
