//! The value of `Sec-WebSocket-Extensions`.

use wshost::websocket::header::{Extension, ExtensionError, format_extension, parse_extensions};

/// Takes `data` for the value.
pub fn run(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    let Ok(extensions) = parse_extensions(&value) else { return };
    assert!(!extensions.is_empty());
    let size = |extension: &Extension| 1 + extension.parameters.len();
    assert!(extensions.iter().map(size).sum::<usize>() <= value.len(), "each takes a character at least");
    let formatted: Vec<String> = extensions.iter().map(format_extension).collect();
    // pywebsocket does not escape backslashes, and white space in quotes is folded, so that a value which has
    // them may come back changed. All others come back, whatever stands between the elements.
    let is_plain = |value: &str| !value.contains(['\\', ' ', '\t', '\r']);
    let mut values = extensions.iter().flat_map(|extension| &extension.parameters);
    if values.all(|(_, value)| value.as_deref().is_none_or(is_plain)) {
        for separator in [",", ", ", "\t, ,\r\n "] {
            assert_eq!(
                parse_extensions(&formatted.join(separator)).as_ref(),
                Ok(&extensions),
                "{separator:?}"
            );
        }
        // A list is its elements: one alone is read as it is among others.
        for (extension, text) in extensions.iter().zip(&formatted) {
            assert_eq!(parse_extensions(text).as_deref(), Ok(std::slice::from_ref(extension)));
        }
    }
    let with_garbage = format!("{}=", formatted.join(","));
    let last = extensions.last().and_then(|extension| extension.parameters.last());
    if last.is_none_or(|(_, value)| value.is_some()) {
        // Behind a name or a value there is no equals sign. Not so where backslashes end no quotes.
        let is_error =
            matches!(parse_extensions(&with_garbage), Err(ExtensionError::ExpectedComma { found: '=' }));
        assert!(is_error || value.contains('\\'), "{with_garbage:?}");
    }
}
