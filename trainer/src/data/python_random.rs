//! CPython's random numbers: the generator that seeded splits of earlier runs were drawn from.
//!
//! [`PythonRandom`] gives bit for bit what `random.Random(seed)` gives: `getrandbits`, `random`, `shuffle`. It is
//! used wherever a draw has to be repeatable by name of its seed; it is not for cryptography.
//!
//! Source: Matsumoto, Nishimura, "Mersenne Twister" (1998), with the array seeding of 2002.
#![allow(clippy::indexing_slicing)] // every index is below N by construction: `% N` or a loop bound

const N: usize = 624;
const M: usize = 397;

/// `random.Random(seed)` of CPython for a non-negative integer seed.
#[derive(Clone)]
pub struct PythonRandom {
    state: [u32; N],
    next: usize,
}

impl std::fmt::Debug for PythonRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PythonRandom").field("next", &self.next).finish_non_exhaustive()
    }
}

impl PythonRandom {
    /// Seeds as `random.seed(seed)` does.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        if high == 0 { Self::from_key(&[low]) } else { Self::from_key(&[low, high]) }
    }

    /// `init_by_array` of the reference implementation.
    fn from_key(key: &[u32]) -> Self {
        let mut s = [0u32; N];
        s[0] = 19_650_218;
        for i in 1..N {
            s[i] = 1_812_433_253u32.wrapping_mul(s[i - 1] ^ (s[i - 1] >> 30)).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        let mix = |s: &[u32; N], i: usize, by: u32| s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(by);
        for _ in 0..N.max(key.len()) {
            s[i] = mix(&s, i, 1_664_525).wrapping_add(key[j]).wrapping_add(j as u32);
            (i, j) = (advance(&mut s, i), (j + 1) % key.len());
        }
        for _ in 1..N {
            s[i] = mix(&s, i, 1_566_083_941).wrapping_sub(i as u32);
            i = advance(&mut s, i);
        }
        s[0] = 0x8000_0000;
        Self { state: s, next: N }
    }

    fn refill(&mut self) {
        let s = &mut self.state;
        for i in 0..N {
            let y = (s[i] & 0x8000_0000) | (s[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            s[i] = s[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `getrandbits(bits)` for 0 to 64 bits; more count as 64.
    pub fn getrandbits(&mut self, bits: u32) -> u64 {
        match bits {
            0 => 0,
            1..=32 => u64::from(self.next_u32() >> (32 - bits)),
            _ => {
                let low = u64::from(self.next_u32());
                let high = u64::from(self.next_u32() >> (64 - bits.min(64)));
                (high << 32) | low
            }
        }
    }

    /// `random()`: a float in `[0, 1)` with 53 bits.
    pub fn random(&mut self) -> f64 {
        let (a, b) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// `randrange(bound)`: by rejection on `getrandbits`; 0 for a bound of 0 or 1 (which still draws for 1).
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let draw = self.getrandbits(bits) as usize;
            if draw < bound {
                return draw;
            }
        }
    }

    /// `shuffle(items)`: Fisher–Yates from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

fn advance(s: &mut [u32; N], i: usize) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    s[0] = s[N - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_of_seed_42_are_cpythons() {
        let mut r = PythonRandom::new(42);
        assert_eq!([r.random(), r.random()], [0.639_426_798_457_883_7, 0.025_010_755_222_666_936]);
        let mut r = PythonRandom::new(42);
        assert_eq!([r.next_u32(), r.next_u32()], [2_746_317_213, 478_163_327]);
    }

    #[test]
    fn shuffling_ten_by_seed_0_is_cpythons() {
        let mut items: Vec<usize> = (0..10).collect();
        PythonRandom::new(0).shuffle(&mut items);
        assert_eq!(items, [7, 8, 1, 5, 3, 4, 2, 0, 9, 6]);
    }

    #[test]
    fn wide_draws_and_seeds_use_a_second_word() {
        // python3 -c "import random; r=random.Random(2**40+5); print(r.getrandbits(40), r.getrandbits(64))"
        let mut r = PythonRandom::new((1 << 40) + 5);
        assert_eq!((r.getrandbits(40), r.getrandbits(64)), (569_101_979_940, 12_244_916_861_145_399_977));
        assert_eq!(r.getrandbits(0), 0);
        assert_eq!(r.below(0), 0);
    }
}
