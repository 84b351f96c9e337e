//! Reads an ONNX file into two parts: its large weights as tensors, and the graph without them.
//!
//! Several sessions of one graph can then be opened over one copy of the weights. Reads the file once, front to back,
//! and holds no weight twice. What it does not know it leaves in the graph, so that ONNX Runtime judges it.
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
/// `external_data` (a `StringStringEntryProto`: `location` = `shared`) and `data_location` (`EXTERNAL`).
const ELSEWHERE: &[u8] = b"\x6a\x12\x0a\x08location\x12\x06shared\x70\x01";

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
#[derive(Debug, Default)]
pub(super) struct GraphFile {
    /// An ONNX model that says its large weights are elsewhere.
    pub(super) graph: Vec<u8>,
    /// Those weights.
    pub(super) weights: Vec<Weight>,
}

impl GraphFile {
    /// # Errors
    /// What the system said, or where the file stops being protobuf.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = Reader { inner: BufReader::with_capacity(BUFFER, file), at: 0 };
        let (mut graph, mut weights) = (Vec::new(), Vec::new());
        while reader.at < length {
            let field = reader.field(length)?;
            if field.number == MODEL_GRAPH && field.wire == LENGTH {
                let inner = read_graph(&mut reader, field.length, &mut weights)?;
                put_bytes(&mut graph, MODEL_GRAPH, &inner);
            } else {
                reader.copy(&field, &mut graph)?;
            }
        }
        Ok(Self { graph, weights })
    }
}

fn read_graph(reader: &mut Reader, length: u64, weights: &mut Vec<Weight>) -> io::Result<Vec<u8>> {
    let (end, mut graph) = (reader.at + length, Vec::new());
    while reader.at < end {
        let field = reader.field(end)?;
        if field.number == GRAPH_INITIALIZER && field.wire == LENGTH {
            let (tensor, weight) = read_tensor(reader, field.length)?;
            put_bytes(&mut graph, GRAPH_INITIALIZER, &tensor);
            weights.extend(weight);
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

fn read_tensor(reader: &mut Reader, length: u64) -> io::Result<(Vec<u8>, Option<Weight>)> {
    let end = reader.at + length;
    let (mut head, mut kept, mut weight) = (Head::default(), Vec::new(), None);
    while reader.at < end {
        let field = reader.field(end)?;
        if field.number == TENSOR_RAW_DATA && field.length >= LARGE && weight.is_none() {
            match read_content(reader, &head, field.length)? {
                Some(value) => weight = Some(value),
                None => reader.copy(&field, &mut kept)?,
            }
            continue;
        }
        let from = kept.len();
        reader.copy(&field, &mut kept)?;
        head.note(&field, kept.get(from..).unwrap_or_default());
    }
    let weight = weight.map(|value| {
        kept.extend_from_slice(ELSEWHERE);
        Weight { name: head.name, value: Arc::new(value) }
    });
    Ok((kept, weight))
}

impl Head {
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

/// The tensor's content, where its type is one that weights have and its size is that of its shape.
fn read_content(reader: &mut Reader, head: &Head, bytes: u64) -> io::Result<Option<DynValue>> {
    match head.data_type {
        1 => read_values::<f32>(reader, head, bytes),
        2 => read_values::<u8>(reader, head, bytes),
        3 => read_values::<i8>(reader, head, bytes),
        _ => Ok(None),
    }
}

fn read_values<T>(reader: &mut Reader, head: &Head, bytes: u64) -> io::Result<Option<DynValue>>
where
    T: PrimitiveTensorElementType + bytemuck::Pod + std::fmt::Debug,
{
    let size = size_of::<T>() as u64;
    let expected = head.dims.iter().try_fold(size, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
    if expected != Some(bytes) || head.name.is_empty() {
        return Ok(None);
    }
    let mut values = vec![T::zeroed(); (bytes / size) as usize];
    reader.fill(bytemuck::cast_slice_mut(&mut values))?;
    let tensor = Tensor::from_array((head.dims.clone(), values)).map_err(io::Error::other)?;
    Ok(Some(tensor.into_dyn()))
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
