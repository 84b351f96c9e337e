//! Vectorised elementary functions, and the macro that compiles a kernel for the processor it runs on.
//!
//! Kernels are plain loops; [`vectorized!`] compiles each once for AVX-512, once for AVX2 with fused multiply-add and
//! once for the baseline, and picks at run time. All three follow the same arithmetic; only the baseline of a
//! processor without fused multiply-add is slow. Kernels use `for` loops: a closure handed to an iterator adaptor may
//! end up in a function of its own, compiled for the baseline.

/// What the processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Baseline,
}

/// The best level of this processor; the check is cached by the standard library.
#[inline]
pub(crate) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if fma
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Level::Avx512;
        }
        if fma {
            return Level::Avx2;
        }
    }
    Level::Baseline
}

/// Defines functions whose bodies are compiled for each [`Level`].
macro_rules! vectorized {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

            match $crate::ops::simd::level() {
                // SAFETY: `level` returns a variant only after detecting every feature that function enables.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                $crate::ops::simd::Level::Baseline => body($($arg),*),
            }
        }
    )*};
}
pub(crate) use vectorized;

/// eˣ to about 2 units in the last place; 0 < result < ∞ also beyond ±87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first short enough that n·HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // (eʳ − 1 − r)/r² on |r| ≤ ln 2 / 2, minimax fit, relative error of eʳ 3e-9.
    const P: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_39, 0.008_368_746, 0.001_381_453_6];
    let x = x.clamp(-87.0, 87.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let tail = P[4].mul_add(r, P[3]).mul_add(r, P[2]).mul_add(r, P[1]).mul_add(r, P[0]);
    let mantissa = (r * r).mul_add(tail, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    mantissa * f32::from_bits(exponent << 23)
}

/// Distribution function Φ(x) and density φ(x) of the standard normal, each to about 1e-7 of its value.
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    // Φ(−|x|) = exp(−x²/2)·t·P(t), t = 1/(1 + c|x|): minimax fit, relative error 2e-8.
    const C: f32 = 0.21;
    const P: [f32; 9] = [
        0.083_711_57,
        0.085_068_9,
        0.069_191_91,
        0.124_873_71,
        -0.093_927_4,
        0.349_404_03,
        -0.330_255_87,
        0.283_589_7,
        -0.071_656_52,
    ];
    let e = exp(-0.5 * x * x);
    let t = 1.0 / x.abs().mul_add(C, 1.0);
    let mut p = P[8];
    let mut i = 8;
    while i > 0 {
        i -= 1;
        p = p.mul_add(t, P[i]);
    }
    let tail = e * t * p;
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (cdf, e * 0.398_942_3)
}

/// Sum of a row, in 16 lanes and then in f64.
#[inline(always)]
pub(crate) fn sum(row: &[f32]) -> f64 {
    let mut lanes = [0f32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    let mut total = total(&lanes);
    for x in rest {
        total += f64::from(*x);
    }
    total
}

/// Sum of the lanes, in order.
#[inline(always)]
fn total(lanes: &[f32; 16]) -> f64 {
    let mut total = 0.0;
    for lane in lanes {
        total += f64::from(*lane);
    }
    total
}

/// Σ (a − centre)², as [`sum`].
#[inline(always)]
pub(crate) fn sum_squares(row: &[f32], centre: f32) -> f64 {
    let mut lanes = [0f32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            let d = x - centre;
            *lane = d.mul_add(d, *lane);
        }
    }
    let mut total = total(&lanes);
    for x in rest {
        let d = f64::from(x - centre);
        total += d * d;
    }
    total
}

/// Σ a·b, as [`sum`]; the rows are of one length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f32; 16];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane = x.mul_add(*y, *lane);
        }
    }
    let mut total = total(&lanes);
    for (x, y) in a_rest.iter().zip(b_rest) {
        total += f64::from(*x) * f64::from(*y);
    }
    total
}

/// Largest element; −∞ for an empty row.
#[inline(always)]
pub(crate) fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for x in &lanes {
        largest = if *x > largest { *x } else { largest };
    }
    for x in rest {
        largest = if *x > largest { *x } else { largest };
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    vectorized! {
        fn exp_all(x: &[f32], out: &mut [f32]) {
            for (x, out) in x.iter().zip(out) {
                *out = exp(*x);
            }
        }
        fn normal_all(x: &[f32], cdf: &mut [f32], density: &mut [f32]) {
            for ((x, c), d) in x.iter().zip(cdf).zip(density) {
                (*c, *d) = normal(*x);
            }
        }
    }

    fn grid(low: f32, high: f32) -> Vec<f32> {
        (0..=100_000).map(|i| low + (high - low) * i as f32 / 100_000.0).collect()
    }

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let x = grid(-86.0, 86.0);
        let mut out = vec![0.0; x.len()];
        exp_all(&x, &mut out);
        let worst = x
            .iter()
            .zip(&out)
            .map(|(&x, &y)| (f64::from(y) / f64::from(x).exp() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 2.4e-7, "{worst}");
        assert!(exp(-1e9) < 1e-37 && exp(1e9).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn normal_distribution_agrees_with_its_series() {
        let x = grid(-6.0, 6.0);
        let (mut cdf, mut density) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        normal_all(&x, &mut cdf, &mut density);
        for ((&x, &c), &d) in x.iter().zip(&cdf).zip(&density).step_by(97) {
            let x = f64::from(x);
            let exact_density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            // Φ(x) = 1/2 + φ(x)·(x + x³/3 + x⁵/15 + …). Source: Marsaglia 2004.
            let (mut term, mut total) = (x, x);
            for k in 1..200 {
                term *= x * x / f64::from(2 * k + 1);
                total += term;
            }
            let exact = 0.5 + exact_density * total;
            assert!((f64::from(c) - exact).abs() < 2e-7, "Φ({x}) = {c}, not {exact}");
            assert!((f64::from(d) - exact_density).abs() < 1e-7, "φ({x}) = {d}, not {exact_density}");
        }
        assert!(normal(-12.0).0 > 0.0);
    }

    #[test]
    fn reductions_cover_the_rest_beyond_whole_lanes() {
        let row: Vec<f32> = (1..=37).map(|i| i as f32).collect();
        assert_eq!(sum(&row), 703.0);
        assert_eq!(max(&row), 37.0);
        assert_eq!(dot(&row, &row), 17575.0);
        assert_eq!(sum_squares(&row, 19.0), 4218.0);
    }
}
