//! Why tag sequences could not be scored, and the check that gold and predicted ones fit each other.

/// Why tag sequences could not be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// No sequence at all; there is no score to give.
    #[error("there is no tag sequence to score; give at least one")]
    NoSequences,
    /// Not as many predicted as gold sequences.
    #[error("{gold} gold sequences but {predicted} predicted ones; they must pair up")]
    SequenceCount {
        /// Gold sequences.
        gold: usize,
        /// Predicted sequences.
        predicted: usize,
    },
    /// A pair of sequences differs in length.
    #[error("sequence {sequence}: {gold} gold tags but {predicted} predicted ones; every word needs both")]
    SequenceLength {
        /// 0-based.
        sequence: usize,
        /// Gold tags in it.
        gold: usize,
        /// Predicted tags in it.
        predicted: usize,
    },
    /// A tag of no characters.
    #[error("sequence {sequence}, tag {position} is empty; expected O, B-<TYPE> or I-<TYPE>")]
    EmptyTag {
        /// 0-based.
        sequence: usize,
        /// 0-based inside the sequence.
        position: usize,
    },
    /// A tag that strict IOB2 does not know.
    #[error("sequence {sequence}, tag {position}: {tag:?} is no IOB2 tag; expected O, B-<TYPE> or I-<TYPE>")]
    NotIob2 {
        /// 0-based.
        sequence: usize,
        /// 0-based inside the sequence.
        position: usize,
        /// The tag.
        tag: String,
    },
}

/// # Errors
/// [`MetricError::SequenceCount`], [`MetricError::SequenceLength`].
pub(super) fn check_pairs(gold: &[Vec<&str>], predicted: &[Vec<&str>]) -> Result<(), MetricError> {
    if gold.len() != predicted.len() {
        return Err(MetricError::SequenceCount { gold: gold.len(), predicted: predicted.len() });
    }
    match gold.iter().zip(predicted).position(|(g, p)| g.len() != p.len()) {
        None => Ok(()),
        Some(sequence) => {
            let length = |rows: &[Vec<&str>]| rows.get(sequence).map_or(0, Vec::len);
            Err(MetricError::SequenceLength { sequence, gold: length(gold), predicted: length(predicted) })
        }
    }
}
