//! Request targets: from `ws://host:80/a?b` to the resource `/a?b`.
//!
//! Pure: must not import tokio or pyo3.

/// What a request target names.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Host (in lower case) and port of an absolute `ws:` or `wss:` URI; `None` for any other target.
    pub site: Option<(String, u16)>,
    /// Path, query and fragment of such a URI; any other target as it is.
    pub resource: String,
}

/// Takes `target` apart as pywebsocket's `parse_uri` does. `None`: the URI has no host or a port that is no
/// number; such a request is for a file, with the whole target as its path.
#[must_use]
pub fn parse_target(target: &str) -> Option<Target> {
    let as_it_is = || Some(Target { site: None, resource: target.to_owned() });
    let Some((scheme, rest)) = target.split_once(':') else { return as_it_is() };
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "ws" => 80,
        "wss" => 443,
        _ => return as_it_is(),
    };
    let rest = rest.strip_prefix("//")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority)?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut resource = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    for (mark, part) in [('?', query), ('#', fragment)] {
        if !part.is_empty() {
            resource.push(mark);
            resource.push_str(part);
        }
    }
    Some(Target { site: Some((host, port.unwrap_or(default_port))), resource })
}

/// The host and the port of `authority` (`user@host:port`); `None` without a host, or with a port that is not
/// a number.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let site = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let (host, port) = match site.split_once('[') {
        Some((_, rest)) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.split_once(':').map_or("", |(_, port)| port))
        }
        None if site.contains(']') => return None,
        None => site.split_once(':').unwrap_or((site, "")),
    };
    if host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    // urllib.parse: the zone of an IPv6 address keeps its case.
    let (name, zone) = host.split_at(host.find('%').unwrap_or(host.len()));
    Some((name.to_lowercase() + zone, port))
}

#[cfg(test)]
mod tests {
    use super::parse_target;

    #[test]
    fn targets() {
        for (target, expected) in [
            ("/echo?a=b", Some("/echo?a=b")),
            ("*", Some("*")),
            ("a:80", Some("a:80")),
            ("http://h/a", Some("http://h/a")),
            ("ws://localhost/echo", Some("/echo")),
            ("WSS://localhost:9998/echo?a#b", Some("/echo?a#b")),
            ("ws://localhost", Some("/")),
            ("ws://localhost?a", Some("/?a")),
            ("ws://localhost/a?#", Some("/a")),
            ("ws://localhost:/a", Some("/a")),
            ("ws://user:x@localhost:1/a", Some("/a")),
            ("ws://[::1]:80/a", Some("/a")),
            ("ws://[::1/a", None),
            ("ws://::1]/a", None),
            ("ws://a]b/a", None),
            ("ws:///a", None),
            ("ws://:80/a", None),
            ("ws:/a", None),
            ("ws://localhost:x/a", None),
            ("ws://localhost:-1/a", None),
            ("ws://localhost:65536/a", None),
        ] {
            assert_eq!(parse_target(target).map(|found| found.resource).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn sites() {
        for (target, expected) in [
            ("/echo", None),
            ("http://h:1/", None),
            ("ws://LocalHost/", Some(("localhost", 80))),
            ("wss://localhost:/", Some(("localhost", 443))),
            ("ws://user:x@h:9998/a", Some(("h", 9998))),
            ("ws://[FE80::1%Eth0]:0/", Some(("fe80::1%Eth0", 0))),
        ] {
            let site = parse_target(target).expect("valid").site;
            assert_eq!(site.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{target}");
        }
    }
}
