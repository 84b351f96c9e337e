//! Labels a model proposes, written back as PENDING for a person to look at.
//!
//! Nothing a person has decided is touched: a word that has a VALID label is left alone, and so is a row that is VALID,
//! INVALID or waiting for review, also when it became so after it was read.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use layoutlm_core::label::core_labels;
use serde::Serialize;

use crate::clock::next_time;
use crate::dynamo::{Label, LabelStatus, PutCondition, Table, WordKey, Written};
use crate::error::AwsError;
use crate::load::{DEFAULT_CONCURRENCY, ReceiptDetails};

/// What a model thinks of a word.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The word's line.
    pub line_id: u32,
    /// The word.
    pub word_id: u32,
    /// Entity type without prefix; `O` words are not proposed.
    pub entity: String,
    /// 0..1.
    pub confidence: f64,
}

/// Why a guess is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOut {
    /// The table does not take labels of that name, e.g. a merged one.
    NotALabel,
    /// The table has no such word.
    NoWord,
    /// The word has a VALID label.
    WordIsValidated,
    /// Somebody has said that this label is wrong here.
    WasInvalid,
    /// The label waits for review.
    InReview,
    /// This model has proposed it before.
    AlreadyProposed,
    /// It was decided between reading and writing.
    DecidedMeanwhile,
}

/// What would be written for one receipt, and what would not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Labels to write.
    pub labels: Vec<Label>,
    /// Guesses left out, by reason.
    pub left_out: BTreeMap<LeftOut, usize>,
}

/// Decides about a receipt's guesses. `proposer` names the model.
pub fn plan(details: &ReceiptDetails, guesses: &[Guess], proposer: &str) -> Plan {
    let known = core_labels();
    let mut plan = Plan::default();
    for guess in guesses.iter().filter(|g| g.entity != "O") {
        let word =
            WordKey { receipt: details.head.key.clone(), line_id: guess.line_id, word_id: guess.word_id };
        let name = authored(&guess.entity);
        let rows: Vec<&Label> = details.labels.iter().filter(|l| l.word == word).collect();
        let row = rows.iter().find(|l| l.label == name);
        let reason = if !known.contains(&name) {
            Some(LeftOut::NotALabel)
        } else if word.line_id == 0 || word.word_id == 0 || !details.words.iter().any(|w| w.key == word) {
            // Rows of line or word 0 can't be read by the table's other clients.
            Some(LeftOut::NoWord)
        } else if rows.iter().any(|l| l.status == LabelStatus::Valid) {
            Some(LeftOut::WordIsValidated)
        } else {
            match row.map(|l| l.status) {
                Some(LabelStatus::Invalid) => Some(LeftOut::WasInvalid),
                Some(LabelStatus::NeedsReview) => Some(LeftOut::InReview),
                _ => row
                    .filter(|l| {
                        l.proposed_by.as_deref() == Some(proposer) && l.status == LabelStatus::Pending
                    })
                    .map(|_| LeftOut::AlreadyProposed),
            }
        };
        match reason {
            Some(reason) => *plan.left_out.entry(reason).or_default() += 1,
            None => plan.labels.push(Label {
                word,
                label: name,
                status: LabelStatus::Pending,
                reasoning: Some(format!("proposed by {proposer} with confidence {:.2}", guess.confidence)),
                timestamp_added: next_time(),
                consolidated_from: None,
                proposed_by: Some(proposer.into()),
            }),
        }
    }
    plan
}

/// Names that the table knows under another.
fn authored(entity: &str) -> String {
    match entity.to_uppercase().as_str() {
        "ADDRESS" => "ADDRESS_LINE".into(),
        "BUSINESS_NAME" => "MERCHANT_NAME".into(),
        "CARD_NUMBER" | "PAYMENT_TYPE" => "PAYMENT_METHOD".into(),
        other => other.into(),
    }
}

/// Writes planned labels, each only where nobody has decided in the meantime; gives how many were written.
///
/// # Errors
/// [`AwsError`]; labels written by then stay.
pub async fn write(table: &Table, plan: &mut Plan) -> Result<usize, AwsError> {
    let condition = undecided();
    let labels = std::mem::take(&mut plan.labels);
    let written: Vec<(Label, bool)> = stream::iter(labels)
        .map(|label| async {
            let written = table.put(&label.item(), &condition).await?;
            Ok::<_, AwsError>((label, written == Written::Yes))
        })
        .buffered(DEFAULT_CONCURRENCY)
        .try_collect()
        .await?;
    for (label, done) in written {
        if done {
            plan.labels.push(label);
        } else {
            *plan.left_out.entry(LeftOut::DecidedMeanwhile).or_default() += 1;
        }
    }
    Ok(plan.labels.len())
}

fn undecided() -> PutCondition {
    let status = |text: &str| AttributeValue::S(text.into());
    PutCondition::When {
        expression: "attribute_not_exists(PK) OR attribute_not_exists(#s) OR #s IN (:none, :pending)".into(),
        names: BTreeMap::from([("#s".into(), "validation_status".into())]),
        values: BTreeMap::from([(":none".into(), status("NONE")), (":pending".into(), status("PENDING"))]),
    }
}
