//! Where nodes end: a keyed hash of each key against a threshold that grows with the node.
//!
//! A node that has reached the size x lives on with a probability that follows a Weibull distribution of shape 4 and mean 1
//! target. The distribution is a table of integers, so every implementation ends nodes at the same rows. Only the keys and
//! sizes of the rows since the last end count: the same rows after an end lead to the same next end.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::TreeKeys;

/// Table entries per target size.
const STEPS: u64 = 32;
/// Positions between two table entries.
const POSITIONS_LOG2: u32 = 10;

/// How many of 2^40 nodes are still open at each 32nd of the target: floor(2^40 * exp(-(Γ(5/4) * i / 32)^4)), but all of them
/// up to an eighth of the target, and none past two and a half targets.
const OPEN: [u64; 83] = [
    1_099_511_627_776,
    1_099_511_627_776,
    1_099_511_627_776,
    1_099_511_627_776,
    1_099_511_627_776,
    1_099_069_368_544,
    1_098_594_757_043,
    1_097_813_615_426,
    1_096_616_472_965,
    1_094_877_825_213,
    1_092_456_786_970,
    1_089_198_031_981,
    1_084_933_088_196,
    1_079_482_060_122,
    1_072_655_849_320,
    1_064_258_939_500,
    1_054_092_803_007,
    1_041_959_969_716,
    1_027_668_776_532,
    1_011_038_785_213,
    991_906_817_662,
    970_133_511_485,
    945_610_245_430,
    918_266_226_162,
    888_075_467_719,
    855_063_337_092,
    819_312_288_839,
    780_966_374_911,
    740_234_099_600,
    697_389_200_824,
    652_768_983_822,
    606_769_916_385,
    559_840_317_720,
    512_470_133_846,
    465_177_984_616,
    418_495_879_281,
    372_952_212_461,
    329_053_849_974,
    287_268_271_275,
    248_006_829_729,
    211_610_204_292,
    178_337_033_773,
    148_356_544_635,
    121_745_714_006,
    98_491_172_144,
    78_495_674_958,
    61_588_607_045,
    47_539_651_269,
    36_074_521_013,
    26_891_525_111,
    19_677_737_741,
    14_123_673_376,
    9_935_600_110,
    6_844_929_057,
    4_614_450_250,
    3_041_502_684,
    1_958_429_761,
    1_230_855_265,
    754_407_659,
    450_525_644,
    261_911_624,
    148_085_541,
    81_355_561,
    43_387_629,
    22_440_335,
    11_244_793,
    5_453_804,
    2_557_608,
    1_158_534,
    506_373,
    213_334,
    86_539,
    33_763,
    12_656,
    4_552,
    1_569,
    518,
    163,
    49,
    14,
    3,
    1,
    0,
];

/// Decides for one level, row by row.
#[derive(Clone)]
pub(super) struct Splitter {
    hasher: SipHasher24,
    level: u8,
    target: u64,
    size: u64,
    rows: u64,
    open: u64,
}

impl Splitter {
    /// At the start of a node of `level`.
    pub(super) fn new(keys: &TreeKeys, level: u8, target_bytes: u32) -> Self {
        let hasher = SipHasher24::new_with_key(&keys.split);
        Self { hasher, level, target: u64::from(target_bytes.max(1)), size: 0, rows: 0, open: OPEN[0] }
    }

    /// Whether the node ends after this row, which makes the next one the first of a new node.
    pub(super) fn ends_after(&mut self, key: &[u8], cost: u64) -> bool {
        self.size = self.size.saturating_add(cost);
        self.rows += 1;
        let before = self.open;
        self.open = open_at(self.size, self.target);
        // An inner node of one child would make the level above no shorter than this one.
        let ends = (self.level == 0 || self.rows > 1) && self.hash_ends(key, before);
        if ends {
            (self.size, self.rows, self.open) = (0, 0, OPEN[0]);
        }
        ends
    }

    fn hash_ends(&self, key: &[u8], before: u64) -> bool {
        if self.open == 0 || self.open == before {
            return self.open == 0;
        }
        let mut hasher = self.hasher;
        hasher.write(key);
        hasher.write(&[self.level]);
        u128::from(hasher.finish()) * u128::from(before) < u128::from(before - self.open) << 64
    }
}

/// The table at `size`, with straight lines between its entries.
fn open_at(size: u64, target: u64) -> u64 {
    let position = size.saturating_mul(STEPS << POSITIONS_LOG2) / target;
    let entry = usize::try_from(position >> POSITIONS_LOG2).unwrap_or(usize::MAX);
    let (Some(&here), Some(&next)) = (OPEN.get(entry), OPEN.get(entry.saturating_add(1))) else {
        return 0;
    };
    let between = position & ((1 << POSITIONS_LOG2) - 1);
    here - (((here - next) * between) >> POSITIONS_LOG2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: TreeKeys =
        TreeKeys { split: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], long_key: [0; 32] };

    fn ends(level: u8, rows: u64, cost: u64) -> Vec<u64> {
        let mut splitter = Splitter::new(&KEYS, level, 4096);
        (0..rows).filter(|row| splitter.ends_after(&row.to_be_bytes(), cost)).collect()
    }

    #[test]
    fn the_worked_example_of_the_specification() {
        // format-spec tree 4.3; the numbers come from an implementation in Python that follows its text.
        assert_eq!(ends(0, 400, 110), [35, 83, 113, 152, 181, 223, 265, 305, 346, 385]);
        assert_eq!(ends(1, 400, 110), [25, 69, 94, 128, 178, 242, 277, 300, 341, 384]);
        assert_eq!(ends(0, 12, 5000), [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]);
        assert_eq!((open_at(3850, 4096), open_at(3960, 4096)), (649_175_306_679, 609_644_858_100));
    }

    #[test]
    fn inner_nodes_have_two_children_and_nothing_outgrows_the_table() {
        assert_eq!(ends(1, 12, 5000), [1, 3, 5, 7, 9, 11]);
        assert_eq!(ends(0, 3, u64::MAX / 2), [0, 1, 2]);
        assert_eq!(ends(1, 4, u64::MAX), [1, 3]);
        assert_eq!((open_at(0, 4096), open_at(10_495, 4096), open_at(10_496, 4096)), (OPEN[0], 1, 0));
        assert!(OPEN.is_sorted_by(|a, b| a >= b));
    }
}
