//! What the fuzz targets have in common: inputs near real ones, and the prefixes of an input.

/// How many prefixes of one input are tried at most: a long input has many that are alike.
const PREFIXES: usize = 64;

/// A real input with a part replaced: a fuzzer alone would need long to find one that gets past
/// the first field. The first two bytes of `data` say where and how much, the rest says by what.
#[must_use]
pub fn splice(sample: &[u8], data: &[u8]) -> Vec<u8> {
    let [at, length, with @ ..] = data else { return sample.to_vec() };
    let start = usize::from(*at) % (sample.len() + 1);
    let end = sample.len().min(start + usize::from(*length) % 32);
    [&sample[..start], with, &sample[end..]].concat()
}

/// Prefixes of `data`, all of them where it is short, `data` itself among them.
pub fn prefixes(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lengths = (0..data.len()).step_by(data.len() / PREFIXES + 1);
    lengths.chain([data.len()]).map(|length| &data[..length])
}
