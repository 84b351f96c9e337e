//! Streams a model into a file: what is small is encoded by prost, weights go straight from the checkpoint to disk.
//!
//! A file that would pass the limit of protobuf readers (2 GB) keeps its graph and puts the weights beside it, as ONNX
//! external data. Nothing is renamed here: the folder is the caller's temporary one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use layoutlm_trainer::files::FileError;
use layoutlm_trainer::weights::Weights;
use prost::Message;

use super::framing::{GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA, prefix_len, write_prefix};
use super::hashing::HashingWriter;
use crate::graph::{Initializer, Model};
use crate::onnx_proto::tensor_proto::DataLocation;
use crate::onnx_proto::{StringStringEntryProto, TensorProto};

/// Largest file that is written in one piece: protobuf readers stop at 2 GiB.
pub(crate) const EXTERNAL_ABOVE: u64 = (1 << 31) - (1 << 20);
/// External tensors start at multiples of this, so that readers can map them into memory.
const ALIGNMENT: u64 = 4096;
/// Tensors below this many bytes stay in the graph's file; readers want shapes and axes there.
const EXTERNAL_FROM: u64 = 1024;

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenFile {
    /// Name in the folder.
    pub(crate) name: String,
    /// SHA-256 of its bytes, hex.
    pub(crate) sha256: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// Whether a file has to outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Synced to the disk.
    Lasting,
    /// Read once and removed.
    Passing,
}

/// Writes `model` as `<folder>/<name>` and, above `external_above` bytes, its weights as `<name>.data`.
///
/// # Errors
/// [`FileError`] with the file that could not be written.
pub(crate) fn write_model(
    folder: &Path,
    name: &str,
    model: &Model,
    weights: &Weights,
    external_above: u64,
    durability: Durability,
) -> Result<Vec<WrittenFile>, FileError> {
    let whole = Layout::embedded(model);
    if whole.file_len() <= external_above {
        let file = write_file(folder, name, durability, |to| whole.write(weights, to))?;
        return Ok(vec![file]);
    }
    let data_name = format!("{name}.data");
    let (split, external) = Layout::external(model, &data_name);
    let data = write_file(folder, &data_name, durability, |to| write_external(&external, weights, to))?;
    let graph = write_file(folder, name, durability, |to| split.write(weights, to))?;
    Ok(vec![graph, data])
}

fn write_file(
    folder: &Path,
    name: &str,
    durability: Durability,
    content: impl FnOnce(&mut HashingWriter<BufWriter<File>>) -> io::Result<()>,
) -> Result<WrittenFile, FileError> {
    let path = folder.join(name);
    let write = || -> io::Result<WrittenFile> {
        let mut to = HashingWriter::new(BufWriter::with_capacity(1 << 20, File::create_new(&path)?));
        content(&mut to)?;
        let bytes = to.written();
        let (writer, sha256) = to.finish();
        let file = writer.into_inner()?;
        if durability == Durability::Lasting {
            file.sync_all()?;
        }
        Ok(WrittenFile { name: name.to_string(), sha256, bytes })
    };
    write().map_err(FileError::at(&path))
}

/// One constant as it will lie in the file: its description, and how many bytes of content follow it.
struct Entry<'m> {
    initializer: &'m Initializer,
    head: Vec<u8>,
    content: Option<u64>,
}

impl Entry<'_> {
    fn len(&self) -> u64 {
        self.head.len() as u64 + self.content.map_or(0, |bytes| prefix_len(bytes) + bytes)
    }
}

/// The file's parts with all lengths known, as the format puts lengths first.
struct Layout<'m> {
    header: Vec<u8>,
    graph: Vec<u8>,
    entries: Vec<Entry<'m>>,
}

/// A constant in the data file.
struct External<'m> {
    initializer: &'m Initializer,
    offset: u64,
}

impl<'m> Layout<'m> {
    fn embedded(model: &'m Model) -> Self {
        let entry = |initializer: &'m Initializer| Entry {
            initializer,
            head: description(initializer).encode_to_vec(),
            content: Some(initializer.byte_len()),
        };
        Self::of(model, model.initializers.iter().map(entry).collect())
    }

    fn external(model: &'m Model, data_name: &str) -> (Self, Vec<External<'m>>) {
        let (mut entries, mut external) = (Vec::new(), Vec::new());
        let mut end = 0u64;
        for initializer in &model.initializers {
            let length = initializer.byte_len();
            let mut tensor = description(initializer);
            let mut content = Some(length);
            if length >= EXTERNAL_FROM {
                let offset = end.next_multiple_of(ALIGNMENT);
                tensor.data_location = Some(DataLocation::External as i32);
                tensor.external_data = vec![
                    pair("location", data_name),
                    pair("offset", &offset.to_string()),
                    pair("length", &length.to_string()),
                ];
                external.push(External { initializer, offset });
                (end, content) = (offset + length, None);
            }
            entries.push(Entry { initializer, head: tensor.encode_to_vec(), content });
        }
        (Self::of(model, entries), external)
    }

    fn of(model: &Model, entries: Vec<Entry<'m>>) -> Self {
        Self { header: model.header.encode_to_vec(), graph: model.graph.encode_to_vec(), entries }
    }

    fn graph_len(&self) -> u64 {
        let entries: u64 = self.entries.iter().map(|e| prefix_len(e.len()) + e.len()).sum();
        self.graph.len() as u64 + entries
    }

    fn file_len(&self) -> u64 {
        self.header.len() as u64 + prefix_len(self.graph_len()) + self.graph_len()
    }

    fn write(&self, weights: &Weights, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.header)?;
        write_prefix(to, MODEL_GRAPH, self.graph_len())?;
        to.write_all(&self.graph)?;
        for entry in &self.entries {
            write_prefix(to, GRAPH_INITIALIZER, entry.len())?;
            to.write_all(&entry.head)?;
            if let Some(bytes) = entry.content {
                write_prefix(to, TENSOR_RAW_DATA, bytes)?;
                entry.initializer.write(weights, to)?;
            }
        }
        Ok(())
    }
}

