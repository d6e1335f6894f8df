//! Frames into messages (RFC 6455 section 5.4): the fragments of a message are put together, the order is checked.
//!
//! Must not import tokio or pyo3.

use thiserror::Error;

use super::frame::opcode;
use super::memory::{self, NoMemory};
use super::utf8::Utf8Progress;

/// A frame that does not fit the message that is open, or the limit. Each ends the connection: the first three are
/// protocol errors (close code 1002), the last two are 1009. The messages are pywebsocket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// A continuation frame without an open message.
    #[error("{}", if *.fin {
        "Received a termination frame but fragmentation not started"
    } else {
        "Received an intermediate frame but fragmentation not started"
    })]
    UnexpectedContinuation {
        /// The FIN bit of the frame.
        fin: bool,
    },
    /// A new data message, or a fragment of a control frame, while another is open.
    #[error("{}", if *.fin {
        "Received an unfragmented frame without terminating existing fragmentation"
    } else {
        "New fragmentation started without terminating existing fragmentation"
    })]
    UnfinishedMessage {
        /// The FIN bit of the frame.
        fin: bool,
    },
    /// A control frame without the FIN bit (RFC 6455 section 5.5) when no message is open.
    #[error("Control frames must not be fragmented")]
    FragmentedControl,
    /// The message is, or would become, larger than the limit.
    #[error("Message is larger than the limit")]
    TooLarge,
    /// There is no memory for the message with this fragment.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// A whole message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The opcode of the message's first frame, never that of a continuation; reserved ones come through.
    pub opcode: u8,
    /// All its payload, as it was on the wire: still compressed when the message is.
    pub payload: Vec<u8>,
}

/// Puts the fragments of one direction of a connection together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The message whose last fragment is still to come; an empty first fragment opens one, too.
    open: Option<Complete>,
    /// How many bytes of the open message, if it is text, were looked at, and what was seen.
    checked: usize,
    utf8: Utf8Progress,
}

impl Assembler {
    /// An assembler with no open message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The opcode of the message that is open.
    #[must_use]
    pub fn open_opcode(&self) -> Option<u8> {
        self.open.as_ref().map(|message| message.opcode)
    }

    /// How many bytes there are of the message that is open.
    #[must_use]
    pub fn open_size(&self) -> usize {
        self.open.as_ref().map_or(0, |message| message.payload.len())
    }

    /// The payload of the open text message, if no further fragment can make it UTF-8. Each byte is looked at once.
    pub fn broken_text(&mut self) -> Option<&[u8]> {
        let message = self.open.as_ref().filter(|message| message.opcode == opcode::TEXT)?;
        let is_good = self.utf8.push(&message.payload[self.checked..]);
        self.checked = message.payload.len();
        if is_good { None } else { Some(&message.payload) }
    }

    /// What is there of the message that is open, and how far [`broken_text`](Self::broken_text) found it to be UTF-8.
    #[must_use]
    pub fn open_text(&self) -> (&[u8], Utf8Progress) {
        self.open.as_ref().map_or_else(Default::default, |message| (&*message.payload, self.utf8))
    }

    /// Takes the next frame; gives the message that it completes, `None` when fragments are still to come.
    ///
    /// A frame that is refused changes nothing. `limit` is the most bytes that a message may have; control frames,
    /// which may come between fragments and do not disturb the open message, do not count. An unfragmented payload and
    /// the first fragment are not copied.
    pub fn push(
        &mut self,
        opcode: u8,
        fin: bool,
        payload: Vec<u8>,
        limit: u64,
    ) -> Result<Option<Complete>, FragmentError> {
        if opcode::is_control(opcode) {
            // RFC 6455 section 5.4 allows them between fragments; pywebsocket refuses them there.
            return match self.open {
                _ if fin => Ok(Some(Complete { opcode, payload })),
                // pywebsocket: what is wrong is looked for in this order.
                Some(_) => Err(FragmentError::UnfinishedMessage { fin }),
                None => Err(FragmentError::FragmentedControl),
            };
        }
        let Some(mut message) = self.open.take_if(|_| opcode == opcode::CONTINUATION) else {
            if opcode == opcode::CONTINUATION {
                return Err(FragmentError::UnexpectedContinuation { fin });
            }
            if self.open.is_some() {
                return Err(FragmentError::UnfinishedMessage { fin });
            }
            if exceeds(payload.len(), limit) {
                return Err(FragmentError::TooLarge);
            }
            (self.checked, self.utf8) = (0, Utf8Progress::default());
            return Ok(self.keep_or_give(fin, Complete { opcode, payload }));
        };
        if exceeds(message.payload.len().saturating_add(payload.len()), limit) {
            self.open = Some(message);
            return Err(FragmentError::TooLarge);
        }
        if let Err(error) = memory::append(&mut message.payload, &payload) {
            self.open = Some(message);
            return Err(error.into());
        }
        Ok(self.keep_or_give(fin, message))
    }

