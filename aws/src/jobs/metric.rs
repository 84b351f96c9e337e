//! JOB_METRIC: one figure, or one map of figures, of a job.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::{Map, Value};

use super::build::Build;
use super::{job_id, job_pk};
use crate::dynamo::{Fields, Item, ItemError, float, plain_map, plain_to_value};

/// What a metric says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// A finite number.
    Number(f64),
    /// E.g. a confusion matrix.
    Map(Map<String, Value>),
}

/// A figure of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobMetric {
    /// The job.
    pub job_id: String,
    /// E.g. `val_f1`.
    pub metric_name: String,
    /// ISO time; part of the key, so two of one name need two times.
    pub timestamp: String,
    /// The figure.
    pub value: MetricValue,
    /// E.g. `ratio`.
    pub unit: Option<String>,
    /// Optimiser steps done; absent for the run as a whole.
    pub step: Option<u64>,
    /// Epochs done; absent for the run as a whole.
    pub epoch: Option<u64>,
}

impl JobMetric {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "JOB_METRIC";

    /// As written; `None` for a value that is not finite, which the table can't hold.
    pub fn item(&self) -> Option<Item> {
        let value = match &self.value {
            MetricValue::Number(number) => float(*number)?,
            MetricValue::Map(map) => plain_to_value(&Value::Object(map.clone())),
        };
        let (name, at) = (&self.metric_name, &self.timestamp);
        let build = Build::new(job_pk(&self.job_id), format!("METRIC#{name}#{at}"), Self::TYPE)
            .index(1, format!("METRIC#{name}"), at)
            .index(2, format!("METRIC#{name}"), format!("JOB#{}#{at}", self.job_id))
            .text("job_id", &self.job_id)
            .text("metric_name", name)
            .text("timestamp", at)
            .value("value", value)
            .optional_text("unit", self.unit.as_ref())
            .optional_integer("step", self.step)
            .optional_integer("epoch", self.epoch);
        Some(build.done())
    }

    /// # Errors
    /// [`ItemError`].
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let value = match fields.value("value") {
            Some(AttributeValue::N(_)) => MetricValue::Number(fields.number("value")?),
            Some(AttributeValue::M(map)) => MetricValue::Map(plain_map(map)),
            _ => return Err(fields.error("value", "expected a number or a map")),
        };
        let whole = |name: &str| -> Result<Option<u64>, ItemError> {
            Ok(fields.optional_integer(name)?.and_then(|n| u64::try_from(n).ok()))
        };
        Ok(Self {
            job_id: job_id(fields)?,
            metric_name: fields.text("metric_name")?.into(),
            timestamp: fields.text("timestamp")?.into(),
            value,
            unit: fields.optional_string("unit")?,
            step: whole("step")?,
            epoch: whole("epoch")?,
        })
    }
}
