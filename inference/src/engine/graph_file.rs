//! Reads an ONNX file into two parts: its large weights, and the graph without them.
//!
//! With the weights as tensors, several sessions of one graph can be opened over one copy of them. Or they stay where they
//! are, and the graph says where in the file that is: ONNX Runtime then maps what it touches, instead of holding the file
//! and the weights in it twice. Reads the file once, front to back. What it does not know it leaves in the graph, so that
//! ONNX Runtime judges it.
//!
//! Source: Protocol Buffers encoding; `onnx.proto3` (ModelProto 7, GraphProto 5, TensorProto 1, 2, 8, 9, 13, 14).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};

const MODEL_GRAPH: u64 = 7;
const GRAPH_INITIALIZER: u64 = 5;
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW_DATA: u64 = 9;
const TENSOR_EXTERNAL_DATA: u64 = 13;
const TENSOR_DATA_LOCATION: u64 = 14;
const EXTERNAL: u64 = 1;
/// Where weights are that are handed in as tensors; ONNX Runtime does not look there.
const HANDED_IN: &str = "shared";

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Smaller constants stay in the graph: its optimiser looks at them, and they cost nothing.
const LARGE: u64 = 16 << 10;
/// Bytes read ahead. Weights are larger and go past it, straight to where they stay.
const BUFFER: usize = 64 << 10;
/// Anything larger than this is no ONNX file of one piece.
const MOST: u64 = 1 << 31;

/// A weight by its name in the graph.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) value: Arc<DynValue>,
}

/// A graph and its weights.
#[derive(Debug)]
pub(super) struct GraphFile {
    /// An ONNX model that says its large weights are elsewhere.
    pub(super) graph: Vec<u8>,
    /// Those weights.
    pub(super) weights: Vec<Weight>,
}

/// What becomes of large weights.
enum Weights<'a> {
    /// They are read.
    Taken(Vec<Weight>),
    /// They stay in the file of this name.
    Left(&'a str),
}

impl GraphFile {
    /// Takes the weights out of the graph.
    ///
    /// # Errors
    /// What the system said, or where the file stops being protobuf.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut weights = Weights::Taken(Vec::new());
        let graph = read_model(path, &mut weights)?;
        let Weights::Taken(weights) = weights else { return Err(io::ErrorKind::Other.into()) };
        Ok(Self { graph, weights })
    }

    /// Leaves the weights in the file, for a session that is told its folder.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn mapped(path: &Path) -> io::Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "is no file name in UTF-8"))?;
        Ok(Self { graph: read_model(path, &mut Weights::Left(name))?, weights: Vec::new() })
    }
}

fn read_model(path: &Path, weights: &mut Weights<'_>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = Reader { inner: BufReader::with_capacity(BUFFER, file), at: 0 };
    let mut model = Vec::new();
    while reader.at < length {
        let field = reader.field(length)?;
        if field.number == MODEL_GRAPH && field.wire == LENGTH {
            let inner = read_graph(&mut reader, field.length, weights)?;
            put_bytes(&mut model, MODEL_GRAPH, &inner);
        } else {
            reader.copy(&field, &mut model)?;
        }
    }
    Ok(model)
}

fn read_graph(reader: &mut Reader, length: u64, weights: &mut Weights<'_>) -> io::Result<Vec<u8>> {
    let (end, mut graph) = (reader.at + length, Vec::new());
    while reader.at < end {
        let field = reader.field(end)?;
        if field.number == GRAPH_INITIALIZER && field.wire == LENGTH {
            let tensor = read_tensor(reader, field.length, weights)?;
            put_bytes(&mut graph, GRAPH_INITIALIZER, &tensor);
        } else {
            reader.copy(&field, &mut graph)?;
        }
    }
    Ok(graph)
}

/// What is said of a tensor before its content.
#[derive(Debug, Default)]
struct Head {
    dims: Vec<i64>,
    data_type: u64,
    name: String,
}

/// The tensor's bytes without its content, where that is a large weight.
fn read_tensor(reader: &mut Reader, length: u64, weights: &mut Weights<'_>) -> io::Result<Vec<u8>> {
    let end = reader.at + length;
    let (mut head, mut kept, mut gone) = (Head::default(), Vec::new(), false);
    while reader.at < end {
        let field = reader.field(end)?;
        if field.number == TENSOR_RAW_DATA && field.length >= LARGE && !gone && head.describes(field.length) {
            gone = true;
            match weights {
                Weights::Taken(taken) => {
                    let value = Arc::new(read_content(reader, &head, field.length)?);
                    put_place(&mut kept, &[("location", HANDED_IN)]);
                    taken.push(Weight { name: head.name.clone(), value });
                }
                Weights::Left(file) => {
                    let (offset, length) = (reader.at.to_string(), field.length.to_string());
                    put_place(&mut kept, &[("location", file), ("offset", &offset), ("length", &length)]);
                    reader.skip(field.length)?;
                }
            }
            continue;
        }
        let from = kept.len();
        reader.copy(&field, &mut kept)?;
        head.note(&field, kept.get(from..).unwrap_or_default());
    }
    Ok(kept)
}

