//! The page that lists a directory without an `index.html`.
//!
//! Must not import tokio or pyo3.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use rustix::fs::{Dir, FileType};

use super::error_page::escape_html;

/// What is written as `%XX` in a link: all but the characters that RFC 3986 calls unreserved. A colon, too:
/// `a:b` would be the scheme `a`.
const LINK: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page for the open `directory`, whose URL path, as sent, is `url_path`, with the names that `is_listed`.
/// `leads_to_directory` is asked about what need not be a file. An error: the directory cannot be read.
pub fn listing(
    directory: OwnedFd,
    url_path: &str,
    is_listed: impl Fn(&OsStr) -> bool,
    leads_to_directory: impl Fn(&OsStr) -> bool,
) -> io::Result<String> {
    let mut entries = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." || !is_listed(name) {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Directory => true,
            FileType::Symlink | FileType::Unknown => leads_to_directory(name),
            _ => false,
        };
        entries.push((name.to_owned(), is_directory));
    }
    entries.sort_by_cached_key(|(name, _)| (name.to_string_lossy().to_lowercase(), name.clone()));
    Ok(page(&entries, &percent_decode_str(url_path).decode_utf8_lossy()))
}

fn page(entries: &[(OsString, bool)], shown_path: &str) -> String {
    let title = format!("Directory listing for {}", escape_html(shown_path));
    let mut page = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
<ul>
"#
    );
    if !shown_path.trim_matches('/').is_empty() {
        page.push_str("<li><a href=\"../\">../ (parent directory)</a></li>\n");
    }
    for (name, is_directory) in entries {
        let slash = if *is_directory { "/" } else { "" };
        let link = percent_encode(name.as_encoded_bytes(), LINK);
        let shown = escape_html(&name.to_string_lossy());
        let _ = writeln!(page, "<li><a href=\"{link}{slash}\">{shown}{slash}</a></li>");
    }
    page.push_str("</ul>\n</main>\n</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_escaped_and_linked() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["b.txt", "hidden", "a:b", "C", "<&\">", "\u{fc} #?%.txt"] {
            std::fs::write(directory.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(directory.path().join("Bdir")).expect("a directory");
        for link in ["y", "z"] {
            std::os::unix::fs::symlink("Bdir", directory.path().join(link)).expect("a link");
        }
        let opened = std::fs::File::open(directory.path()).expect("a directory").into();
        let page = listing(opened, "/%C3%BC%3C/", |name| name != "hidden", |name| name == "z");
        let page = page.expect("a page");
        assert!(page.contains("<h1>Directory listing for /\u{fc}&lt;/</h1>"), "{page}");
        let items: Vec<&str> = page.lines().filter(|line| line.starts_with("<li>")).collect();
        assert_eq!(
            items,
            [
                "<li><a href=\"../\">../ (parent directory)</a></li>",
                "<li><a href=\"%3C%26%22%3E\">&lt;&amp;\"&gt;</a></li>",
                "<li><a href=\"a%3Ab\">a:b</a></li>",
                "<li><a href=\"b.txt\">b.txt</a></li>",
                "<li><a href=\"Bdir/\">Bdir/</a></li>",
                "<li><a href=\"C\">C</a></li>",
                "<li><a href=\"y\">y</a></li>",
                "<li><a href=\"z/\">z/</a></li>",
                "<li><a href=\"%C3%BC%20%23%3F%25.txt\">\u{fc} #?%.txt</a></li>",
            ]
        );
    }

    #[test]
    fn the_root_has_no_parent() {
        assert!(!page(&[], "/").contains("../"));
        assert!(page(&[], "/a/").contains("../"));
    }
}
