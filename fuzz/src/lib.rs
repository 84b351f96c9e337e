//! What the fuzz targets share: an input cut into the files of a bundle.
//!
//! In every other input the hashes are put right, so that what lies behind them is reached as well.

use layoutlm_core::bundle::{CONFIG_FILE, MODEL_FILE, PROBE_FILE, TOKENIZER_FILE, seal};
use layoutlm_core::encoding::sha256_hex;

/// Parts of the input are separated by this line.
const CUT: &[u8] = b"\n--\n";

/// The files of a bundle, good or bad.
pub struct Files<'a> {
    /// The manifest's text.
    pub manifest: String,
    /// The other files by name.
    pub others: [(&'static str, &'a [u8]); 4],
    /// A number of classes.
    pub classes: usize,
}

impl<'a> Files<'a> {
    /// Cuts an input into manifest, tokenizer, configuration and probe.
    pub fn cut(data: &'a [u8]) -> Option<Self> {
        let (flags, rest) = data.split_first()?;
        let parts = cut(rest);
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let others = [
            (TOKENIZER_FILE, part(1)),
            (CONFIG_FILE, part(2)),
            (PROBE_FILE, part(3)),
            (MODEL_FILE, b"graph".as_slice()),
        ];
        let mut manifest = String::from_utf8_lossy(part(0)).into_owned();
        if flags & 1 == 1 {
            manifest = repaired(manifest, &others);
        }
        Some(Self { manifest, others, classes: usize::from(*flags >> 1) + 1 })
    }

    /// The bytes of a file.
    pub fn file(&self, name: &str) -> &'a [u8] {
        self.others.iter().find(|(n, _)| *n == name).map_or(&[], |(_, bytes)| bytes)
    }
}

fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(CUT.len()).position(|w| w == CUT) {
        parts.push(&rest[..at]);
        rest = &rest[at + CUT.len()..];
    }
    parts.push(rest);
    parts
}

/// The manifest with the hashes of the files, and its own, as they should be.
fn repaired(mut text: String, files: &[(&str, &[u8])]) -> String {
    for (name, bytes) in files {
        let Some(at) = text.find(&format!("\"{name}\": \"")).map(|at| at + name.len() + 5) else { continue };
        let Some(end) = text[at..].find('"').map(|end| at + end) else { continue };
        text.replace_range(at..end, &sha256_hex(bytes));
    }
    seal(&text)
}
