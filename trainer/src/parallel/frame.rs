//! Messages on a connection: one byte of kind, eight of length, the content.

use std::io::{self, Read, Write};

/// Bytes read before more memory is taken: what a stranger claims to send is not believed.
const PIECE: usize = 1 << 20;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Who connects.
    Hello = 1,
    /// Values.
    Data = 2,
    /// Nothing: the sender is alive and busy.
    Beat = 3,
    /// The sender gives up; the content says why.
    GivenUp = 4,
}

/// Writes one message.
pub(super) fn write(out: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    let mut head = [0u8; 9];
    let [first, length @ ..] = &mut head;
    *first = kind as u8;
    *length = (content.len() as u64).to_le_bytes();
    out.write_all(&head)?;
    out.write_all(content)?;
    out.flush()
}

/// Reads the next message that is not a beat; one longer than `most` bytes is an error.
pub(super) fn read(from: &mut impl Read, most: u64) -> io::Result<(Kind, Vec<u8>)> {
    loop {
        let mut head = [0u8; 9];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
        let kind = match kind {
            1 => Kind::Hello,
            2 => Kind::Data,
            3 => Kind::Beat,
            4 => Kind::GivenUp,
            _ => return Err(invalid("not a message of this program")),
        };
        let length = u64::from_le_bytes(length);
        if length > most {
            return Err(invalid("a message longer than any expected"));
        }
        let mut content = Vec::new();
        let mut left = usize::try_from(length).map_err(|_| invalid("a message longer than memory"))?;
        while left > 0 {
            let (start, piece) = (content.len(), left.min(PIECE));
            content.resize(start + piece, 0);
            from.read_exact(content.get_mut(start..).unwrap_or_default())?;
            left -= piece;
        }
        if kind != Kind::Beat {
            return Ok((kind, content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_whole_and_beats_are_passed_over() {
        let mut wire = Vec::new();
        let long = vec![7u8; 3 * PIECE + 5];
        write(&mut wire, Kind::Beat, &[]).unwrap();
        write(&mut wire, Kind::Data, &long).unwrap();
        write(&mut wire, Kind::GivenUp, b"why").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(read(&mut from, u64::MAX).unwrap(), (Kind::Data, long));
        assert_eq!(read(&mut from, 3).unwrap(), (Kind::GivenUp, b"why".to_vec()));
        assert!(read(&mut from, 3).is_err());
    }

    #[test]
    fn strangers_and_their_lengths_are_not_believed() {
        assert!(read(&mut b"GET / HTTP/1.1\r\n".as_slice(), u64::MAX).is_err());
        let mut wire = vec![Kind::Data as u8];
        wire.extend(u64::MAX.to_le_bytes());
        assert!(read(&mut wire.as_slice(), 100).is_err());
    }
}
