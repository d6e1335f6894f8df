//! The environment of a script: what Python's `CGIHTTPRequestHandler` sets, and nothing else of the request.
//!
//! Other header fields stay out, as there: `Proxy` as `HTTP_PROXY` would be an attack ("httpoxy"). Text is
//! ISO-8859-1 on the wire and UTF-8 here, as in Python.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::script::Script;
use crate::http::error_page::SERVER;
use crate::http::head::RequestHead;

/// What a script is told about beside its own name.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The request head.
    pub head: &'a RequestHead,
    /// The client's address.
    pub peer: IpAddr,
    /// The server's name and port as configured.
    pub local: (&'a str, u16),
}

/// The whole environment of `script` for `request`.
#[must_use]
pub fn variables(script: &Script, request: Request<'_>) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> = script.inherited.iter().cloned().collect();
    let mut set = |name: &str, value: OsString| variables.insert(name.into(), value);
    let head = request.head;
    set("SERVER_SOFTWARE", SERVER.into());
    set("SERVER_NAME", request.local.0.into());
    set("GATEWAY_INTERFACE", "CGI/1.1".into());
    // pywebsocket: the version of our answers, not of the request.
    set("SERVER_PROTOCOL", "HTTP/1.0".into());
    set("SERVER_PORT", request.local.1.to_string().into());
    set("REQUEST_METHOD", head.method.clone().into());
    // pywebsocket: a script is the end of its path, so there is never more of it.
    set("PATH_INFO", OsString::new());
    set("PATH_TRANSLATED", script.root.clone().into());
    set("SCRIPT_NAME", script.name.clone());
    set("QUERY_STRING", script.query.clone().into());
    set("REMOTE_ADDR", request.peer.to_string().into());
    if let Some((scheme, user)) = head.header("Authorization").and_then(authorization) {
        set("AUTH_TYPE", scheme.into());
        if let Some(user) = user {
            set("REMOTE_USER", user.into());
        }
    }
    // email.message: `text/plain` is what has no type.
    set("CONTENT_TYPE", head.header("Content-Type").unwrap_or("text/plain").into());
    set("HTTP_ACCEPT", all(head, "Accept").join(",").into());
    let cookies = all(head, "Cookie").into_iter().filter(|cookie| !cookie.is_empty()).collect::<Vec<_>>();
    for (name, value) in [
        ("CONTENT_LENGTH", head.header("Content-Length").unwrap_or_default()),
        ("HTTP_REFERER", head.header("Referer").unwrap_or_default()),
        ("HTTP_USER_AGENT", head.header("User-Agent").unwrap_or_default()),
        ("HTTP_COOKIE", &cookies.join(", ")),
        ("REMOTE_HOST", ""),
    ] {
        // Python: what is empty is set only where nothing is inherited.
        if value.is_empty() {
            variables.entry(name.into()).or_default();
        } else {
            variables.insert(name.into(), value.into());
        }
    }
    variables
}

/// The values of all fields with this name.
fn all<'a>(head: &'a RequestHead, name: &str) -> Vec<&'a str> {
    let fields = head.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value.as_str()).collect()
}

/// The scheme of `Authorization` and, if it is `Basic`, the user.
fn authorization(value: &str) -> Option<(String, Option<String>)> {
    let mut words = value.split_whitespace();
    let (Some(scheme), Some(credential), None) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    let user = || {
        let text =
            String::from_utf8(STANDARD.decode(credential).ok()?).ok().filter(|text| text.is_ascii())?;
        // Python: no user when the password has a colon.
        let (user, password) = text.split_once(':')?;
        (!password.contains(':')).then(|| user.to_owned())
    };
    Some((scheme.to_owned(), if scheme.eq_ignore_ascii_case("basic") { user() } else { None }))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::BytesMut;

    use super::*;
    use crate::http::head::HeadParser;

    fn of(fields: &str) -> BTreeMap<OsString, OsString> {
        let mut input = BytesMut::from(format!("POST /cgi/a?x=y HTTP/1.1\r\n{fields}\r\n").as_str());
        let head = HeadParser::default().parse(&mut input, false).expect("no error").expect("a head");
        let script = Script {
            path: "/r/cgi/a".into(),
            root: "/r".into(),
            name: "/cgi/a".into(),
            query: "x=y".to_owned(),
            inherited: vec![("PATH".into(), "/bin".into()), ("HTTP_COOKIE".into(), "mine".into())],
        };
        let request = Request { head: &head, peer: Ipv4Addr::LOCALHOST.into(), local: ("h", 99) };
        variables(&script, request)
    }

    #[test]
    fn the_whole_of_it() {
        let found = of("Proxy: evil\r\nContent-Type: a/b\r\nContent-Length: 3\r\nAccept: a\r\nAccept: b\r\n\
                        Cookie: c\r\nCookie:\r\nCookie: d\r\nReferer: r\r\nUser-Agent: \u{e9}\r\n");
        let expected = [
            ("CONTENT_LENGTH", "3"),
            ("CONTENT_TYPE", "a/b"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("HTTP_ACCEPT", "a,b"),
            ("HTTP_COOKIE", "c, d"),
            ("HTTP_REFERER", "r"),
            // Two bytes on the wire, two characters of ISO-8859-1.
            ("HTTP_USER_AGENT", "\u{c3}\u{a9}"),
            ("PATH", "/bin"),
            ("PATH_INFO", ""),
            ("PATH_TRANSLATED", "/r"),
            ("QUERY_STRING", "x=y"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REMOTE_HOST", ""),
            ("REQUEST_METHOD", "POST"),
            ("SCRIPT_NAME", "/cgi/a"),
            ("SERVER_NAME", "h"),
            ("SERVER_PORT", "99"),
            ("SERVER_PROTOCOL", "HTTP/1.0"),
            ("SERVER_SOFTWARE", SERVER),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())).into());
    }

    #[test]
    fn what_is_missing_is_empty_or_inherited() {
        let found = of("");
        for (name, expected) in [
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", ""),
            ("HTTP_ACCEPT", ""),
            ("HTTP_REFERER", ""),
            ("HTTP_COOKIE", "mine"),
        ] {
            assert_eq!(found[&OsString::from(name)], expected, "{name}");
        }
        assert!(!found.contains_key(&OsString::from("AUTH_TYPE")));
    }

    #[test]
    fn users() {
        for (value, expected) in [
            ("Basic dGVzdDp0ZXN0", Some(("Basic", Some("test")))),
            ("basic  dGVzdDp0ZXN0 ", Some(("basic", Some("test")))),
            ("Basic dGVzdDphOmI=", Some(("Basic", None))),
            ("Basic ?", Some(("Basic", None))),
            ("Digest x", Some(("Digest", None))),
            ("Digest x y", None),
            ("Basic", None),
        ] {
            let found = authorization(value);
            let found = found.as_ref().map(|(scheme, user)| (scheme.as_str(), user.as_deref()));
            assert_eq!(found, expected, "{value}");
        }
    }
}
