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
