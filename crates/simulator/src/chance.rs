//! Seeded chance, so that a run can be repeated.

use std::sync::Mutex;

use uuid::Uuid;

use crate::sync::lock;

/// A small deterministic generator (splitmix64); one per simulator.
pub(crate) struct Chance {
    state: Mutex<u64>,
}

impl Chance {
    pub fn seeded(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }

    pub fn number(&self) -> u64 {
        let mut state = lock(&self.state);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// True with this probability.
    pub fn happens(&self, probability: f64) -> bool {
        probability >= 1.0 || (self.number() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    /// A number from 0 to `bound` - 1; 0 for an empty range.
    pub fn below(&self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// An id that looks random, and is the same again for the same seed.
    pub fn id(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}
