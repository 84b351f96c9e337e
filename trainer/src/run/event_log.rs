//! TensorBoard event files: scalars by optimiser step, appended as a run goes on.
//!
//! A file is a series of records, each framed by its length and two checksums; a record cut short by a crash is passed
//! over by readers. Every sitting of a run begins a file of its own and says from which step on it holds, so that a
//! resumed run shows one curve.
//!
//! Source: TensorFlow's `event.proto`, `summary.proto` and the framing in `record_writer.cc`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::files::FileError;

/// The folder in a run's folder.
pub const EVENTS_DIR: &str = "tensorboard";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is START.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An open event file.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
}

impl EventLog {
    /// Begins a file for a sitting that goes on from `step`.
    ///
    /// # Errors
    /// [`FileError`] when the folder or file can't be made.
    pub fn begin(run_dir: &Path, step: u64) -> Result<Self, FileError> {
        let folder = run_dir.join(EVENTS_DIR);
        std::fs::create_dir_all(&folder).map_err(FileError::at(&folder))?;
        // Readers order files by name, so the time comes first; the process keeps two sittings of one second apart.
        let name = format!("events.out.tfevents.{:010}.{}", now() as u64, std::process::id());
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(FileError::at(&path))?;
        let mut log = Self { file, path };
        log.append(0, What::FileVersion("brain.Event:2".into()))?;
        log.append(step, What::SessionLog(SessionLog { status: 1 }))?;
        Ok(log)
    }

    /// Appends scalars of one step; what is not finite is left out.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn scalars<'a>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), FileError> {
        let scalar = |(tag, v): (&str, f64)| Scalar { tag: tag.into(), simple_value: Some(v as f32) };
        let value = values.into_iter().filter(|(_, v)| v.is_finite()).map(scalar).collect();
        self.append(step, What::Summary(Summary { value }))
    }

    fn append(&mut self, step: u64, what: What) -> Result<(), FileError> {
        let event =
            Event { wall_time: now(), step: i64::try_from(step).unwrap_or(i64::MAX), what: Some(what) };
        self.file.write_all(&framed(&event.encode_to_vec())).map_err(FileError::at(&self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Length, its checksum, content, its checksum; all little-endian.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    [&length[..], &masked(&length), content, &masked(content)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a file apart as a reader would, checking both sums.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut out) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let content = &rest[12..12 + n];
            assert_eq!(framed(content), rest[..n + 16]);
            out.push(Event::decode(content).unwrap());
            rest = &rest[n + 16..];
        }
        out
    }

    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        // Made with tensorflow's TFRecordWriter: the record b"hi".
        let hex: String = framed(b"hi").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(&hex[..16], "0200000000000000");
        assert_eq!(&hex[24..28], "6869");
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    #[test]
    fn scalars_come_back_by_step_also_zero_and_never_nan() {
        let run = tempfile::tempdir().unwrap();
        let mut log = EventLog::begin(run.path(), 7).unwrap();
        log.scalars(8, [("train/loss", 0.0), ("bad", f64::NAN), ("eval/f1", 0.5)]).unwrap();
        let file = std::fs::read_dir(run.path().join(EVENTS_DIR)).unwrap().next().unwrap().unwrap().path();
        let events = events(&file);
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".into())));
        assert_eq!((events[1].step, events.len()), (7, 3));
        let Some(What::Summary(summary)) = &events[2].what else { panic!("no summary") };
        let values: Vec<_> = summary.value.iter().map(|s| (s.tag.as_str(), s.simple_value)).collect();
        assert_eq!(values, [("train/loss", Some(0.0)), ("eval/f1", Some(0.5))]);
    }
}