/// Says of a tensor that its content is elsewhere (`external_data`, a list of `StringStringEntryProto`).
fn put_place(tensor: &mut Vec<u8>, entries: &[(&str, &str)]) {
    for (key, value) in entries {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(tensor, TENSOR_EXTERNAL_DATA, &entry);
    }
    put_varint(tensor, TENSOR_DATA_LOCATION << 3 | VARINT);
    put_varint(tensor, EXTERNAL);
}

impl Head {
    /// Bytes of an element, of the types that weights have.
    fn element(&self) -> Option<u64> {
        match self.data_type {
            1 => Some(4),
            2 | 3 => Some(1),
            _ => None,
        }
    }

    /// Whether so many bytes are the content of a tensor that could be a weight.
    fn describes(&self, bytes: u64) -> bool {
        let size = |n: u64, &d: &i64| n.checked_mul(u64::try_from(d).ok()?);
        let expected = self.element().and_then(|element| self.dims.iter().try_fold(element, size));
        expected == Some(bytes) && !self.name.is_empty()
    }

    /// `bytes` are the whole field.
    fn note(&mut self, field: &Field, bytes: &[u8]) {
        let content = bytes.len().checked_sub(field.length as usize).and_then(|from| bytes.get(from..));
        match (field.number, field.wire) {
            (TENSOR_DIMS, VARINT) => self.dims.push(field.value as i64),
            (TENSOR_DIMS, LENGTH) => self.dims.extend(packed(content.unwrap_or_default())),
            (TENSOR_DATA_TYPE, VARINT) => self.data_type = field.value,
            (TENSOR_NAME, LENGTH) => {
                self.name = String::from_utf8_lossy(content.unwrap_or_default()).into_owned();
            }
            _ => {}
        }
    }
}

/// The content of a tensor that [`Head::describes`] it.
fn read_content(reader: &mut Reader, head: &Head, bytes: u64) -> io::Result<DynValue> {
    match head.data_type {
        2 => read_values::<u8>(reader, head, bytes),
        3 => read_values::<i8>(reader, head, bytes),
        _ => read_values::<f32>(reader, head, bytes),
    }
}

fn read_values<T>(reader: &mut Reader, head: &Head, bytes: u64) -> io::Result<DynValue>
where
    T: PrimitiveTensorElementType + bytemuck::Pod + std::fmt::Debug,
{
    let mut values = vec![T::zeroed(); (bytes / size_of::<T>() as u64) as usize];
    reader.fill(bytemuck::cast_slice_mut(&mut values))?;
    let tensor = Tensor::from_array((head.dims.clone(), values)).map_err(io::Error::other)?;
    Ok(tensor.into_dyn())
}

/// One field's key and, for a number, its value; a length-delimited or fixed content still lies ahead.
#[derive(Debug)]
struct Field {
    number: u64,
    wire: u64,
    value: u64,
    length: u64,
}

#[derive(Debug)]
struct Reader {
    inner: BufReader<File>,
    at: u64,
}

impl Reader {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.at += bytes;
        self.inner.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0u8];
            self.fill(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(self.broken())
    }

    /// Reads a key, and what must be known of its content.
    fn field(&mut self, end: u64) -> io::Result<Field> {
        let key = self.varint()?;
        let (number, wire) = (key >> 3, key & 7);
        let (value, length) = match wire {
            VARINT => (self.varint()?, 0),
            FIXED64 => (0, 8),
            LENGTH => (0, self.varint()?),
            FIXED32 => (0, 4),
            _ => return Err(self.broken()),
        };
        if length > MOST || self.at + length > end {
            return Err(self.broken());
        }
        Ok(Field { number, wire, value, length })
    }

    /// Copies a field as it is.
    fn copy(&mut self, field: &Field, to: &mut Vec<u8>) -> io::Result<()> {
        put_varint(to, field.number << 3 | field.wire);
        match field.wire {
            VARINT => put_varint(to, field.value),
            LENGTH => put_varint(to, field.length),
            _ => {}
        }
        let from = to.len();
        to.resize(from + field.length as usize, 0);
        self.fill(to.get_mut(from..).unwrap_or_default())
    }

    fn broken(&self) -> io::Error {
        let text = format!("no ONNX model: not protobuf at byte {}", self.at);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

fn packed(mut bytes: &[u8]) -> Vec<i64> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let taken = bytes.iter().take_while(|b| **b >= 0x80).count() + 1;
        let (number, rest) = bytes.split_at(taken.min(bytes.len()));
        let value = number.iter().rev().fold(0u64, |n, b| n << 7 | u64::from(b & 0x7f));
        values.push(value as i64);
        bytes = rest;
    }
    values
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn put_bytes(to: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(to, number << 3 | LENGTH);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}