fn write_external(
    external: &[External<'_>],
    weights: &Weights,
    to: &mut HashingWriter<BufWriter<File>>,
) -> io::Result<()> {
    for tensor in external {
        let gap = tensor.offset - to.written();
        io::copy(&mut io::Read::take(io::repeat(0), gap), to)?;
        tensor.initializer.write(weights, to)?;
    }
    Ok(())
}

fn description(initializer: &Initializer) -> TensorProto {
    TensorProto {
        name: Some(initializer.name.clone()),
        dims: initializer.dims.clone(),
        data_type: Some(initializer.data_type as i32),
        ..TensorProto::default()
    }
}

fn pair(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use layoutlm_core::encoding::sha256_hex;

    use super::*;
    use crate::graph::{Form, Signature, VariantKind, build};
    use crate::onnx_proto::ModelProto;
    use crate::test_model::{self, LABELS};

    fn model(weights: &Weights) -> Model {
        let metadata = [("key".to_string(), "value".to_string())];
        let form = Form::of(VariantKind::Fp32, 2, Signature::Padded);
        build(&test_model::config(), LABELS, &form, weights, &metadata).unwrap()
    }

    /// What prost itself writes for the same model, constants inside.
    fn encoded_by_prost(model: &Model, weights: &Weights) -> ModelProto {
        let mut whole = model.header.clone();
        let mut graph = model.graph.clone();
        graph.initializer = model
            .initializers
            .iter()
            .map(|i| {
                let mut raw = Vec::new();
                i.write(weights, &mut raw).unwrap();
                TensorProto { raw_data: Some(raw), ..description(i) }
            })
            .collect();
        whole.graph = Some(graph);
        whole
    }

    #[test]
    fn a_streamed_file_reads_back_as_the_model() {
        let (folder, weights) = (tempfile::tempdir().unwrap(), test_model::weights());
        let model = model(&weights);
        let files =
            write_model(folder.path(), "m.onnx", &model, &weights, EXTERNAL_ABOVE, Durability::Passing)
                .unwrap();
        let bytes = fs::read(folder.path().join("m.onnx")).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].bytes, &files[0].sha256), (bytes.len() as u64, &sha256_hex(&bytes)));
        assert_eq!(ModelProto::decode(bytes.as_slice()).unwrap(), encoded_by_prost(&model, &weights));
    }

    #[test]
    fn above_the_limit_weights_lie_aligned_in_a_file_of_their_own() {
        let (folder, weights) = (tempfile::tempdir().unwrap(), test_model::weights());
        let model = model(&weights);
        let files =
            write_model(folder.path(), "m.onnx", &model, &weights, 1000, Durability::Lasting).unwrap();
        let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["m.onnx", "m.onnx.data"]);
        let graph = ModelProto::decode(fs::read(folder.path().join("m.onnx")).unwrap().as_slice()).unwrap();
        let data = fs::read(folder.path().join("m.onnx.data")).unwrap();
        let expected = encoded_by_prost(&model, &weights);
        let pairs = graph.graph.unwrap().initializer.into_iter().zip(expected.graph.unwrap().initializer);
        let mut outside = 0;
        for (tensor, expected) in pairs {
            let content = if tensor.data_location() == DataLocation::External {
                outside += 1;
                let value = |key: &str| {
                    let entry = tensor.external_data.iter().find(|e| e.key() == key).unwrap();
                    entry.value().parse::<usize>().unwrap()
                };
                assert_eq!(value("offset") % 4096, 0);
                &data[value("offset")..value("offset") + value("length")]
            } else {
                tensor.raw_data()
            };
            assert_eq!(content, expected.raw_data(), "{}", tensor.name());
        }
        assert!(outside > 10);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let weights = test_model::weights();
        let model = model(&weights);
        let error = write_model(
            Path::new("/nowhere"),
            "m.onnx",
            &model,
            &weights,
            EXTERNAL_ABOVE,
            Durability::Passing,
        )
        .unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/m.onnx: "), "{error}");
    }
}
