//! Who may look at the status page.
//!
//! A page of another site must not read it through a browser of this machine. So a request must name us in
//! `Host`, or the other site could have its name lead here (DNS rebinding), and must come from us, if it has an
//! `Origin`. What a page of another site includes without one, such as an image, would read nothing, but could take
//! places (`/live` does not end): browsers say so in `Sec-Fetch-Site`. With a token, a request must also bring that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// The cookie that keeps the token for the page. Cookies do not know ports, so the name has ours.
const COOKIE_NAME: &str = "wshost-status";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FORBIDDEN_HOST: &str =
    "The Host of this request is not this server's. Use the address that --status gives.\n";
const FORBIDDEN_ORIGIN: &str = "Pages of other sites may not read this one.\n";
const NO_TOKEN: &str = "This page needs its token: open the address that wshost printed at its start, or send the \
                        header \"Authorization: Bearer TOKEN\".\n";

/// What a request has to have.
pub(super) struct Guard {
    address: SocketAddr,
    name: String,
    token: Option<String>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// It brought the token in its URL: a cookie is set, and the page opened without it.
    Remember,
    Refuse(StatusCode, &'static str),
}

impl Guard {
    /// A guard for the page at `address`, listened on under `name`.
    pub(super) fn new(address: SocketAddr, name: &str, token: Option<String>) -> Self {
        Self { address, name: name.to_ascii_lowercase(), token }
    }

    /// Whether `host` (a `Host` field) is ours: a name that leads here wherever it is looked up, with our port.
    fn is_own_host(&self, host: &str) -> bool {
        let port = self.address.port();
        let (name, named_port) = match host.rsplit_once(':') {
            Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()),
            _ => (host, Some(80)),
        };
        if named_port != Some(port) {
            return false;
        }
        let name = name.to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
        match bare.parse::<IpAddr>() {
            // Other sites cannot make an address theirs.
            Ok(ip) => !self.address.ip().is_loopback() || ip.is_loopback(),
            Err(_) => name == "localhost" || name == self.name,
        }
    }

    fn is_token(&self, given: &str) -> bool {
        // Digests are compared, so that the time tells nothing of the token.
        self.token.as_ref().is_some_and(|token| Sha256::digest(token) == Sha256::digest(given))
    }

    fn cookie_name(&self) -> String {
        format!("{COOKIE_NAME}-{}", self.address.port())
    }

    fn judge(&self, method: &Method, query: Option<&str>, headers: &HeaderMap) -> Verdict {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(HOST).unwrap_or_default();
        if !self.is_own_host(host) {
            return Verdict::Refuse(StatusCode::FORBIDDEN, FORBIDDEN_HOST);
        }
        if text(ORIGIN).is_some_and(|origin| !origin.eq_ignore_ascii_case(&format!("http://{host}"))) {
            return Verdict::Refuse(StatusCode::FORBIDDEN, FORBIDDEN_ORIGIN);
        }
        // Links to us are welcome.
        let is_included = matches!(text(FETCH_SITE), Some("cross-site" | "same-site"))
            && text(FETCH_MODE).is_some_and(|mode| mode != "navigate");
        if is_included {
            return Verdict::Refuse(StatusCode::FORBIDDEN, FORBIDDEN_ORIGIN);
        }
        if method != Method::GET && method != Method::HEAD {
            return Verdict::Refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are known here.\n");
        }
        if self.token.is_none() {
            return Verdict::Pass;
        }
        let parameters = query.unwrap_or_default().split('&');
        if parameters.filter_map(|one| one.strip_prefix("token=")).any(|given| self.is_token(given)) {
            return Verdict::Remember;
        }
        let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let name = self.cookie_name();
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut given = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(each, _)| *each == name)
            .map(|(_, value)| value)
            .chain(bearer);
        if given.any(|given| self.is_token(given)) {
            Verdict::Pass
        } else {
            Verdict::Refuse(StatusCode::UNAUTHORIZED, NO_TOKEN)
        }
    }
}

