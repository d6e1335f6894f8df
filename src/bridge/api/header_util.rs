//! `pywebsocket3.http_header_util`: the header grammar as functions on a parsing state.

use pyo3::prelude::*;

use crate::locks::Lock;
use crate::websocket::header;

/// A string and how far it was parsed (`head`, in characters).
#[pyclass(frozen, subclass, module = "pywebsocket3.http_header_util")]
pub struct ParsingState {
    data: String,
    chars: Vec<char>,
    head: Lock<usize>,
}

#[pymethods]
impl ParsingState {
    #[new]
    fn new(data: String) -> Self {
        let chars = data.chars().collect();
        Self { data, chars, head: Lock::new(0) }
    }

    /// The whole string.
    #[getter]
    fn data(&self) -> &str {
        &self.data
    }

    /// The position of the next character.
    #[getter]
    fn head(&self) -> usize {
        *self.head.lock()
    }

    #[setter]
    fn set_head(&self, head: usize) {
        *self.head.lock() = head;
    }
}

impl ParsingState {
    /// Moves the head to `end` and gives the characters that were passed.
    fn take(&self, end: Option<usize>) -> Option<String> {
        let mut head = self.head.lock();
        let taken = self.chars.get(*head..end?)?.iter().collect();
        *head = end?;
        Some(taken)
    }
}

/// The character `pos` places behind the head, or `None` at the end.
#[pyfunction]
#[pyo3(signature = (state, pos=0))]
pub fn peek(state: &ParsingState, pos: usize) -> Option<char> {
    state.chars.get(state.head().checked_add(pos)?).copied()
}

/// Takes `amount` characters, or gives `None` when there are fewer.
#[pyfunction]
#[pyo3(signature = (state, amount=1))]
pub fn consume(state: &ParsingState, amount: usize) -> Option<String> {
    let end = state.head().checked_add(amount);
    state.take(end)
}

/// Takes `expected` if it comes next.
#[pyfunction]
pub fn consume_string(state: &ParsingState, expected: &str) -> bool {
    state.take(header::consume_string(&state.chars, state.head(), expected)).is_some()
}

/// Takes linear white space (a line break counts when white space follows it).
#[pyfunction]
pub fn consume_lws(state: &ParsingState) -> bool {
    state.take(header::consume_lws(&state.chars, state.head())).is_some()
}

/// Takes any amount of linear white space.
#[pyfunction]
pub fn consume_lwses(state: &ParsingState) {
    state.take(Some(header::consume_lwses(&state.chars, state.head())));
}

/// Takes a token, or gives `None` when none comes next.
#[pyfunction]
pub fn consume_token(state: &ParsingState) -> Option<String> {
    state.take(header::consume_token(&state.chars, state.head()))
}

/// Takes a token or a quoted string and gives its value, or `None` when neither comes next.
#[pyfunction]
pub fn consume_token_or_quoted_string(state: &ParsingState) -> Option<String> {
    let (value, end) = header::consume_token_or_quoted_string(&state.chars, state.head())?;
    state.take(Some(end));
    Some(value)
}

/// The value as it is when it is a token, else as a quoted string.
#[pyfunction]
#[must_use]
pub fn quote_if_necessary(s: &str) -> String {
    header::quote_if_necessary(s)
}
