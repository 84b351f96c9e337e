//! Labels of a model, written back.

use layoutlm_aws::dynamo::{Label, LabelStatus, ReceiptKey};
use layoutlm_aws::load::{LoadOptions, ReceiptDetails};
use layoutlm_aws::propose::{Guess, LeftOut, plan, write};

use crate::support::{Stand, TABLE};

async fn some_receipt(stand: &Stand) -> ReceiptDetails {
    let all = stand.load(&LoadOptions::default()).await.unwrap();
    let receipt = all.receipts.iter().map(|r| &r.receipt).max_by_key(|r| r.words.len()).unwrap();
    let key = ReceiptKey { image_id: receipt.image_id.clone(), receipt_id: receipt.receipt_id };
    ReceiptDetails::read(&stand.aws.table(TABLE), &key).await.unwrap().unwrap()
}

fn guesses(details: &ReceiptDetails, entity: &str) -> Vec<Guess> {
    let guess = |line_id, word_id| Guess { line_id, word_id, entity: entity.into(), confidence: 0.9 };
    details.words.iter().map(|w| guess(w.key.line_id, w.key.word_id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_pending_name_the_model_and_never_touch_a_decision() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let table = stand.aws.table(TABLE);
    let before = some_receipt(&stand).await;
    let mut plan = plan(&before, &guesses(&before, "DATE"), "receipts-1");
    assert!(plan.left_out[&LeftOut::WordIsValidated] > 0, "{:?}", plan.left_out);
    let planned = plan.labels.len();
    assert_eq!(write(&table, &mut plan).await.unwrap(), planned);

    let after = ReceiptDetails::read(&table, &before.head.key).await.unwrap().unwrap();
    let decided = |d: &ReceiptDetails| -> Vec<Label> {
        let open = [LabelStatus::Pending, LabelStatus::None];
        d.labels.iter().filter(|l| !open.contains(&l.status)).cloned().collect()
    };
    assert_eq!(decided(&before), decided(&after));
    let ours: Vec<&Label> =
        after.labels.iter().filter(|l| l.proposed_by.as_deref() == Some("receipts-1")).collect();
    assert_eq!(ours.len(), planned);
    assert!(ours.iter().all(|l| l.status == LabelStatus::Pending && l.label == "DATE"));

    let again = layoutlm_aws::propose::plan(&after, &guesses(&after, "DATE"), "receipts-1");
    assert!(again.labels.is_empty());
    assert_eq!(again.left_out[&LeftOut::AlreadyProposed], planned);
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_names_are_no_labels_and_aliases_become_the_tables_names() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let details = some_receipt(&stand).await;
    let merged = plan(&details, &guesses(&details, "AMOUNT"), "m");
    assert!(merged.labels.is_empty() && merged.left_out[&LeftOut::NotALabel] == details.words.len());
    let alias = plan(&details, &guesses(&details, "ADDRESS"), "m");
    assert!(alias.labels.iter().all(|l| l.label == "ADDRESS_LINE") && !alias.labels.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_made_between_reading_and_writing_stands() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let table = stand.aws.table(TABLE);
    let details = some_receipt(&stand).await;
    let mut plan = plan(&details, &guesses(&details, "TIME"), "m");
    let mut decided = plan.labels[0].clone();
    (decided.status, decided.proposed_by) = (LabelStatus::Invalid, Some("a person".into()));
    stand.dynamo.fill(TABLE, &[layoutlm_aws::dynamo::item_to_json(&decided.item())]).await;
    let planned = plan.labels.len();
    assert_eq!(write(&table, &mut plan).await.unwrap(), planned - 1);
    assert_eq!(plan.left_out[&LeftOut::DecidedMeanwhile], 1);
    let after = ReceiptDetails::read(&table, &details.head.key).await.unwrap().unwrap();
    assert!(after.labels.contains(&decided));
}
