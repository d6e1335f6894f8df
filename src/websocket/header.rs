//! The grammar of header values that the opening handshake needs (RFC 2616 section 2.2 as pywebsocket reads it):
//! tokens, quoted strings, linear white space, token lists, extension lists (RFC 6455 section 9.1).
//!
//! Must not import tokio or pyo3.
//!
//! The `consume_` functions work on characters and an index, because pywebsocket's parsing state, which handlers can
//! see, counts characters. Each gives the new index; where nothing matched it gives `None` and the index stays.

use thiserror::Error;

/// Characters that end a token (RFC 2616 section 2.2).
const SEPARATORS: &str = "()<>@,;:\\\"/[]?={} \t";

/// CTL of RFC 2616 section 2.2: U+0000 to U+001F and U+007F.
fn is_ctl(c: char) -> bool {
    c.is_ascii_control()
}

/// Whether `c` may stand in a token.
fn is_token_char(c: char) -> bool {
    c.is_ascii() && !is_ctl(c) && !SEPARATORS.contains(c)
}

/// Skips a token; `None` when there is none at `head`.
#[must_use]
pub fn consume_token(chars: &[char], head: usize) -> Option<usize> {
    let length = chars.get(head..)?.iter().take_while(|c| is_token_char(**c)).count();
    (length > 0).then_some(head + length)
}

/// Skips `expected`; `None` when something else is at `head`.
#[must_use]
pub fn consume_string(chars: &[char], head: usize, expected: &str) -> Option<usize> {
    expected.chars().try_fold(head, |head, c| (chars.get(head) == Some(&c)).then_some(head + 1))
}

/// Skips one LWS: an optional CR LF and at least one space or tab.
#[must_use]
pub fn consume_lws(chars: &[char], head: usize) -> Option<usize> {
    let start = consume_string(chars, head, "\r\n").unwrap_or(head);
    let length = chars.get(start..)?.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
    (length > 0).then_some(start + length)
}

/// Skips any number of LWS, none included.
#[must_use]
pub fn consume_lwses(chars: &[char], mut head: usize) -> usize {
    while let Some(next) = consume_lws(chars, head) {
        head = next;
    }
    head
}

/// Reads a token, or a quoted string without its quotes and escapes, each LWS in it as one space.
///
/// `None` when neither is at `head`: no closing quote, a control character, or an escaped character beyond ASCII.
#[must_use]
pub fn consume_token_or_quoted_string(chars: &[char], head: usize) -> Option<(String, usize)> {
    let Some(mut head) = consume_string(chars, head, "\"") else {
        let end = consume_token(chars, head)?;
        return Some((chars[head..end].iter().collect(), end));
    };
    let mut value = String::new();
    loop {
        if let Some(next) = consume_lws(chars, head) {
            value.push(' ');
            head = next;
            continue;
        }
        let c = *chars.get(head)?;
        head += 1;
        match c {
            '"' => return Some((value, head)),
            '\\' => {
                value.push(*chars.get(head).filter(|escaped| escaped.is_ascii())?);
                head += 1;
            }
            c if is_ctl(c) => return None,
            c => value.push(c),
        }
    }
}