    fn keep_or_give(&mut self, fin: bool, message: Complete) -> Option<Complete> {
        if fin {
            return Some(message);
        }
        self.open = Some(message);
        None
    }
}

/// Whether a size in bytes is over `limit`.
fn exceeds(size: usize, limit: u64) -> bool {
    u64::try_from(size).is_ok_and(|size| size > limit)
}

#[cfg(test)]
mod tests {
    use super::opcode::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
    use super::*;
    use crate::websocket::testing::XorShift;

    type Pushed = Result<Option<Complete>, FragmentError>;

    fn push(assembler: &mut Assembler, opcode: u8, fin: bool, payload: &[u8]) -> Pushed {
        assembler.push(opcode, fin, payload.to_vec(), 10)
    }

    fn message(opcode: u8, payload: &[u8]) -> Complete {
        Complete { opcode, payload: payload.to_vec() }
    }

    #[test]
    fn unfragmented_message_is_not_copied() {
        let payload = b"Hello".to_vec();
        let address = payload.as_ptr();
        let message = Assembler::new().push(TEXT, true, payload, 10).unwrap().unwrap();
        assert_eq!((message.opcode, message.payload.as_ptr()), (TEXT, address));
    }

    #[test]
    fn fragments_come_together_under_the_first_opcode() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.open_opcode(), None);
        assert_eq!(push(&mut assembler, BINARY, false, b"Hel"), Ok(None));
        assert_eq!(assembler.open_opcode(), Some(BINARY));
        assert_eq!(push(&mut assembler, CONTINUATION, false, b""), Ok(None));
        assert_eq!(push(&mut assembler, CONTINUATION, false, b"l"), Ok(None));
        assert_eq!(push(&mut assembler, CONTINUATION, true, b"o"), Ok(Some(message(BINARY, b"Hello"))));
        assert_eq!(assembler.open_opcode(), None);
        assert_eq!(push(&mut assembler, TEXT, true, b"next"), Ok(Some(message(TEXT, b"next"))));
    }

    #[test]
    fn empty_first_fragment_opens_a_message() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, TEXT, false, b""), Ok(None));
        let refused = push(&mut assembler, TEXT, true, b"");
        assert_eq!(refused, Err(FragmentError::UnfinishedMessage { fin: true }));
        assert_eq!(push(&mut assembler, CONTINUATION, true, b""), Ok(Some(message(TEXT, b""))));
    }

    #[test]
    fn control_frames_between_fragments_do_not_disturb() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, TEXT, false, b"a"), Ok(None));
        for control in [CLOSE, PING, PONG, 0xb, 0xf] {
            assert_eq!(push(&mut assembler, control, true, b"c"), Ok(Some(message(control, b"c"))));
        }
        assert_eq!(push(&mut assembler, CONTINUATION, true, b"b"), Ok(Some(message(TEXT, b"ab"))));
    }

    #[test]
    fn refused_frames_change_nothing() {
        // Without an open message, then with one.
        let cases = [
            (None, CONTINUATION, true, FragmentError::UnexpectedContinuation { fin: true }),
            (None, CONTINUATION, false, FragmentError::UnexpectedContinuation { fin: false }),
            (None, PING, false, FragmentError::FragmentedControl),
            (Some(b"ab"), TEXT, true, FragmentError::UnfinishedMessage { fin: true }),
            (Some(b"ab"), BINARY, false, FragmentError::UnfinishedMessage { fin: false }),
            (Some(b"ab"), 3, true, FragmentError::UnfinishedMessage { fin: true }),
            (Some(b"ab"), CLOSE, false, FragmentError::UnfinishedMessage { fin: false }),
        ];
        for (open, opcode, fin, error) in cases {
            let mut assembler = Assembler::new();
            if let Some(fragment) = open {
                assert_eq!(push(&mut assembler, TEXT, false, fragment), Ok(None));
            }
            assert_eq!(push(&mut assembler, opcode, fin, b"x"), Err(error));
            if open.is_some() {
                assert_eq!(push(&mut assembler, CONTINUATION, true, b"c"), Ok(Some(message(TEXT, b"abc"))));
            } else {
                assert_eq!(push(&mut assembler, TEXT, true, b"c"), Ok(Some(message(TEXT, b"c"))));
            }
        }
    }

    #[test]
    fn reserved_data_opcodes_come_through() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, 3, true, b"x"), Ok(Some(message(3, b"x"))));
        assert_eq!(push(&mut assembler, 7, false, b"x"), Ok(None));
        assert_eq!(push(&mut assembler, CONTINUATION, true, b"y"), Ok(Some(message(7, b"xy"))));
    }

    #[test]
    fn text_is_refused_as_soon_as_it_is_broken() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.broken_text(), None);
        // A character that is cut is whole with the next fragment.
        assert_eq!(push(&mut assembler, TEXT, false, b"a\xe4\xb8"), Ok(None));
        assert_eq!(assembler.broken_text(), None);
        assert_eq!(push(&mut assembler, CONTINUATION, false, b"\x96"), Ok(None));
        assert_eq!(assembler.broken_text(), None);
        // No surrogate begins so.
        assert_eq!(push(&mut assembler, CONTINUATION, false, b"\xed\xa0"), Ok(None));
        assert_eq!(assembler.broken_text(), Some(&b"a\xe4\xb8\x96\xed\xa0"[..]));
        // What was seen of one message says nothing of the next.
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, TEXT, false, b"abc"), Ok(None));
        assert_eq!(assembler.broken_text(), None);
        assert!(push(&mut assembler, CONTINUATION, true, b"").is_ok());
        assert_eq!(push(&mut assembler, TEXT, false, b"\xff"), Ok(None));
        assert_eq!(assembler.broken_text(), Some(&b"\xff"[..]));
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, BINARY, false, b"\xff"), Ok(None));
        assert_eq!(assembler.broken_text(), None);
    }

    #[test]
    fn limit_counts_the_whole_message_and_no_control_frame() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, TEXT, true, &[b'a'; 11]), Err(FragmentError::TooLarge));
        assert_eq!(push(&mut assembler, TEXT, false, &[b'a'; 11]), Err(FragmentError::TooLarge));
        assert_eq!(push(&mut assembler, TEXT, true, &[b'a'; 10]), Ok(Some(message(TEXT, &[b'a'; 10]))));
        assert_eq!(push(&mut assembler, TEXT, false, &[b'a'; 6]), Ok(None));
        assert_eq!(push(&mut assembler, PING, true, &[b'p'; 125]), Ok(Some(message(PING, &[b'p'; 125]))));
        assert_eq!(push(&mut assembler, CONTINUATION, false, &[b'a'; 5]), Err(FragmentError::TooLarge));
        assert_eq!(
            push(&mut assembler, CONTINUATION, true, &[b'a'; 4]),
            Ok(Some(message(TEXT, &[b'a'; 10])))
        );
    }

    #[test]
    fn messages_are_those_of_pywebsocket() {
        let cases = [
            (
                FragmentError::UnexpectedContinuation { fin: true },
                "Received a termination frame but fragmentation not started",
            ),
            (
                FragmentError::UnexpectedContinuation { fin: false },
                "Received an intermediate frame but fragmentation not started",
            ),
            (
                FragmentError::UnfinishedMessage { fin: true },
                "Received an unfragmented frame without terminating existing fragmentation",
            ),
            (
                FragmentError::UnfinishedMessage { fin: false },
                "New fragmentation started without terminating existing fragmentation",
            ),
            (FragmentError::FragmentedControl, "Control frames must not be fragmented"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn any_cut_of_a_message_gives_it_back() {
        let mut random = XorShift::new(5);
        for _ in 0..200 {
            let size = random.below(300);
            let whole = random.bytes(size, 256);
            let mut assembler = Assembler::new();
            let (mut opcode, mut rest) = (BINARY, &whole[..]);
            loop {
                if random.coin() {
                    let ping = assembler.push(PING, true, vec![1], u64::MAX);
                    assert_eq!(ping, Ok(Some(message(PING, &[1]))));
                }
                let (fragment, after) = rest.split_at(random.below(rest.len() + 1));
                let fin = after.is_empty() && random.coin();
                let pushed = assembler.push(opcode, fin, fragment.to_vec(), 300);
                if fin {
                    assert_eq!(pushed, Ok(Some(message(BINARY, &whole))));
                    break;
                }
                assert_eq!(pushed, Ok(None));
                (opcode, rest) = (CONTINUATION, after);
            }
        }
    }
}
