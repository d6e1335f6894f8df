//! Answers to requests for what is no handler: CGI scripts and files.
//!
//! Must not import `bridge` or pyo3.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use super::access_log::log_request;
use super::ending::Ending;
use super::http_connection::HttpConnection;
use super::script::{Client, Outcome};
use crate::http::cgi::{Request, RulesError, Script};
use crate::http::{Answer, Delivery, RequestBody, RequestHead, request_body, write_response};
use crate::logging::LOG_REQUEST;
use crate::patience::Patience;

/// Largest body of a request for a file, in bytes, that is read past to come to the next request.
const MAX_SKIPPED_BODY: usize = 64 * 1024;
/// How many scripts may pass a request on, one to the other.
const MAX_REDIRECTS: usize = 10;

impl HttpConnection {
    /// Answers a request for what is no handler. Returns whether another request may follow. When it cannot be
    /// found out what that is, there is no answer, as after an exception in pywebsocket.
    pub(super) async fn answer(&mut self, head: RequestHead) -> io::Result<bool> {
        let body = match request_body(&head) {
            Ok(body) => body,
            Err(error) => return self.refuse(&head, Ending::Framing(error)).await,
        };
        match (self.script(&head).await, body) {
            (Err(error), _) => {
                self.log_failure(&error);
                Ok(false)
            }
            (Ok(None), body) => self.answer_with_file(&head, skippable_body(&head, body)).await,
            (Ok(Some(script)), RequestBody::Length(length)) => {
                self.answer_with_script(head, script, length).await
            }
            // RFC 9112 section 6.3: a server may ask for the length, and RFC 3875 section 4.1.2 needs it.
            (Ok(Some(_)), RequestBody::Chunked) => self.refuse(&head, Ending::NoLength).await,
        }
    }

    /// The script that `head` asks for.
    async fn script(&self, head: &RequestHead) -> Result<Option<Script>, RulesError> {
        let is_for_scripts = matches!(head.method.as_str(), "GET" | "HEAD" | "POST");
        if self.context.scripts.cgi.rules.is_off() || !is_for_scripts {
            return Ok(None);
        }
        let (context, target) = (Arc::clone(&self.context), head.target.clone());
        let found = tokio::task::spawn_blocking(move || context.scripts.cgi.find(&target)).await;
        found.unwrap_or_else(|error| Err(RulesError(error.to_string())))
    }

    /// Runs `script`, and what it redirects to. No other request follows: the end of the connection is the end
    /// of the output, as in pywebsocket.
    async fn answer_with_script(
        &mut self,
        mut head: RequestHead,
        mut script: Script,
        mut body_length: u64,
    ) -> io::Result<bool> {
        for _ in 0..MAX_REDIRECTS {
            match self.run_script(&head, &script, body_length).await? {
                Outcome::End(ending) => return self.refuse(&head, ending).await,
                Outcome::Redirect(target) => head = redirected(head, target),
            }
            body_length = 0;
            match self.script(&head).await {
                Ok(Some(next)) => script = next,
                Ok(None) => return self.answer_with_file(&head, None).await,
                Err(error) => {
                    self.log_failure(&error);
                    return Ok(false);
                }
            }
        }
        tracing::warn!(target: LOG_REQUEST, "CGI script {:?}: more than {MAX_REDIRECTS} redirects", script.name);
        self.refuse(&head, Ending::ScriptFailed).await
    }

    async fn run_script(
        &mut self,
        head: &RequestHead,
        script: &Script,
        body_length: u64,
    ) -> io::Result<Outcome> {
        let context = Arc::clone(&self.context);
        let local = (context.local.0.as_str(), context.local.1);
        let request = Request { head, peer: self.peer.ip(), local };
        let running = match context.scripts.start(script, request, body_length > 0).await {
            Ok(running) => running,
            Err(ending) => return Ok(Outcome::End(ending)),
        };
        if body_length > self.input.len() as u64 && head.expects_continue() {
            // RFC 9110 section 10.1.1.
            self.socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.socket.flush().await?;
        }
        let client = Client {
            socket: &mut self.socket,
            unread: &mut self.input,
            body_length,
            patience: Patience::new(context.head_timeout),
            delivery: delivery(head, false),
            request_line: head.request_line(),
        };
        Ok(running.serve(client, script).await)
    }

    /// Answers with a file. `skip` is the length of the body after the head; `None`: it cannot be read past.
    async fn answer_with_file(&mut self, head: &RequestHead, skip: Option<usize>) -> io::Result<bool> {
        match self.context.files.answer(head).await {
            Answer::Page(error) => self.refuse(head, Ending::File(error)).await,
            Answer::Response(response) => {
                log_request(&head.request_line(), response.status().as_u16());
                self.skip = skip.unwrap_or(0);
                let delivery = delivery(head, head.keeps_alive() && skip.is_some());
                write_response(&mut self.socket, response, delivery).await
            }
        }
    }

    /// Tells the client why it gets nothing else. No other request follows.
    async fn refuse(&mut self, head: &RequestHead, ending: Ending) -> io::Result<bool> {
        self.tell(&ending, Some(head)).await?;
        Ok(false)
    }
}

/// What a script's local redirect makes of `head`: a request without a body for `target`.
fn redirected(head: RequestHead, target: String) -> RequestHead {
    let method = if head.method == "HEAD" { head.method } else { "GET".to_owned() };
    let is_kept = |(name, _): &(String, String)| !name.to_ascii_lowercase().starts_with("content-");
    let headers = head.headers.into_iter().filter(is_kept).collect();
    RequestHead { method, target, headers, ..head }
}

fn delivery(head: &RequestHead, keep_alive: bool) -> Delivery {
    Delivery { body_only: head.protocol == "HTTP/0.9", head_only: head.method == "HEAD", keep_alive }
}

/// The length of the body after `head`; `None` when it cannot be read past: unknown, too long, or the client
/// wants to hear first whether it may send it.
fn skippable_body(head: &RequestHead, body: RequestBody) -> Option<usize> {
    match body {
        RequestBody::Length(length) if head.header("Expect").is_none() => {
            usize::try_from(length).ok().filter(|&length| length <= MAX_SKIPPED_BODY)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::HeadParser;

    fn head_of(text: &str) -> RequestHead {
        HeadParser::default().parse(&mut BytesMut::from(text), false).expect("no error").expect("a head")
    }

    #[test]
    fn bodies_that_are_read_past() {
        for (fields, expected) in [
            ("", Some(0)),
            ("Content-Length: 5\r\n", Some(5)),
            ("Content-Length: 65536\r\n", Some(65536)),
            ("Content-Length: 65537\r\n", None),
            ("Transfer-Encoding: chunked\r\n", None),
            ("Content-Length: 5\r\nExpect: 100-continue\r\n", None),
        ] {
            let head = head_of(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let body = request_body(&head).expect("a body");
            assert_eq!(skippable_body(&head, body), expected, "{fields:?}");
        }
    }

    #[test]
    fn redirects_have_no_body() {
        let head = head_of("POST /a HTTP/1.1\r\nContent-Length: 5\r\ncontent-type: a/b\r\nAccept: c\r\n\r\n");
        let head = redirected(head, "/b".to_owned());
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/b"));
        assert_eq!(head.headers, [("Accept".to_owned(), "c".to_owned())]);
        assert_eq!(redirected(head_of("HEAD /a HTTP/1.1\r\n\r\n"), "/b".to_owned()).method, "HEAD");
    }
}
