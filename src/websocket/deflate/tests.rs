//! Tests of [`super`]: vectors made with Python's zlib, the examples of RFC 7692, and round trips.

use super::*;
use crate::websocket::testing::XorShift;

/// The squares of 0 to 59, joined with commas, and what Python's zlib makes of them: a block with Huffman codes of
/// its own, then the sync flush.
const SQUARES_DEFLATED: &str = "148ec101c030080217e2216a8deebf58e145a28017201a070ef2430dfa308d251801\
    a6b45b5b394e1679f293eea1b2e5575abe6ee936be3c7c6f30f28df4e9ff345fed4fbe1bf72ac85003a92aba93a97296afb4cf7dbe3b\
    0618933c1171db0c22cc30054d9c71c88a467650644ae4f8f53c5b6f4fbe72a2d46f689197faaa973f000000ffff";

fn squares() -> Vec<u8> {
    let squares: Vec<String> = (0..60).map(|i| (i * i).to_string()).collect();
    squares.join(",").into_bytes()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn inflated(payloads: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut inflater = MessageInflater::default();
    payloads.iter().map(|payload| inflater.inflate(payload, u64::MAX).unwrap()).collect()
}

#[test]
fn examples_of_rfc_7692_section_7_2_3() {
    let hello = b"Hello".to_vec();
    let one_block: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(MessageDeflater::new(15, false).filter(&hello, true, false).unwrap(), one_block);
    assert_eq!(inflated(&[one_block]), [&hello[..]]);

    let sharing: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];
    let mut deflater = MessageDeflater::new(15, false);
    assert_eq!(deflater.filter(&hello, true, false).unwrap(), one_block);
    assert_eq!(deflater.filter(&hello, true, false).unwrap(), sharing);
    assert_eq!(inflated(&[one_block, sharing]), [&hello[..], &hello[..]]);

    let stored: &[u8] = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(inflated(&[stored]), [&hello[..]]);

    let bfinal: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(MessageDeflater::new(15, false).filter(&hello, true, true).unwrap(), bfinal);
    assert_eq!(inflated(&[bfinal]), [&hello[..]]);

    let two_blocks: &[u8] = &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let mut deflater = MessageDeflater::new(15, false);
    let fragments =
        [deflater.filter(b"He", false, false).unwrap(), deflater.filter(b"llo", true, false).unwrap()];
    assert_eq!(fragments.concat(), two_blocks);
    assert_eq!(inflated(&[two_blocks]), [&hello[..]]);
}

#[test]
fn empty_messages_are_one_zero_byte_each_time() {
    for no_context_takeover in [false, true] {
        let mut deflater = MessageDeflater::new(15, no_context_takeover);
        for _ in 0..3 {
            assert_eq!(deflater.filter(b"", true, false).unwrap(), [0x00]);
        }
        assert_eq!(deflater.filter(b"Hello", false, false).unwrap(), unhex("f248cdc9c907000000ffff"));
        assert_eq!(deflater.filter(b"", true, false).unwrap(), [0x00]);
        assert_eq!(deflater.filter(b"", false, false).unwrap(), [0x00, 0x00, 0x00, 0xff, 0xff]);
        assert_eq!(deflater.filter(b"", true, true).unwrap(), [0x03, 0x00, 0x00]);
    }
    assert_eq!(inflated(&[&[0x00], &[0x00], &[0x03, 0x00, 0x00], &[0x00], &[]]), [[0u8; 0]; 5]);
}

#[test]
fn window_is_forgotten_without_takeover_and_behind_bfinal() {
    let alone = unhex("f248cdc9c90700");
    let mut deflater = MessageDeflater::new(15, true);
    assert_eq!(deflater.filter(b"Hello", true, false).unwrap(), alone);
    assert_eq!(deflater.filter(b"Hello", true, false).unwrap(), alone);
    // Within a message it is kept.
    assert_eq!(deflater.filter(b"Hello", false, false).unwrap(), unhex("f248cdc9c907000000ffff"));
    assert_eq!(deflater.filter(b"Hello", true, false).unwrap(), unhex("f200110000"));

    let mut deflater = MessageDeflater::new(15, false);
    assert_eq!(deflater.filter(b"Hello", true, false).unwrap(), alone);
    assert_eq!(deflater.filter(b"Hello", true, true).unwrap(), unhex("f300110000"));
    assert_eq!(deflater.filter(b"Hello", true, true).unwrap(), unhex("f348cdc9c9070000"));
    assert_eq!(deflater.filter(b"Hello", true, false).unwrap(), alone);
}

