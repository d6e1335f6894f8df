//! Fragments that are put together to messages.

use wshost::websocket::frame::opcode;
use wshost::websocket::message::{Assembler, Complete, FragmentError};

use super::input::Input;

/// Takes `data` as a limit and a row of frames: a byte with FIN and opcode, a byte with the length, the payload.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let limit = u64::from(input.byte());
    let mut assembler = Assembler::new();
    let mut model = Model { limit, open: None };
    while !input.0.is_empty() {
        let (first, length) = (input.byte(), input.byte());
        let (fin, code) = (first & 0x80 != 0, first & 0x0f);
        let payload = input.take(usize::from(length));
        let open_before = assembler.open_opcode();
        let pushed = assembler.push(code, fin, payload.to_vec(), limit);
        assert_eq!(
            pushed,
            model.push(code, fin, payload),
            "opcode {code}, fin {fin}, {} bytes",
            payload.len()
        );
        if pushed.is_err() {
            assert_eq!(assembler.open_opcode(), open_before, "a refused frame changes nothing");
        }
        assert_eq!(assembler.open_opcode(), model.open.as_ref().map(|message| message.opcode));
        // The server asks after every fragment of a text, and ends with the first one that is broken.
        let broken = model.broken_text();
        assert_eq!(assembler.broken_text(), broken);
        if broken.is_some() {
            return;
        }
    }
}

/// RFC 6455 section 5.4, without a thought for speed.
struct Model {
    limit: u64,
    open: Option<Complete>,
}

impl Model {
    fn push(&mut self, code: u8, fin: bool, payload: &[u8]) -> Result<Option<Complete>, FragmentError> {
        if code >= 8 && (fin || self.open.is_none()) {
            let whole = Complete { opcode: code, payload: payload.to_vec() };
            return if fin { Ok(Some(whole)) } else { Err(FragmentError::FragmentedControl) };
        }
        let all = match (&self.open, code) {
            (None, 0) => return Err(FragmentError::UnexpectedContinuation { fin }),
            (Some(_), 1..) => return Err(FragmentError::UnfinishedMessage { fin }),
            (None, _) => Complete { opcode: code, payload: payload.to_vec() },
            (Some(open), 0) => Complete { opcode: open.opcode, payload: [&open.payload, payload].concat() },
        };
        if all.payload.len() as u64 > self.limit {
            return Err(FragmentError::TooLarge);
        }
        self.open = (!fin).then(|| all.clone());
        Ok(fin.then_some(all))
    }

    /// The open text, when nothing behind it could make it UTF-8.
    fn broken_text(&self) -> Option<&[u8]> {
        let text = self.open.as_ref().filter(|message| message.opcode == opcode::TEXT)?;
        let is_broken = std::str::from_utf8(&text.payload).is_err_and(|error| error.error_len().is_some());
        is_broken.then_some(&text.payload)
    }
}
