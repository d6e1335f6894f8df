//! Masking of payloads (RFC 6455 section 5.3), in place. Masking twice with the same key gives the input back.
//!
//! Must not import tokio or pyo3.

/// XORs `data` with the four bytes of `key`, repeated; `data[0]` meets `key[offset % 4]`.
///
/// `offset` is how many bytes of the same payload were masked before this piece.
pub fn apply_mask(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key: [u8; 4] = std::array::from_fn(|i| key[(offset % 4 + i) % 4]);
    let wide_key = u64::from_ne_bytes(std::array::from_fn(|i| key[i % 4]));
    // Whole words first: 8 is a multiple of the key's 4 bytes, so the key does not shift from word to word.
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// XORs `data` with `key` of any length, repeated; `data[0]` meets `key[offset % key.len()]`.
///
/// pywebsocket: its masker takes keys of any length. An empty key changes nothing here.
pub fn apply_repeated_key(data: &mut [u8], key: &[u8], offset: usize) {
    if let Ok(key) = <[u8; 4]>::try_from(key) {
        apply_mask(data, key, offset);
    } else if !key.is_empty() {
        for (byte, key) in data.iter_mut().zip(key.iter().cycle().skip(offset % key.len())) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::XorShift;

    /// Byte by byte, as RFC 6455 section 5.3 puts it.
    fn masked(data: &[u8], key: &[u8], offset: usize) -> Vec<u8> {
        data.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % key.len()]).collect()
    }

    #[test]
    fn example_of_rfc_6455_section_5_7() {
        let mut payload = *b"Hello";
        apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn every_length_and_offset() {
        let key = [0x01, 0x20, 0x33, 0xf4];
        let plain = XorShift::new(2).bytes(70, 256);
        for length in 0..=70 {
            for offset in (0..=9).chain([usize::MAX - 3, usize::MAX]) {
                let mut data = plain[..length].to_vec();
                apply_mask(&mut data, key, offset);
                assert_eq!(
                    data,
                    masked(&plain[..length], &key, offset % 4),
                    "length {length}, offset {offset}"
                );
                apply_mask(&mut data, key, offset);
                assert_eq!(data, plain[..length]);
            }
        }
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let key = [9, 8, 7, 6];
        let plain = XorShift::new(3).bytes(70, 256);
        let whole = masked(&plain, &key, 0);
        for cut in 0..=70 {
            let mut data = plain.clone();
            let (first, second) = data.split_at_mut(cut);
            apply_mask(first, key, 0);
            apply_mask(second, key, cut);
            assert_eq!(data, whole, "cut at {cut}");
        }
    }

    #[test]
    fn keys_of_any_length() {
        let plain = XorShift::new(4).bytes(40, 256);
        for key_length in 1..=11 {
            let key: Vec<u8> = (1..=key_length).collect();
            for offset in 0..30 {
                let mut data = plain.clone();
                apply_repeated_key(&mut data, &key, offset);
                assert_eq!(data, masked(&plain, &key, offset), "key of {key_length}, offset {offset}");
            }
        }
        let mut data = plain.clone();
        apply_repeated_key(&mut data, &[], 5);
        assert_eq!(data, plain);
    }
}