#[test]
fn connections_share_compressors_but_nothing_that_was_sent() {
    let alone = unhex("f248cdc9c90700");
    let mut random = XorShift::new(3);
    let mut connections: Vec<_> = (9..=15).map(|bits| (MessageDeflater::new(bits, false), vec![])).collect();
    for _ in 0..20 {
        for (deflater, sent) in &mut connections {
            let size = random.below(3 * CONTEXT);
            let message = random.bytes(size, 16);
            sent.push((deflater.filter(&message, true, false).unwrap(), message));
            assert!(deflater.context.len() <= CONTEXT);
            assert_eq!(MessageDeflater::new(15, false).filter(b"Hello", true, false).unwrap(), alone);
        }
    }
    for (deflater, sent) in connections {
        let mut inflater = MessageInflater::new(deflater.window_bits);
        for (payload, message) in sent {
            assert_eq!(inflater.inflate(&payload, 1 << 20).unwrap(), message);
        }
    }
}

#[test]
fn a_message_refers_to_those_before_it() {
    let block = XorShift::new(7).bytes(CONTEXT / 2, 256);
    let mut deflater = MessageDeflater::new(15, false);
    assert!(deflater.filter(&block, true, false).unwrap().len() > block.len());
    assert!(deflater.filter(b"a short one", true, false).unwrap().len() < 20);
    assert!(deflater.filter(&block, true, false).unwrap().len() < block.len() / 10);
}

#[test]
fn flushes_give_the_bytes_of_pythons_zlib() {
    let mut deflater = Deflater::new(15);
    assert_eq!(deflater.compress(b"Hello", Flush::None).unwrap(), b"");
    assert_eq!(
        deflater.compress(b" World", Flush::Sync).unwrap(),
        unhex("f248cdc9c95708cf2fca4901000000ffff")
    );
    let mut deflater = Deflater::new(15);
    assert_eq!(deflater.compress(b"Hello", Flush::Finish).unwrap(), unhex("f348cdc9c90700"));
    assert_eq!(deflater.compress(b"Hello", Flush::Finish).unwrap(), unhex("f348cdc9c90700"));
    assert_eq!(deflater.compress(b"", Flush::Finish).unwrap(), unhex("0300"));
    let umlauts = "Grüße, 世界".as_bytes();
    assert_eq!(
        deflater.compress(umlauts, Flush::Sync).unwrap(),
        unhex("722f3abce7f0fc541d85273ba63d9fda03000000ffff")
    );
    let all: Vec<u8> = (0..=255).collect();
    let stored = [&unhex("000001fffe")[..], &all, &unhex("000000ffff")].concat();
    assert_eq!(Deflater::new(15).compress(&all, Flush::Sync).unwrap(), stored);
}

#[test]
fn a_flush_leaves_a_single_marker_whatever_the_size() {
    let mut random = XorShift::new(9);
    // Of 256 symbols nothing can be compressed: then the room for a flush is filled most.
    for (size, symbols) in (0..1500).flat_map(|size| [(size, 64), (size, 256)]) {
        let data = random.bytes(size, symbols);
        let payload = MessageDeflater::new(15, true).filter(&data, true, false).unwrap();
        assert!(!payload.ends_with(&[0x00, 0x00, 0xff, 0xff, 0x00]), "{size} bytes");
        // A flush after input that was held back.
        let mut deflater = Deflater::new(15);
        let mut output = deflater.compress(&data, Flush::None).unwrap();
        output.extend(deflater.compress(b"", Flush::Sync).unwrap());
        assert!(
            !output.ends_with(&[0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff]),
            "{size} bytes held back"
        );
    }
}

