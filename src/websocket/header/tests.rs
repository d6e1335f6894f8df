//! Tests of [`super`]: tables for each function, and round trips.

use super::*;
use crate::websocket::testing::XorShift;

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

#[test]
fn tokens_end_at_separators_controls_and_other_scripts() {
    let cases = [
        ("token", 0, Some(5)),
        ("token", 3, Some(5)),
        ("token", 5, None),
        ("token", 6, None),
        ("", 0, None),
        ("a;b", 0, Some(1)),
        ("a;b", 1, None),
        ("aéb", 0, Some(1)),
        ("é", 0, None),
        ("a\u{7f}", 0, Some(1)),
        ("a\u{1f}", 0, Some(1)),
        ("!#$%&'*+-.^_`|~09AZaz", 0, Some(21)),
    ];
    for (text, head, expected) in cases {
        assert_eq!(consume_token(&chars(text), head), expected, "{text:?} from {head}");
    }
    for separator in SEPARATORS.chars() {
        assert_eq!(consume_token(&['a', separator], 0), Some(1), "{separator:?}");
    }
}

#[test]
fn strings_match_whole_or_not_at_all() {
    let text = chars("ébc");
    assert_eq!(consume_string(&text, 0, "éb"), Some(2));
    assert_eq!(consume_string(&text, 1, "bc"), Some(3));
    assert_eq!(consume_string(&text, 1, "bcd"), None);
    assert_eq!(consume_string(&text, 0, "bc"), None);
    assert_eq!(consume_string(&text, 3, "b"), None);
    assert_eq!(consume_string(&text, 2, ""), Some(2));
}

#[test]
fn white_space_may_hold_line_breaks_before_more_of_it() {
    // One LWS, any number of them.
    let cases = [
        ("", None, 0),
        ("x ", None, 0),
        (" \t x", Some(3), 3),
        ("\r\n x", Some(3), 3),
        ("\r\nx", None, 0),
        ("\r\n", None, 0),
        ("\n x", None, 0),
        ("\r x", None, 0),
        (" \r\n\t x", Some(1), 5),
        (" \r\nx", Some(1), 1),
        ("\r\n\r\n x", None, 0),
    ];
    for (text, one, any) in cases {
        assert_eq!(consume_lws(&chars(text), 0), one, "{text:?}");
        assert_eq!(consume_lwses(&chars(text), 0), any, "{text:?}");
    }
    assert_eq!(consume_lws(&chars(" "), 7), None);
}

