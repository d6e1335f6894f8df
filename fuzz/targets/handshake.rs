//! What the opening handshake reads beside the extensions: the key, lists of tokens, the target.

use wshost::http::parse_target;
use wshost::websocket::handshake::{accept_key, is_valid_key};
use wshost::websocket::header::{
    consume_token, consume_token_or_quoted_string, parse_token_list, quote_if_necessary,
};

/// Takes `data` for the value of each of these.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_key(&text);
    check_tokens(&text);
    check_quotes(&text);
    check_target(&text);
}

fn check_key(key: &str) {
    let bytes = key.as_bytes();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    // 16 bytes are 128 bits: 21 characters of 6, and one of 2 with four zeros behind.
    let model = bytes.len() == 24
        && bytes[..22].iter().all(is_base64)
        && b"AQgw".contains(&bytes[21])
        && &bytes[22..] == b"==";
    assert_eq!(is_valid_key(key), model);
    let accept = accept_key(bytes);
    assert!(
        accept.len() == 28 && accept.ends_with('=') && accept.bytes().take(27).all(|byte| is_base64(&byte))
    );
}

/// RFC 2616 section 2.2.
fn is_token(text: &str) -> bool {
    let is_token_char = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    !text.is_empty() && text.chars().all(is_token_char)
}

fn check_tokens(value: &str) {
    // White space between elements may be folded over lines; what is left is taken apart at the commas.
    let simple = value.split(',').map(|part| part.trim_matches([' ', '\t'])).collect::<Vec<_>>();
    let is_simple = !value.contains(['\r', '\n']) && !value.starts_with([' ', '\t']);
    let found = parse_token_list(value);
    if is_simple {
        let named: Vec<&str> = simple.iter().copied().filter(|part| !part.is_empty()).collect();
        let is_list = !named.is_empty() && named.iter().all(|part| is_token(part));
        match &found {
            Ok(tokens) => assert!(is_list && *tokens == named, "{value:?}"),
            Err(_) => assert!(!is_list, "{value:?}"),
        }
    }
    if let Ok(tokens) = found {
        assert!(!tokens.is_empty() && tokens.iter().all(|token| is_token(token)));
        for separator in [",", ", ", " ,\r\n\t", ",, ,"] {
            assert_eq!(parse_token_list(&tokens.join(separator)).as_ref(), Ok(&tokens), "{separator:?}");
        }
    }
}

fn check_quotes(value: &str) {
    let chars: Vec<char> = value.chars().collect();
    if let Some(end) = consume_token(&chars, 0) {
        assert!(end <= chars.len() && is_token(&value[..end]), "tokens are ASCII: an index is an offset");
        assert!(chars.get(end).is_none_or(|next| !is_token(&next.to_string())));
    }
    if let Some((_, end)) = consume_token_or_quoted_string(&chars, 0) {
        assert!((1..=chars.len()).contains(&end));
    }
    let quoted = quote_if_necessary(value);
    assert_eq!(quoted == value, is_token(value));
    // White space is folded, and pywebsocket does not escape backslashes: such a value comes back changed.
    if !value.contains(['\\', '\r', '\t', ' ']) {
        let chars: Vec<char> = quoted.chars().collect();
        assert_eq!(consume_token_or_quoted_string(&chars, 0), Some((value.to_owned(), chars.len())));
    }
}

fn check_target(text: &str) {
    let Some(found) = parse_target(text) else {
        let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
        assert!(scheme == "ws" || scheme == "wss", "{text:?}");
        return;
    };
    let Some((host, port)) = found.site else {
        assert_eq!(found.resource, text, "a target without a site is left alone");
        return;
    };
    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    assert!(scheme == "ws" || scheme == "wss", "{text:?}");
    assert!(!host.is_empty() && found.resource.starts_with(['/']), "{text:?}");
    // In brackets any host can be written.
    let again = parse_target(&format!("ws://[{host}]:{port}{}", found.resource)).expect("a target");
    assert_eq!((again.site, again.resource), (Some((host, port)), found.resource));
}