#[test]
fn window_bits_bound_how_far_back_a_compressor_refers() {
    // A block of random bytes, twice: the second one costs little when the window reaches back to the first.
    let shrinks = |window_bits, block| {
        let block = XorShift::new(7).bytes(block, 256);
        let mut deflater = Deflater::new(window_bits);
        deflater.compress(&block, Flush::Sync).unwrap();
        deflater.compress(&block, Flush::Sync).unwrap().len() < block.len() / 2
    };
    // zlib keeps 262 bytes of its window for itself. 8 is taken as 9, within the 256 bytes of 8.
    for (window_bits, reach) in
        [(8, 250), (9, 250), (10, 762), (11, 1786), (12, 3834), (13, 7930), (14, 16122), (15, 32506)]
    {
        assert!(shrinks(window_bits, reach - 10), "{window_bits} bits");
        assert!(!shrinks(window_bits, reach + 10), "{window_bits} bits");
    }
}

#[test]
fn inflater_gives_no_more_than_asked_for() {
    let squares = squares();
    for size in [1, 2, 7, 100, 252, 253, 254] {
        let mut inflater = Inflater::new(15);
        inflater.append(&unhex(SQUARES_DEFLATED)).unwrap();
        let mut output = Vec::new();
        loop {
            let piece = inflater.decompress(Some(size)).unwrap();
            assert!(piece.len() == size || output.len() + piece.len() == squares.len());
            if piece.is_empty() {
                break;
            }
            output.extend(piece);
        }
        assert_eq!(output, squares, "{size} at a time");
    }
}

#[test]
fn inflater_takes_its_input_in_any_pieces() {
    let deflated = unhex(SQUARES_DEFLATED);
    for cut in 0..=deflated.len() {
        let mut inflater = Inflater::new(15);
        inflater.append(&deflated[..cut]).unwrap();
        let mut output = inflater.decompress(None).unwrap();
        inflater.append(&deflated[cut..]).unwrap();
        output.extend(inflater.decompress(None).unwrap());
        assert_eq!(output, squares());
    }
}

#[test]
fn inflater_goes_on_with_the_stream_behind_a_final_block() {
    let hello = unhex("f348cdc9c90700");
    let mut inflater = Inflater::new(15);
    inflater.append(&hello.repeat(3)).unwrap();
    assert_eq!(inflater.decompress(None).unwrap(), b"HelloHelloHello");
    inflater.append(&hello.repeat(2)).unwrap();
    assert_eq!(inflater.decompress(Some(5)).unwrap(), b"Hello");
    assert_eq!(inflater.decompress(Some(3)).unwrap(), b"Hel");
    assert_eq!(inflater.decompress(Some(3)).unwrap(), b"lo");
    assert_eq!(inflater.decompress(None).unwrap(), b"");
    // The next stream cannot refer to what the one before it gave.
    inflater.append(&unhex("f200110000")).unwrap();
    let error = InflateError::Corrupt("invalid distance too far back".to_owned());
    assert_eq!(inflater.decompress(None), Err(error));
}

#[test]
fn reset_forgets_the_window_and_keeps_the_input() {
    let mut inflater = Inflater::new(15);
    inflater.append(&unhex("f248cdc9c907000000ffff")).unwrap();
    assert_eq!(inflater.decompress(None).unwrap(), b"Hello");
    inflater.reset();
    inflater.append(&unhex("f2001100000000ffff")).unwrap();
    assert!(matches!(inflater.decompress(None), Err(InflateError::Corrupt(_))));
    inflater.reset();
    assert!(matches!(inflater.decompress(None), Err(InflateError::Corrupt(_))));
}