#[test]
fn tokens_and_quoted_strings() {
    let cases = [
        ("foo bar", Some(("foo", 3))),
        ("", None),
        (";", None),
        (r#""""#, Some(("", 2))),
        (r#""foo" bar"#, Some(("foo", 5))),
        (r#""foo"#, None),
        (r#"""#, None),
        (r#""f;o,o""#, Some(("f;o,o", 7))),
        (r#""a\"b""#, Some(("a\"b", 6))),
        (r#""a\\b""#, Some(("a\\b", 6))),
        (r#""a\b""#, Some(("ab", 5))),
        (r#""a\"#, None),
        ("\"a\\\r\"", Some(("a\r", 5))),
        ("\"a\\ b\"", Some(("a b", 6))),
        ("\"a\\é\"", None),
        ("\"é世\"", Some(("é世", 4))),
        ("\"a \t \r\n  b\"", Some(("a  b", 11))),
        ("\"a\r\n b\"", Some(("a b", 7))),
        ("\"a\r\nb\"", None),
        ("\"a\nb\"", None),
        ("\"a\u{7f}b\"", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(value, head)| (value.to_owned(), head));
        assert_eq!(consume_token_or_quoted_string(&chars(text), 0), expected, "{text:?}");
    }
    assert_eq!(consume_token_or_quoted_string(&chars("a=\"b\""), 2), Some(("b".to_owned(), 5)));
}

#[test]
fn values_are_quoted_only_when_they_must_be() {
    let cases = [
        ("", r#""""#),
        ("foo", "foo"),
        ("foo bar", r#""foo bar""#),
        ("a\"b", r#""a\"b""#),
        ("a\tb", "\"a\\\tb\""),
        ("a\u{7f}", "\"a\\\u{7f}\""),
        ("a,b", r#""a,b""#),
        ("é", "\"é\""),
        (r"a\b", r#""a\b""#),
    ];
    for (value, expected) in cases {
        assert_eq!(quote_if_necessary(value), expected);
    }
}

#[test]
fn token_lists() {
    let cases: [(&str, Result<&[&str], TokenListError>); 12] = [
        ("chat", Ok(&["chat"])),
        ("chat, superchat", Ok(&["chat", "superchat"])),
        ("a,b\r\n ,\t c", Ok(&["a", "b", "c"])),
        (",,a,,", Ok(&["a"])),
        ("a ", Ok(&["a"])),
        ("a,a", Ok(&["a", "a"])),
        ("", Err(TokenListError::Empty)),
        (" , ", Err(TokenListError::Empty)),
        ("a b", Err(TokenListError::ExpectedComma { found: 'b' })),
        ("a;b", Err(TokenListError::ExpectedComma { found: ';' })),
        ("é", Err(TokenListError::ExpectedComma { found: 'é' })),
        ("a,\"b\"", Err(TokenListError::ExpectedComma { found: '"' })),
    ];
    for (value, expected) in cases {
        let parsed = parse_token_list(value);
        assert_eq!(
            parsed.as_ref().map(Vec::as_slice).map_err(|error| *error).map(to_strs),
            expected.map(<[_]>::to_vec)
        );
    }
}

fn to_strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

fn extension(name: &str, parameters: &[(&str, Option<&str>)]) -> Extension {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    Extension { name: name.to_owned(), parameters: parameters.collect() }
}

#[test]
fn extensions() {
    let cases = [
        ("foo", vec![extension("foo", &[])]),
        ("foo, bar", vec![extension("foo", &[]), extension("bar", &[])]),
        ("foo,,bar,", vec![extension("foo", &[]), extension("bar", &[])]),
        (", foo", vec![extension("foo", &[])]),
        (
            "foo; a=1; b; a=\"2 3\"",
            vec![extension("foo", &[("a", Some("1")), ("b", None), ("a", Some("2 3"))])],
        ),
        ("foo ;a = 1\r\n ,\tbar", vec![extension("foo", &[("a", Some("1"))]), extension("bar", &[])]),
        ("foo; a=\"\"", vec![extension("foo", &[("a", Some(""))])]),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            vec![extension(
                "permessage-deflate",
                &[("client_max_window_bits", None), ("server_max_window_bits", Some("10"))],
            )],
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(parse_extensions(value), Ok(expected), "{value:?}");
    }
}

#[test]
fn extensions_that_cannot_be_read() {
    let no_name = || ExtensionError::NoParameterName { extension: "foo".to_owned() };
    let no_value =
        || ExtensionError::NoParameterValue { extension: "foo".to_owned(), parameter: "a".to_owned() };
    let cases = [
        ("", ExtensionError::Empty),
        (",,", ExtensionError::Empty),
        ("foo bar", ExtensionError::ExpectedComma { found: 'b' }),
        ("\"foo\"", ExtensionError::ExpectedComma { found: '"' }),
        ("foo; a b", ExtensionError::ExpectedComma { found: 'b' }),
        ("foo;", no_name()),
        ("foo;; a", no_name()),
        ("foo; =1", no_name()),
        ("foo; a=", no_value()),
        ("foo; a=;", no_value()),
        ("foo; a=\"b", no_value()),
        ("bar, foo; a=\"\n\"", no_value()),
    ];
    for (value, expected) in cases {
        assert_eq!(parse_extensions(value), Err(expected), "{value:?}");
    }
}

#[test]
fn extensions_are_written_as_they_are_read() {
    let written = extension("foo", &[("a", Some("1")), ("b", None), ("c", Some("x y")), ("d", Some(""))]);
    assert_eq!(format_extension(&written), r#"foo; a=1; b; c="x y"; d="""#);
    assert_eq!(parse_extensions(&format_extension(&written)), Ok(vec![written]));
    assert_eq!(format_extension(&extension("foo", &[])), "foo");
}

#[test]
fn any_value_without_backslash_and_white_space_survives_quoting() {
    let mut random = XorShift::new(6);
    for _ in 0..2000 {
        let length = random.below(12);
        let value: String = (0..length)
            .filter_map(|_| char::from_u32(u32::try_from(random.below(300)).ok()?))
            .filter(|c| !matches!(c, '\\' | ' '))
            .collect();
        let quoted = chars(&quote_if_necessary(&value));
        assert_eq!(consume_token_or_quoted_string(&quoted, 0), Some((value, quoted.len())));
    }
}
