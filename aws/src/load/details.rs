//! One receipt with everything about it, as evaluation and single-receipt labelling read it.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::unit_page::scale_unit_pages;

use super::DEFAULT_CONCURRENCY;
use super::assemble::{plain_receipt, plain_word};
use crate::dynamo::{
    Fields, Item, ItemError, Label, LabelStatus, Place, Query, ReceiptHead, ReceiptKey, Table, TableWord,
};
use crate::error::AwsError;

/// A receipt's own row, shop, words and labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptDetails {
    /// Its own row.
    pub head: ReceiptHead,
    /// The shop, if known.
    pub place: Option<Place>,
    /// Words by line and word.
    pub words: Vec<TableWord>,
    /// Labels of every status, in the order of the index.
    pub labels: Vec<Label>,
    /// Items that can't be read.
    pub malformed: Vec<ItemError>,
}

impl ReceiptDetails {
    /// Reads one receipt; `None` where the table has no such receipt.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn read(table: &Table, key: &ReceiptKey) -> Result<Option<Self>, AwsError> {
        let items = table.query(&Query::index("GSI4", key.index())).await?;
        Ok(Self::from_items(&items))
    }

    /// Keys of all receipts of the table, sorted, and the rows that can't be read.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn keys(table: &Table) -> Result<(Vec<ReceiptKey>, Vec<ItemError>), AwsError> {
        let (mut keys, mut malformed) = (Vec::new(), Vec::new());
        table
            .query_pages(&Query::index("GSITYPE", ReceiptHead::TYPE), |page| {
                for item in &page {
                    match ReceiptHead::read(item) {
                        Ok(head) => keys.push(head.key),
                        Err(error) => malformed.push(error),
                    }
                }
                true
            })
            .await?;
        keys.sort();
        Ok((keys, malformed))
    }

    /// Reads many receipts, several at once, in the order given; those that are not there are left out.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn read_all(table: &Table, keys: &[ReceiptKey]) -> Result<Vec<Self>, AwsError> {
        let read = stream::iter(keys).map(|key| Self::read(table, key)).buffered(DEFAULT_CONCURRENCY);
        let found: Vec<Option<Self>> = read.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn from_items(items: &[Item]) -> Option<Self> {
        let (mut head, mut place, mut malformed) = (None, None, Vec::new());
        let (mut words, mut labels) = (Vec::new(), Vec::new());
        for item in items {
            let read = match Fields::of(item).item_type() {
                ReceiptHead::TYPE => ReceiptHead::read(item).map(|h| head = Some(h)),
                Place::TYPE => Place::read(item).map(|p| place = Some(p)),
                TableWord::TYPE => TableWord::read(item).map(|w| words.push(w)),
                Label::TYPE => Label::read(item).map(|l| labels.push(l)),
                _ => Ok(()),
            };
            malformed.extend(read.err());
        }
        words.sort_by(|a: &TableWord, b| a.key.cmp(&b.key));
        Some(Self { head: head?, place, words, labels, malformed })
    }

    /// The receipt as the programs know it: boxes relative to its own extents, the last VALID label of a word as gold.
    pub fn receipt(&self) -> Receipt {
        let gold: BTreeMap<_, &str> = self
            .labels
            .iter()
            .filter(|label| label.status == LabelStatus::Valid)
            .map(|label| (&label.word, label.label.as_str()))
            .collect();
        let words = self
            .words
            .iter()
            .map(|word| {
                let label = gold.get(&word.key).map(|l| (*l).to_string());
                let mut word = plain_word(word.clone(), label);
                word.validation_status = ValidationStatus::Valid;
                word
            })
            .collect();
        let mut receipt = plain_receipt(&self.head.key, words);
        receipt.merchant = self.place.as_ref().map(|p| p.merchant_name.clone());
        scale_unit_pages([&mut receipt]);
        receipt
    }
}