#[test]
fn corrupt_streams_are_refused_with_zlibs_reason() {
    let cases = [
        ("06", "Error -3 while decompressing data: invalid block type"),
        ("0001000000", "Error -3 while decompressing data: invalid stored block lengths"),
        ("4304ff", "Error -3 while decompressing data: invalid distance too far back"),
    ];
    for (payload, text) in cases {
        let error = MessageInflater::default().inflate(&unhex(payload), u64::MAX).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn limit_is_the_size_of_the_inflated_message() {
    let squares = squares();
    let deflated = unhex(SQUARES_DEFLATED);
    let payload = &deflated[..deflated.len() - 4];
    let size = squares.len() as u64;
    let mut inflater = MessageInflater::default();
    assert_eq!(inflater.inflate(payload, size).as_deref(), Ok(&squares[..]));
    assert_eq!(inflater.inflate(payload, size).as_deref(), Ok(&squares[..]));
    assert_eq!(inflater.inflate(&[0x00], 0).as_deref(), Ok(&[][..]));
    assert_eq!(inflater.inflate(payload, size - 1), Err(InflateError::TooLarge));
    // What the refused message did to the window is unknown, so nothing comes after it.
    assert_eq!(inflater.inflate(&[0x00], u64::MAX), Err(InflateError::TooLarge));
}

#[test]
fn bomb_takes_no_memory_beyond_the_limit() {
    let bomb = Deflater::new(15).compress(&vec![0; 5_000_000], Flush::Sync).unwrap();
    let limit = 10_000;
    assert!(bomb.len() < limit);
    let mut output = Vec::new();
    let (mut inflater, mut message) = (MessageInflater::default(), Inflating::new(&bomb, limit as u64));
    let refused = loop {
        match inflater.inflate_more(&mut message, &mut output) {
            Ok(is_whole) => assert!(!is_whole),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, InflateError::TooLarge);
    assert!(output.capacity() <= 2 * limit, "{} bytes", output.capacity());
    let refused = MessageInflater::default().inflate(&bomb, limit as u64);
    assert_eq!(refused, Err(InflateError::TooLarge));
}

#[test]
fn any_messages_survive_any_settings() {
    let mut random = XorShift::new(8);
    for round in 0..200 {
        let mut deflater = MessageDeflater::new(8 + round % 8, random.coin());
        let mut inflater = MessageInflater::default();
        for _ in 0..5 {
            let (size, alphabet) = (random.below(3000), 1 + random.below(256));
            let message = random.bytes(size, alphabet);
            let cut = random.below(message.len() + 1);
            let mut payload = deflater.filter(&message[..cut], false, false).unwrap();
            payload.extend(deflater.filter(&message[cut..], true, random.coin()).unwrap());
            assert_eq!(inflater.inflate(&payload, message.len() as u64), Ok(message));
        }
    }
}

#[test]
fn a_message_comes_in_pieces_of_any_size() {
    let mut random = XorShift::new(13);
    for _ in 0..200 {
        let size = random.below(3000);
        let message = random.bytes(size, 16);
        let payload = MessageDeflater::new(15, true).filter(&message, true, random.coin()).unwrap();
        let mut inflater = MessageInflater::default();
        let mut inflating = Inflating::new(&payload, size as u64);
        let mut whole = Vec::new();
        loop {
            let mut room = vec![0xff; 1 + random.below(700)];
            let filled = inflater.inflate_piece(&mut inflating, &mut room).unwrap();
            whole.extend_from_slice(&room[..filled]);
            assert_eq!(inflating.size(), whole.len() as u64);
            if filled < room.len() {
                break;
            }
        }
        assert_eq!(whole, message);
        let mut inflating = Inflating::new(&payload, (size as u64).saturating_sub(1));
        let mut room = vec![0; size + 1];
        let too_large = MessageInflater::default().inflate_piece(&mut inflating, &mut room);
        assert_eq!(too_large, if size == 0 { Ok(0) } else { Err(InflateError::TooLarge) });
    }
}

#[test]
fn a_message_that_is_left_is_the_last_one() {
    let payload = MessageDeflater::new(15, false).filter(&[1; 100], true, false).unwrap();
    let mut inflater = MessageInflater::default();
    assert_eq!(inflater.inflate_piece(&mut Inflating::new(&payload, 100), &mut [0; 9]), Ok(9));
    inflater.fail(InflateError::NoMemory(NoMemory));
    assert_eq!(inflater.inflate(&payload, 100), Err(InflateError::NoMemory(NoMemory)));
}
