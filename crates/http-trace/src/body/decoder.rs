//! Takes gzip off a body, a piece at a time: however much it becomes, little of it is in memory.

use std::{collections::VecDeque, io, io::Write};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;

/// How much is taken in at once. What comes of it is a thousand times as much, at the most.
const PIECE: usize = 256;

pub(super) struct Decoder {
    waiting: VecDeque<Bytes>,
    inflate: MultiGzDecoder<Vec<u8>>,
    taken: bool,
    finished: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        let inflate = MultiGzDecoder::new(Vec::new());
        Self { waiting: VecDeque::new(), inflate, taken: false, finished: false }
    }

    pub(super) fn take(&mut self, data: Bytes) {
        self.taken |= !data.is_empty();
        self.waiting.push_back(data);
    }

    /// The next piece; nothing where more has to be taken.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        const ENOUGH: usize = 16 << 10;
        while self.inflate.get_ref().len() < ENOUGH {
            let Some(data) = self.waiting.front_mut() else { break };
            let piece = data.get(..PIECE).unwrap_or(data);
            let written = self.inflate.write(piece)?;
            if written == 0 && !piece.is_empty() {
                let error = "it goes on after its end";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            data.advance(written);
            if data.is_empty() {
                self.waiting.pop_front();
            }
        }
        let decoded = std::mem::take(self.inflate.get_mut());
        Ok((!decoded.is_empty()).then(|| Bytes::from(decoded)))
    }

    /// What is left when all has been taken; an error where it does not end where it says. Nothing
    /// at all is whole, too.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        if self.taken && !self.finished {
            self.inflate.try_finish()?;
            self.finished = true;
        }
        let decoded = std::mem::take(self.inflate.get_mut());
        Ok((!decoded.is_empty()).then(|| Bytes::from(decoded)))
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn decoded(pieces: impl IntoIterator<Item = Bytes>) -> (usize, usize, bool) {
        let (mut total, mut largest) = (0, 0);
        let mut decoder = Decoder::new();
        for piece in pieces {
            decoder.take(piece);
            while let Some(data) = decoder.next().unwrap() {
                total += data.len();
                largest = largest.max(data.len());
            }
        }
        let complete = loop {
            match decoder.finish() {
                Ok(Some(data)) => total += data.len(),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        (total, largest, complete)
    }

    #[test]
    fn a_bomb_is_never_in_memory_as_a_whole() {
        let (total, largest, complete) = decoded([gzip(&vec![0; 100 << 20])]);
        assert_eq!((total, complete), (100 << 20, true));
        assert!(largest < 1 << 20, "{largest}");
    }

    #[test]
    fn what_is_cut_short_is_not_complete() {
        let whole = gzip(b"some text that is compressed");
        assert!(decoded([whole.clone()]).2);
        assert!(!decoded([whole.slice(..whole.len() - 4)]).2);
    }

    #[test]
    fn what_is_no_compression_is_an_error() {
        let mut decoder = Decoder::new();
        decoder.take(Bytes::from_static(b"plain text and no compression at all"));
        assert!(decoder.next().is_err());
    }
}
