//! Protobuf's wire format for the few messages that are too big to be encoded in memory.
//!
//! Source: Protocol Buffers encoding, "Length-Delimited Records".

use std::io::{self, Write};

/// `ModelProto.graph`.
pub(super) const MODEL_GRAPH: u32 = 7;
/// `GraphProto.initializer`.
pub(super) const GRAPH_INITIALIZER: u32 = 5;
/// `TensorProto.raw_data`.
pub(super) const TENSOR_RAW_DATA: u32 = 9;

/// Bytes of a field's key and length in front of `length` bytes of content.
pub(super) fn prefix_len(length: u64) -> u64 {
    // Every field used here has a number below 16, so its key is one byte.
    1 + prost::length_delimiter_len(usize::try_from(length).unwrap_or(usize::MAX)) as u64
}

/// Writes the key and length of a length-delimited field.
///
/// # Errors
/// What the writer reports.
pub(super) fn write_prefix(to: &mut dyn Write, field: u32, length: u64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(11);
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(length, &mut bytes);
    to.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_as_long_as_it_says() {
        for length in [0, 1, 127, 128, 1 << 20, u64::from(u32::MAX) + 5] {
            let mut bytes = Vec::new();
            write_prefix(&mut bytes, TENSOR_RAW_DATA, length).unwrap();
            assert_eq!(bytes.len() as u64, prefix_len(length), "{length}");
        }
    }
}
