//! What a server demands of each request before it looks for a handler: basic authentication, and the host and
//! port that an absolute `ws:` target must name.
//!
//! Pure: must not import tokio or pyo3.

use super::error_page::{python_repr, response_start};
use super::target::parse_target;
use crate::config::PolicyConfig;

/// Where the policy of a request comes from. pywebsocket reads it out of the server's options again for each
/// request, so programs that serve in their own process may change it meanwhile.
pub trait PolicySource: Send + Sync + 'static {
    /// The policy for one request. An error costs this request its connection.
    fn policy(&self) -> Result<PolicyConfig, PolicyError>;

    /// Whether [`Self::policy`] may wait, for Python above all. It is then called on a thread of its own, never
    /// on one that serves others.
    fn may_wait(&self) -> bool {
        true
    }
}

/// The same policy for all requests.
impl PolicySource for PolicyConfig {
    fn policy(&self) -> Result<PolicyConfig, PolicyError> {
        Ok(self.clone())
    }

    fn may_wait(&self) -> bool {
        false
    }
}

/// The policy could not be read; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// Why a target names no resource of ours, in pywebsocket's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no URI.
    #[error("Invalid URI: {}", python_repr(.0))]
    Uri(String),
    /// It names another host.
    #[error("Invalid host: {} (expected: {})", python_repr(.host), python_repr(.expected))]
    Host {
        /// The host that it names.
        host: String,
        /// The one that is ours.
        expected: String,
    },
    /// It names another port.
    #[error("Invalid port: {port} (expected: {expected})")]
    Port {
        /// The port that it names.
        port: u16,
        /// The one that is ours.
        expected: u16,
    },
}

impl PolicyConfig {
    /// Whether a request with this value of `Authorization` may go on. How long the answer takes tells nothing
    /// about the right value but its length.
    #[must_use]
    pub fn authorizes(&self, authorization: Option<&str>) -> bool {
        let Some(expected) = &self.basic_auth else { return true };
        expected.is(authorization.unwrap_or_default())
    }

    /// The resource that `target` names. An error, to be logged: it names none, or that of another host or
    /// port; as in pywebsocket, the request is then for a file, with the whole target as its path.
    pub fn resource(&self, target: &str) -> Result<String, TargetError> {
        let Some(found) = parse_target(target) else {
            return Err(TargetError::Uri(target.to_owned()));
        };
        if let Some((host, port)) = found.site {
            if let Some(expected) = self.validation_host.as_ref().filter(|expected| **expected != host) {
                return Err(TargetError::Host { host, expected: expected.clone() });
            }
            if let Some(expected) = self.validation_port.filter(|expected| *expected != port) {
                return Err(TargetError::Port { port, expected });
            }
        }
        Ok(found.resource)
    }
}

/// The answer to a request that is not authorized, after which the connection is to be closed: the reference's
/// bytes, a head without a page; nothing for `HTTP/0.9`, which has no heads.
#[must_use]
pub fn unauthorized(protocol: &str) -> Vec<u8> {
    if protocol == "HTTP/0.9" {
        return Vec::new();
    }
    let start = response_start(401, "Unauthorized");
    format!("{start}WWW-Authenticate: Basic realm=\"Pywebsocket\"\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn only_the_whole_value_authorizes() {
        let open = PolicyConfig::default();
        assert!(open.authorizes(None) && open.authorizes(Some("Basic eDp5")));
        let policy = PolicyConfig { basic_auth: Some(Secret::new("Basic dGVzdDp0ZXN0".to_owned())), ..open };
        assert!(policy.authorizes(Some("Basic dGVzdDp0ZXN0")));
        for refused in [
            None,
            Some(""),
            Some("Basic"),
            Some("Basic dGVzdDp0ZXN"),
            Some("Basic dGVzdDp0ZXN0 "),
            Some("Basic dGVzdDp0ZXN1"),
            Some("basic dGVzdDp0ZXN0"),
            Some("Xasic dGVzdDp0ZXN0"),
        ] {
            assert!(!policy.authorizes(refused), "{refused:?}");
        }
    }

    #[test]
    fn hosts_and_ports() {
        let policy = |host: Option<&str>, port| PolicyConfig {
            validation_host: host.map(str::to_owned),
            validation_port: port,
            basic_auth: None,
        };
        for (policy, target, expected) in [
            (policy(Some("h"), Some(81)), "/a", Ok("/a")),
            (policy(Some("h"), Some(81)), "http://x/a", Ok("http://x/a")),
            (policy(Some("h"), Some(81)), "ws://H:81/a", Ok("/a")),
            (policy(Some("h"), None), "ws://h:99/a", Ok("/a")),
            (policy(None, Some(80)), "ws://x/a", Ok("/a")),
            (policy(None, Some(443)), "wss://x/a", Ok("/a")),
            (policy(None, Some(443)), "ws://x/a", Err("Invalid port: 80 (expected: 443)")),
            (policy(Some("h"), Some(1)), "ws://x'/a", Err("Invalid host: \"x'\" (expected: 'h')")),
            (policy(Some("H"), None), "ws://H/a", Err("Invalid host: 'h' (expected: 'H')")),
            (policy(None, None), "ws://h:x/a", Err("Invalid URI: 'ws://h:x/a'")),
        ] {
            let found = policy.resource(target).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{target}");
        }
    }

    #[test]
    fn the_answer_has_no_page() {
        let response = String::from_utf8(unauthorized("HTTP/1.1")).expect("UTF-8");
        let lines: Vec<&str> = response.split("\r\n").collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "HTTP/1.0 401 Unauthorized");
        assert_eq!(lines[3..], ["WWW-Authenticate: Basic realm=\"Pywebsocket\"", "", ""]);
        assert!(unauthorized("HTTP/0.9").is_empty());
    }
}
