//! One session: windows in, their logits out.
//!
//! A window run alone and unpadded has an answer that depends on nothing else. Dynamically quantised graphs scale
//! activations over the whole batch and would answer differently for a window in other company: theirs run alone.

use std::path::{Path, PathBuf};

use layoutlm_core::batch::Batch;
use layoutlm_core::window::Window;
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

/// Why a graph could not be opened or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// ONNX Runtime refused the file.
    #[error("{}: {reason}", path.display())]
    Open {
        /// The graph's file.
        path: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// Not a graph of a token classifier.
    #[error(
        "{}: {reason}; expected int64 input_ids and bbox (attention_mask and token_type_ids as well if it has them) \
         and float logits [batch, sequence, labels]",
        path.display()
    )]
    Signature {
        /// The graph's file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A run failed.
    #[error("ONNX Runtime failed on a window of {tokens} tokens: {reason}")]
    Run {
        /// Tokens of the window.
        tokens: usize,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The graph answered with another shape than it declared.
    #[error("the graph answered [{}], expected [windows, {tokens}, {labels}]", found.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// Shape of the answer.
        found: Vec<i64>,
        /// Tokens of the window.
        tokens: usize,
        /// Classes of the graph.
        labels: usize,
    },
    /// The graph answered with NaN or infinity.
    #[error("the graph answered with a number that is not finite for a window of {tokens} tokens")]
    NotFinite {
        /// Tokens of the window.
        tokens: usize,
    },
}

/// What the graph wants to be fed, in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Ids,
    Boxes,
    Mask,
    Types,
}

impl Input {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "input_ids" => Self::Ids,
            "bbox" => Self::Boxes,
            "attention_mask" => Self::Mask,
            "token_type_ids" => Self::Types,
            _ => return None,
        })
    }
}

/// A graph ready to run, one batch at a time.
#[derive(Debug)]
pub struct WindowSession {
    session: Session,
    inputs: Vec<Input>,
    labels: usize,
}

impl WindowSession {
    /// Takes an opened session; `path` is where its graph came from.
    ///
    /// # Errors
    /// [`EngineError::Signature`] when it is no graph of a token classifier.
    pub(super) fn new(session: Session, path: &Path) -> Result<Self, EngineError> {
        let (inputs, labels) = signature(&session)
            .map_err(|reason| EngineError::Signature { path: path.to_path_buf(), reason })?;
        Ok(Self { session, inputs, labels })
    }

    /// Whether windows of different lengths can be run together: the graph must be told which tokens are padding.
    pub fn takes_padding(&self) -> bool {
        self.inputs.contains(&Input::Mask)
    }

    /// Classes of the graph.
    pub fn num_labels(&self) -> usize {
        self.labels
    }

    /// A value of the graph's own metadata.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.session.metadata().ok()?.custom(key)
    }

    /// Logits of one window, `[seq, labels]` row-major.
    ///
    /// # Errors
    /// [`EngineError::Run`], [`EngineError::Shape`] or [`EngineError::NotFinite`].
    pub fn run(&mut self, window: &Window) -> Result<Vec<f32>, EngineError> {
        Ok(self.run_batch(&[window])?.pop().unwrap_or_default())
    }

    /// Logits of several windows run as one batch, each `[seq, labels]` row-major.
    ///
    /// # Errors
    /// [`EngineError::Run`], [`EngineError::Shape`] or [`EngineError::NotFinite`]. A graph without a mask refuses
    /// windows of different lengths.
    pub fn run_batch(&mut self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, EngineError> {
        let labels = self.labels;
        let tokens = windows.iter().map(|w| w.len()).max().unwrap_or(0);
        if tokens == 0 {
            return Ok(windows.iter().map(|_| Vec::new()).collect());
        }
        let refuse = |reason: &str| EngineError::Run { tokens, reason: reason.into() };
        if !self.takes_padding() && windows.iter().any(|w| w.len() != tokens) {
            return Err(refuse(
                "it has no attention_mask, so that all windows of a batch must be of one length",
            ));
        }
        let failed = |e: ort::Error| refuse(&one_line(e.message()));
        let feeds = self.feeds(windows).map_err(failed)?;
        let outputs = self.session.run(feeds.as_slice()).map_err(failed)?;
        let logits = outputs.get("logits").ok_or_else(|| refuse("it gave no logits"))?;
        let (shape, values) = logits.try_extract_tensor::<f32>().map_err(failed)?;
        if shape.iter().as_slice() != [windows.len() as i64, tokens as i64, labels as i64] {
            return Err(EngineError::Shape { found: shape.to_vec(), tokens, labels });
        }
        let rows = windows.iter().zip(values.chunks(tokens * labels));
        let answers = rows.map(|(w, rows)| rows.get(..w.len() * labels).unwrap_or_default().to_vec());
        let answers: Vec<Vec<f32>> = answers.collect();
        // What stands in padding is nobody's business.
        if answers.iter().flatten().any(|v| !v.is_finite()) {
            return Err(EngineError::NotFinite { tokens });
        }
        Ok(answers)
    }

    fn feeds(&self, windows: &[&Window]) -> ort::Result<Vec<SessionInputValue<'static>>> {
        // Any id may stand in padding: the mask leaves it out.
        let batch = Batch::pad(windows, 0);
        let (rows, seq) = (batch.batch_size, batch.sequence_length);
        let (mut ids, mut boxes) = (Some(batch.input_ids), Some(batch.bbox));
        let (mut mask, mut types) = (Some(batch.attention_mask), Some(batch.token_type_ids));
        self.inputs
            .iter()
            .map(|input| {
                let plain = |values: &mut Option<Vec<i64>>| {
                    Tensor::from_array(([rows, seq], values.take().unwrap_or_default())).map(Tensor::into_dyn)
                };
                let tensor = match input {
                    Input::Ids => plain(&mut ids)?,
                    Input::Mask => plain(&mut mask)?,
                    Input::Types => plain(&mut types)?,
                    Input::Boxes => {
                        Tensor::from_array(([rows, seq, 4], boxes.take().unwrap_or_default()))?.into_dyn()
                    }
                };
                Ok(SessionInputValue::from(tensor))
            })
            .collect()
    }
}

fn signature(session: &Session) -> Result<(Vec<Input>, usize), String> {
    let mut inputs = Vec::new();
    for outlet in session.inputs() {
        let input =
            Input::named(outlet.name()).ok_or_else(|| format!("it wants an input {:?}", outlet.name()))?;
        let rank = if input == Input::Boxes { 3 } else { 2 };
        tensor_dims(outlet, TensorElementType::Int64, rank)?;
        inputs.push(input);
    }
    for (needed, name) in [(Input::Ids, "input_ids"), (Input::Boxes, "bbox")] {
        if !inputs.contains(&needed) {
            return Err(format!("it has no input {name}"));
        }
    }
    let logits = session.outputs().iter().find(|o| o.name() == "logits").ok_or("it has no output logits")?;
    let dims = tensor_dims(logits, TensorElementType::Float32, 3)?;
    match dims.last() {
        Some(&labels) if labels > 0 => Ok((inputs, labels as usize)),
        _ => Err("the number of labels is not fixed in its output".into()),
    }
}

fn tensor_dims(outlet: &Outlet, element: TensorElementType, rank: usize) -> Result<Vec<i64>, String> {
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } if *ty == element && shape.len() == rank => Ok(shape.to_vec()),
        other => Err(format!("{} is {other:?}", outlet.name())),
    }
}

/// ONNX Runtime's messages run over several lines; logs and answers want one.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
