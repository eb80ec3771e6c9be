//! Text to whatever takes bytes: standard output, a pipe, a terminal.

use std::io::{self, Write};

use uuid::Uuid;

use super::{
    format::{Encoder, TextFormat},
    sink::{FlowBatch, FlowSink, SinkError},
};

/// Writes text to something from which nothing can be taken back.
///
/// A batch of which a part was written when something failed is completed when it is given again, or
/// before the next one: no line is ever torn by another.
#[derive(Debug)]
pub struct StreamSink<W> {
    out: W,
    target: String,
    encoder: Encoder,
    has_header: bool,
    /// What is to be written, from `written` on.
    buffer: Vec<u8>,
    written: usize,
    /// Run and number of the batch that is in the buffer.
    begun: Option<(Uuid, u64)>,
}

impl<W: Write + Send> StreamSink<W> {
    /// `target` is how messages name it.
    pub fn new(out: W, target: String, format: TextFormat) -> Self {
        let encoder = format.into();
        Self {
            out,
            target,
            encoder,
            has_header: false,
            buffer: Vec::new(),
            written: 0,
            begun: None,
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        while let Some(rest) = self.buffer.get(self.written..)
            && !rest.is_empty()
        {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.flush()?;
        self.buffer.clear();
        self.written = 0;
        self.begun = None;
        Ok(())
    }

    fn write_batch(&mut self, batch: &FlowBatch) -> io::Result<()> {
        let id = (batch.run, batch.sequence);
        if self.begun.is_some() {
            let is_the_same = self.begun == Some(id);
            self.drain()?;
            if is_the_same {
                return Ok(());
            }
        }
        if !std::mem::replace(&mut self.has_header, true) {
            self.encoder.append_header(&mut self.buffer);
        }
        self.encoder.append(batch, &mut self.buffer);
        self.begun = Some(id);
        self.drain()
    }
}

impl<W: Write + Send> FlowSink for StreamSink<W> {
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        self.write_batch(batch).map_err(SinkError::from_io("write flow records to", &self.target))
    }

    fn takes_json(&self) -> bool {
        matches!(self.encoder, Encoder::Json)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.drain().map_err(SinkError::from_io("write flow records to", &self.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_log::fixtures;

    /// Takes so many bytes, then fails until it is given more room.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        error: io::ErrorKind,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = bytes.len().min(self.room).min(100);
            if some == 0 {
                return Err(self.error.into());
            }
            self.room -= some;
            self.taken.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(room: usize, error: io::ErrorKind) -> StreamSink<Narrow> {
        let out = Narrow { taken: Vec::new(), room, error };
        StreamSink::new(out, "standard output".to_owned(), TextFormat::Csv)
    }

    fn lines(sink: &StreamSink<Narrow>) -> Vec<String> {
        String::from_utf8_lossy(&sink.out.taken).lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_begun_is_completed_and_nothing_comes_twice() {
        let first = fixtures::batch(1, vec![fixtures::record(), fixtures::bare_record()]);
        let second = fixtures::batch(2, vec![fixtures::bare_record()]);
        let mut whole = sink(usize::MAX, io::ErrorKind::Other);
        for batch in [&first, &second] {
            whole.write(batch).unwrap();
        }
        assert_eq!(lines(&whole).len(), 4);
        for room in (0..whole.out.taken.len()).step_by(37) {
            let mut sink = sink(room, io::ErrorKind::StorageFull);
            let failed = [&first, &second].map(|batch| sink.write(batch).is_err());
            assert!(failed[1]);
            sink.out.room = usize::MAX;
            if failed[0] {
                sink.write(&first).unwrap();
            }
            sink.write(&second).unwrap();
            sink.finish().unwrap();
            assert!(sink.out.taken == whole.out.taken, "{room}: {:#?}", lines(&sink));
        }
    }

    #[test]
    fn json_that_a_batch_brings_is_what_its_records_are_written_as() {
        let mut batch = fixtures::batch(1, vec![fixtures::record(), fixtures::bare_record()]);
        let mut sink = StreamSink::new(Vec::new(), "a buffer".to_owned(), TextFormat::Json);
        sink.write(&batch).unwrap();
        let written = sink.out.clone();
        batch = FlowBatch { json: Some(written.clone()), records: Vec::new(), ..batch };
        batch.sequence += 1;
        sink.write(&batch).unwrap();
        assert!(sink.out == written.repeat(2));
        let mut sink = StreamSink::new(Vec::new(), "a buffer".to_owned(), TextFormat::Csv);
        sink.write(&batch).unwrap();
        assert!(sink.out.starts_with(b"id,") && !sink.out.contains(&b'{'));
    }

    #[test]
    fn who_does_not_read_any_more_is_told_from_a_failure() {
        let batch = fixtures::batch(1, vec![fixtures::record()]);
        let error = sink(0, io::ErrorKind::BrokenPipe).write(&batch).unwrap_err();
        assert!(matches!(error, SinkError::Closed { .. }), "{error}");
        let error = sink(0, io::ErrorKind::StorageFull).write(&batch).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write flow records to standard output: no space is left; make room, or name \
             another place"
        );
    }
}
