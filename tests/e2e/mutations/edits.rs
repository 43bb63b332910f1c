//! Damage to bytes: flipped, set, zeroed, overwritten with others, taken out, put in, cut off.

use std::ops::Range;

use proptest::{collection::vec, prelude::*, sample::select};

/// Where: one of the regions that a test knows, and how far into it, as a fraction of 2^32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    region: usize,
    fraction: u32,
}

/// One change of some bytes.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Flip(Place, u8),
    Set(Place, u8),
    Word(Place, u64),
    Zero(Place, usize),
    /// Bytes of one place stand in another as well.
    Copy(Place, Place, usize),
    /// The same, and what is there moves on.
    Splice(Place, Place, usize),
    Insert(Place, Vec<u8>),
    Remove(Place, usize),
    Cut(Place),
}

impl Place {
    fn within(self, regions: &[Range<usize>], len: usize) -> usize {
        let region = &regions[self.region % regions.len()];
        let size = region.len() as u64;
        let at = region.start + usize::try_from((size * u64::from(self.fraction)) >> 32).unwrap_or(0);
        at.min(len)
    }
}

impl Edit {
    /// Makes the change. Returns which bytes may be others now; those behind a change of length all are.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>, regions: &[Range<usize>]) -> Range<usize> {
        let len = bytes.len();
        let at = |place: &Place| place.within(regions, len);
        let span = |place: &Place, size: usize| at(place)..(at(place) + size).min(len);
        match self {
            Self::Flip(place, bit) => {
                let span = span(place, 1);
                bytes[span.clone()].iter_mut().for_each(|byte| *byte ^= 1 << (bit % 8));
                span
            }
            Self::Set(place, new) => {
                let span = span(place, 1);
                bytes[span.clone()].fill(*new);
                span
            }
            Self::Word(place, word) => {
                let span = span(place, 8);
                bytes[span.clone()].copy_from_slice(&word.to_le_bytes()[..span.len()]);
                span
            }
            Self::Zero(place, size) => {
                let span = span(place, *size);
                bytes[span.clone()].fill(0);
                span
            }
            Self::Copy(from, to, size) => {
                let (from, to) = (span(from, *size), at(to));
                let size = from.len().min(len - to);
                bytes.copy_within(from.start..from.start + size, to);
                to..to + size
            }
            Self::Splice(from, to, size) => {
                let piece = bytes[span(from, *size)].to_vec();
                bytes.splice(at(to)..at(to), piece);
                at(to)..usize::MAX
            }
            Self::Insert(place, piece) => {
                bytes.splice(at(place)..at(place), piece.iter().copied());
                at(place)..usize::MAX
            }
            Self::Remove(place, size) => {
                bytes.drain(span(place, *size));
                at(place)..usize::MAX
            }
            Self::Cut(place) => {
                bytes.truncate(at(place));
                at(place)..usize::MAX
            }
        }
    }
}

/// A place in one of `weights.len()` regions.
fn place(weights: &[u32]) -> BoxedStrategy<Place> {
    let regions = weights.iter().enumerate().map(|(region, weight)| (*weight, Just(region))).collect::<Vec<_>>();
    let fraction = prop_oneof![1 => Just(0), 20 => any::<u32>(), 1 => Just(u32::MAX)];
    (proptest::strategy::Union::new_weighted(regions), fraction)
        .prop_map(|(region, fraction)| Place { region, fraction })
        .boxed()
}

/// Numbers that are on the edge of something.
fn word() -> BoxedStrategy<u64> {
    let edges =
        vec![0, 1, 7, 8, 24, 64, u64::MAX, u64::MAX - 7, 1 << 63, (1 << 63) - 1, 1 << 32, (1 << 32) - 1, 1 << 24];
    prop_oneof![4 => select(edges), 3 => 0_u64..4_096, 2 => 0_u64..4_000_000, 1 => any::<u64>()].boxed()
}

/// Damage to a binary file, with weights for its regions.
pub(super) fn binary(weights: &[u32]) -> BoxedStrategy<Vec<Edit>> {
    let at = || place(weights);
    let one = prop_oneof![
        6 => (at(), any::<u8>()).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        6 => (at(), word()).prop_map(|(at, word)| Edit::Word(at, word)),
        2 => (at(), 1_usize..200).prop_map(|(at, size)| Edit::Zero(at, size)),
        2 => (at(), at(), 1_usize..200).prop_map(|(from, to, size)| Edit::Copy(from, to, size)),
        1 => (at(), at(), 1_usize..200).prop_map(|(from, to, size)| Edit::Splice(from, to, size)),
        1 => (at(), 1_usize..200).prop_map(|(at, size)| Edit::Remove(at, size)),
        1 => at().prop_map(Edit::Cut),
    ];
    vec(one, 1..5).boxed()
}

/// Damage to a text of one region, with pieces that mean something there.
pub(super) fn text(pieces: &[&str]) -> BoxedStrategy<Vec<Edit>> {
    let at = || place(&[1]);
    let mut known: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
    known.extend([b"\0".to_vec(), b"\xff\xfe".to_vec(), "\u{feff}".into(), "\u{e4}\u{1f600}".into(), b"\r\n".to_vec()]);
    let piece = prop_oneof![
        8 => select(known.clone()),
        2 => vec(any::<u8>(), 1..6),
        2 => "[ -~]{1,8}".prop_map(String::into_bytes),
        1 => (select(known), 2_usize..300).prop_map(|(piece, times)| piece.repeat(times)),
    ];
    let one = prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        6 => (at(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        1 => (at(), 1_usize..8).prop_map(|(at, size)| Edit::Zero(at, size)),
        2 => (at(), at(), 1_usize..80).prop_map(|(from, to, size)| Edit::Copy(from, to, size)),
        3 => (at(), at(), 1_usize..80).prop_map(|(from, to, size)| Edit::Splice(from, to, size)),
        3 => (at(), 1_usize..40).prop_map(|(at, size)| Edit::Remove(at, size)),
        1 => at().prop_map(Edit::Cut),
    ];
    vec(one, 1..4).boxed()
}

/// A text after its damage.
pub(super) fn damaged(text: &str, edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        let whole = 0..bytes.len() + 1;
        edit.apply(&mut bytes, &[whole]);
    }
    bytes
}
