//! Random numbers without state: every draw is a hash of a key and a counter.
//!
//! The same (seed, step, site, element) gives the same number on every machine and with any number of threads, so
//! a run can be resumed, and a backward pass can recompute what the forward pass drew. Not for cryptography.

/// A stream of draws, addressed by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x9E37_79B9_7F4A_7C15))
    }

    /// A stream of its own for each `id`.
    pub(crate) fn child(self, id: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(id.wrapping_add(0xD1B5_4A32_D192_ED03)))))
    }

    /// What [`Self::bits`] mixes the index into.
    pub(crate) fn state(self) -> u64 {
        self.0
    }

    /// 64 bits for `index`.
    pub(crate) fn bits(self, index: u64) -> u64 {
        mix(self.0 ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Standard normal draw for `index` (Box–Muller over two uniforms of 53 and 11+ bits).
    pub(crate) fn normal(self, index: u64) -> f64 {
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64);
        let (u, v) = (unit(self.bits(2 * index)), unit(self.bits(2 * index + 1)));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// Finaliser of SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let stream = Stream::new(7).child(3);
        let n = 200_000u32;
        let draws: Vec<f64> = (0..n).map(|i| stream.normal(u64::from(i))).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.01, "{variance}");
        assert!(draws.iter().any(|x| *x > 4.0) && draws.iter().any(|x| *x < -4.0));
    }

    #[test]
    fn streams_of_different_ids_share_nothing() {
        let (a, b) = (Stream::new(1).child(0), Stream::new(1).child(1));
        assert!((0..1000).all(|i| a.bits(i) != b.bits(i)));
        assert_eq!(a.bits(5), Stream::new(1).child(0).bits(5));
    }
}