/// `value` as it may stand in a header: as it is when it is a token, else as a quoted string.
///
/// pywebsocket: a backslash is not escaped, so such a value is read back without it.
#[must_use]
pub fn quote_if_necessary(value: &str) -> String {
    if !value.is_empty() && value.chars().all(is_token_char) {
        return value.to_owned();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if c == '"' || is_ctl(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A list of tokens that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenListError {
    /// Something that is neither a token nor a comma.
    #[error("Expected a comma but found '{found}'")]
    ExpectedComma {
        /// The character in the comma's place.
        found: char,
    },
    /// No token at all.
    #[error("No valid token found")]
    Empty,
}

/// Reads `1#token`; empty elements are skipped. Leading white space must have been trimmed.
pub fn parse_token_list(value: &str) -> Result<Vec<String>, TokenListError> {
    let chars: Vec<char> = value.chars().collect();
    let mut tokens = Vec::new();
    let mut head = 0;
    loop {
        if let Some(end) = consume_token(&chars, head) {
            tokens.push(chars[head..end].iter().collect());
            head = end;
        }
        head = match next_element(&chars, head) {
            Ok(Some(next)) => next,
            Ok(None) if tokens.is_empty() => return Err(TokenListError::Empty),
            Ok(None) => return Ok(tokens),
            Err(found) => return Err(TokenListError::ExpectedComma { found }),
        };
    }
}

/// Skips the comma after a list's element and the white space around it; `None` at the end, the character in the
/// comma's place as error.
fn next_element(chars: &[char], head: usize) -> Result<Option<usize>, char> {
    let head = consume_lwses(chars, head);
    match chars.get(head) {
        None => Ok(None),
        Some(',') => Ok(Some(consume_lwses(chars, head + 1))),
        Some(found) => Err(*found),
    }
}

/// An element of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The extension's name.
    pub name: String,
    /// Its parameters in the order of the header; a name may come twice. `None` for a parameter without `=`.
    pub parameters: Vec<(String, Option<String>)>,
}

/// A list of extensions that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtensionError {
    /// No token after a semicolon.
    #[error("Failed to parse parameter for '{extension}': No valid parameter name found")]
    NoParameterName {
        /// The extension whose parameter it is.
        extension: String,
    },
    /// Neither a token nor a quoted string after an equals sign.
    #[error(
        "Failed to parse parameter for '{extension}': \
         No valid parameter value found on the right-hand side of parameter '{parameter}'"
    )]
    NoParameterValue {
        /// The extension whose parameter it is.
        extension: String,
        /// The parameter's name.
        parameter: String,
    },
    /// Something that is neither an extension nor a comma.
    #[error("Failed to parse Sec-WebSocket-Extensions header: Expected a comma but found '{found}'")]
    ExpectedComma {
        /// The character in the comma's place.
        found: char,
    },
    /// No extension at all.
    #[error("No valid extension entry found")]
    Empty,
}

/// Reads the value of `Sec-WebSocket-Extensions`; empty elements are skipped. Leading white space must have been
/// trimmed.
///
/// pywebsocket: a quoted value need not hold a token, though RFC 6455 section 9.1 says so.
pub fn parse_extensions(value: &str) -> Result<Vec<Extension>, ExtensionError> {
    let chars: Vec<char> = value.chars().collect();
    let mut extensions = Vec::new();
    let mut head = 0;
    loop {
        if let Some(end) = consume_token(&chars, head) {
            let name = chars[head..end].iter().collect();
            let (extension, end) = parse_parameters(&chars, end, name)?;
            extensions.push(extension);
            head = end;
        }
        head = match next_element(&chars, head) {
            Ok(Some(next)) => next,
            Ok(None) if extensions.is_empty() => return Err(ExtensionError::Empty),
            Ok(None) => return Ok(extensions),
            Err(found) => return Err(ExtensionError::ExpectedComma { found }),
        };
    }
}

/// Reads the parameters of the extension `name` from after its name; gives the index after the last one.
fn parse_parameters(
    chars: &[char],
    mut head: usize,
    name: String,
) -> Result<(Extension, usize), ExtensionError> {
    let mut parameters = Vec::new();
    loop {
        head = consume_lwses(chars, head);
        let Some(next) = consume_string(chars, head, ";") else {
            return Ok((Extension { name, parameters }, head));
        };
        head = consume_lwses(chars, next);
        let Some(end) = consume_token(chars, head) else {
            return Err(ExtensionError::NoParameterName { extension: name });
        };
        let parameter: String = chars[head..end].iter().collect();
        head = consume_lwses(chars, end);
        let Some(next) = consume_string(chars, head, "=") else {
            parameters.push((parameter, None));
            continue;
        };
        head = consume_lwses(chars, next);
        let Some((value, next)) = consume_token_or_quoted_string(chars, head) else {
            return Err(ExtensionError::NoParameterValue { extension: name, parameter });
        };
        head = next;
        parameters.push((parameter, Some(value)));
    }
}

/// An extension as it stands in `Sec-WebSocket-Extensions`.
#[must_use]
pub fn format_extension(extension: &Extension) -> String {
    let mut formatted = extension.name.clone();
    for (name, value) in &extension.parameters {
        formatted.push_str("; ");
        formatted.push_str(name);
        if let Some(value) = value {
            formatted.push('=');
            formatted.push_str(&quote_if_necessary(value));
        }
    }
    formatted
}

#[cfg(test)]
mod tests;
