//! Request targets: from `ws://host:80/a?b` to the resource `/a?b`.
//!
//! Pure: must not import tokio or pyo3.

/// The resource that a request target names, as pywebsocket's `parse_uri` finds it: path, query and fragment
/// of an absolute `ws:` or `wss:` URI, any other target as it is. `None`: the URI has no host or a port that
/// is no number; such a request is for a file, with the whole target as its path.
#[must_use]
pub fn resource(target: &str) -> Option<String> {
    let Some((scheme, rest)) = target.split_once(':') else {
        return Some(target.to_owned());
    };
    if !scheme.eq_ignore_ascii_case("ws") && !scheme.eq_ignore_ascii_case("wss") {
        return Some(target.to_owned());
    }
    let rest = rest.strip_prefix("//")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !has_host_and_valid_port(authority) {
        return None;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut resource = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    for (mark, part) in [('?', query), ('#', fragment)] {
        if !part.is_empty() {
            resource.push(mark);
            resource.push_str(part);
        }
    }
    Some(resource)
}

/// Whether `authority` (`user@host:port`) has a host, and a port that is a number or none.
fn has_host_and_valid_port(authority: &str) -> bool {
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let (host, port) = match host_and_port.split_once('[') {
        Some((_, rest)) => {
            let Some((host, rest)) = rest.split_once(']') else { return false };
            (host, rest.split_once(':').map_or("", |(_, port)| port))
        }
        None if host_and_port.contains(']') => return false,
        None => host_and_port.split_once(':').unwrap_or((host_and_port, "")),
    };
    let port_is_valid =
        port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    !host.is_empty() && port_is_valid
}

#[cfg(test)]
mod tests {
    use super::resource;

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
            ("ws:///a", None),
            ("ws://:80/a", None),
            ("ws:/a", None),
            ("ws://localhost:x/a", None),
            ("ws://localhost:-1/a", None),
            ("ws://localhost:65536/a", None),
        ] {
            assert_eq!(resource(target).as_deref(), expected, "{target}");
        }
    }
}
