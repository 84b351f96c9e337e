//! W3C Trace Context: which trace a request belongs to, taken from its `traceparent` or begun here.
//!
//! Source: W3C Trace Context, level 2. `tracestate` is passed over: nothing here adds to it.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace; never 0.
    pub trace_id: u128,
    /// This request's own span; never 0.
    pub span_id: u64,
    /// The caller's span.
    pub parent_id: Option<u64>,
    /// Whether the caller records the trace; true for traces begun here.
    pub sampled: bool,
}

impl TraceContext {
    /// A span of the trace that the header names; of a new trace where there is none or it is malformed.
    pub fn of(traceparent: Option<&str>) -> Self {
        let span_id = random();
        match traceparent.and_then(parse) {
            Some((trace_id, parent, sampled)) => Self { trace_id, span_id, parent_id: Some(parent), sampled },
            None => {
                let trace_id = u128::from(random()) << 64 | u128::from(random());
                Self { trace_id, span_id, parent_id: None, sampled: true }
            }
        }
    }
}

/// As `traceparent` has it, for whoever is called next.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let mut parts = text.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        part.len() == length && part.bytes().all(lower)
    };
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    // Later versions may add parts; version 00 has four.
    if !well_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    Some((trace, parent, u8::from_str_radix(flags, 16).ok()? & 1 == 1))
}

/// Ids must not meet by chance; nothing depends on their being hard to guess. SipHash with random keys over a counter.
fn random() -> u64 {
    static KEYS: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = KEYS.build_hasher();
    hasher.write_u64(NEXT.fetch_add(1, Ordering::Relaxed));
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_request_joins_the_trace_it_names_with_a_span_of_its_own() {
        let context = TraceContext::of(Some(GIVEN));
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.parent_id, context.sampled), (Some(0x00f0_67aa_0ba9_02b7), true));
        let passed_on = context.to_string();
        assert!(passed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && passed_on.ends_with("-01"));
        assert_ne!(passed_on, GIVEN);
        assert!(!TraceContext::of(Some(&GIVEN.replace("-01", "-00"))).sampled);
    }

    #[test]
    fn what_is_malformed_begins_a_new_trace() {
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::of(Some(bad)).parent_id, None, "{bad}");
        }
        assert!(TraceContext::of(Some(&format!("01{}-more", &GIVEN[2..]))).parent_id.is_some());
        assert_ne!(TraceContext::of(None).trace_id, TraceContext::of(None).trace_id);
    }
}