/// Lets a request through, or answers it.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = match guard.judge(request.method(), request.uri().query(), request.headers()) {
        Verdict::Refuse(status, reason) => (status, reason).into_response(),
        Verdict::Remember if path == "/" => {
            let token = guard.token.as_deref().unwrap_or_default();
            let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", guard.cookie_name());
            (StatusCode::SEE_OTHER, [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)]).into_response()
        }
        Verdict::Pass | Verdict::Remember => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(guard: &Guard, query: Option<&str>, fields: &[(HeaderName, &str)]) -> Verdict {
        let headers =
            fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        guard.judge(&Method::GET, query, &headers.collect())
    }

    fn status(guard: &Guard, fields: &[(HeaderName, &str)]) -> u16 {
        match verdict(guard, None, fields) {
            Verdict::Refuse(status, _) => status.as_u16(),
            _ => 200,
        }
    }

    #[test]
    fn only_hosts_that_are_ours() {
        let local = Guard::new(([127, 0, 0, 1], 9999).into(), "Box.Example", None);
        for host in [
            "127.0.0.1:9999",
            "localhost:9999",
            "LOCALHOST:9999",
            "[::1]:9999",
            "127.1.2.3:9999",
            "box.example:9999",
        ] {
            assert_eq!(status(&local, &[(HOST, host)]), 200, "{host}");
        }
        for host in [
            "",
            "evil.example:9999",
            "localhost",
            "localhost:9998",
            "localhost.evil.example:9999",
            "192.0.2.1:9999",
            "localhost:x",
        ] {
            assert_eq!(status(&local, &[(HOST, host)]), 403, "{host}");
        }
        assert_eq!(status(&local, &[]), 403);
        let wide = Guard::new(([0, 0, 0, 0], 80).into(), "0.0.0.0", None);
        assert_eq!(status(&wide, &[(HOST, "192.0.2.1")]), 200);
        assert_eq!(status(&wide, &[(HOST, "evil.example")]), 403);
    }

    #[test]
    fn only_pages_of_ours() {
        let guard = Guard::new(([127, 0, 0, 1], 9999).into(), "127.0.0.1", None);
        let from = |origin| status(&guard, &[(HOST, "127.0.0.1:9999"), (ORIGIN, origin)]);
        assert_eq!(from("http://127.0.0.1:9999"), 200);
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:9999",
            "https://127.0.0.1:9999",
            "http://127.0.0.1:9998",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }

    #[test]
    fn what_pages_of_others_include_is_refused_and_their_links_are_not() {
        let guard = Guard::new(([127, 0, 0, 1], 9999).into(), "127.0.0.1", None);
        for (site, mode, expected) in [
            ("cross-site", "no-cors", 403),
            ("same-site", "no-cors", 403),
            ("cross-site", "navigate", 200),
            ("same-origin", "cors", 200),
            ("none", "navigate", 200),
        ] {
            let fields = [(HOST, "127.0.0.1:9999"), (FETCH_SITE, site), (FETCH_MODE, mode)];
            assert_eq!(status(&guard, &fields), expected, "{site} {mode}");
        }
    }

    #[test]
    fn the_token_comes_in_three_ways() {
        let guard = Guard::new(([10, 0, 0, 1], 9999).into(), "10.0.0.1", Some("right".to_owned()));
        let host = (HOST, "10.0.0.1:9999");
        for field in [(AUTHORIZATION, "Bearer right"), (COOKIE, "a=b; wshost-status-9999=right")] {
            assert_eq!(verdict(&guard, None, &[host.clone(), field]), Verdict::Pass);
        }
        assert_eq!(verdict(&guard, Some("a=b&token=right"), std::slice::from_ref(&host)), Verdict::Remember);
        for field in
            [(AUTHORIZATION, "Bearer wrong"), (AUTHORIZATION, "right"), (COOKIE, "wshost-status-9998=right")]
        {
            assert_eq!(status(&guard, &[host.clone(), field]), 401);
        }
        assert!(matches!(
            verdict(&guard, Some("token=wrong"), &[host]),
            Verdict::Refuse(StatusCode::UNAUTHORIZED, _)
        ));
    }
}
