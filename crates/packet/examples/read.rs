//! Reads captures, and says what is in them: `read FILE…`.

use std::{env, io::Write as _, path::Path, time::Instant};

use netglass_packet::file::{FileError, Reader};

fn main() -> Result<(), FileError> {
    for file in env::args_os().skip(1) {
        let begin = Instant::now();
        let mut reader = Reader::open(Path::new(&file))?;
        let (mut packets, mut bytes) = (0_u64, 0_u64);
        let end = loop {
            match reader.next_batch() {
                Ok(batch) if batch.is_empty() => break None,
                Ok(batch) => {
                    packets += batch.len() as u64;
                    bytes += batch.packets().map(|p| u64::from(p.wire_length)).sum::<u64>();
                }
                Err(error) => break Some(error),
            }
        };
        let took = begin.elapsed();
        let _ = writeln!(
            std::io::stdout(),
            "{}: {packets} packets, {bytes} bytes, {} interfaces, {took:?}",
            file.display(),
            reader.interfaces().len()
        );
        if let Some(error) = end {
            return Err(error);
        }
    }
    Ok(())
}
