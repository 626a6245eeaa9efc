//! Prefix codes (Huffman, 1952) of limited length, in canonical form: the lengths say all.
//!
//! ```text
//! code   first symbol: 8 bits, then per symbol from that on 4 bits:
//!        1 to 11  bits of its code
//!        0 n      n + 1 symbols have none; n of 4 bits
//!        15       no more symbols
//! ```
//!
//! Codes of one length ascend with the symbols, shorter ones come before longer ones. A lone symbol has length 1 and its code no bits.

use super::bits::{BitReader, BitWriter};
use crate::error::DecodeError;

/// Bits of a code at most: a table of all of them stays in the nearest cache.
pub(super) const CODE_BITS_MAX: u32 = 11;
/// Symbols are bytes.
pub(super) const SYMBOLS: usize = 256;

const NONE: u64 = 0;
const END: u64 = 15;
const NIBBLE: u32 = 4;
/// Symbols without a code that one step passes.
const PASSED_MAX: usize = 16;

/// How often each symbol comes.
pub(super) type Counts = [u32; SYMBOLS];

/// Bits of each symbol's code; 0 for those that do not come.
pub(super) struct Code {
    lengths: [u8; SYMBOLS],
}

impl Code {
    /// The best code of at most `bits_max` bits for these counts: O(s l), s = symbols that come, l = that. One at least must come, and 2^l at
    /// most.
    ///
    /// By package-merge (Larmore, Hirschberg, 1990): of the cheapest 2 s - 2 items of the topmost row, which are symbols and pairs of
    /// items of the row below, a symbol is in as many as its code has bits.
    pub(super) fn of(counts: &Counts, bits_max: u32) -> Self {
        let mut lengths = [0; SYMBOLS];
        let mut symbols: Vec<(u32, u8)> =
            counts.iter().zip(0..=u8::MAX).map(|(&count, symbol)| (count, symbol)).collect();
        symbols.retain(|&(count, _)| count > 0);
        symbols.sort_unstable();
        if let [(_, symbol)] = symbols[..] {
            lengths[usize::from(symbol)] = 1;
            return Self { lengths };
        }
        // Per row, whether each of its items is a pair; from the lowest, which has symbols only.
        let mut rows: Vec<Vec<bool>> = Vec::with_capacity(bits_max as usize);
        let mut below: Vec<u64> = Vec::new();
        for _ in 0..bits_max {
            let mut pairs = below.chunks_exact(2).map(|pair| pair[0] + pair[1]).peekable();
            let mut alone = symbols.iter().map(|&(count, _)| u64::from(count)).peekable();
            let mut row = Vec::with_capacity(2 * symbols.len());
            let mut items = Vec::with_capacity(2 * symbols.len());
            while items.len() < 2 * symbols.len() - 2 {
                let pair = match (pairs.peek(), alone.peek()) {
                    (None, None) => break,
                    (pair, None) => pair.is_some(),
                    (pair, Some(symbol)) => pair.is_some_and(|pair| pair < symbol),
                };
                row.push(pair);
                items.extend(if pair { pairs.next() } else { alone.next() });
            }
            rows.push(row);
            below = items;
        }
        let mut taken = 2 * symbols.len() - 2;
        for row in rows.iter().rev() {
            let pairs = row[..taken.min(row.len())].iter().filter(|&&pair| pair).count();
            for &(_, symbol) in &symbols[..taken.min(row.len()) - pairs] {
                lengths[usize::from(symbol)] += 1;
            }
            taken = 2 * pairs;
        }
        Self { lengths }
    }

    fn is_lone(&self) -> bool {
        self.lengths.iter().map(|&length| u32::from(length)).sum::<u32>() == 1
    }

    pub(super) fn write(&self, writer: &mut BitWriter) {
        let mut coded = (0..SYMBOLS).filter(|&symbol| self.lengths[symbol] > 0);
        let first = coded.next().unwrap_or(0);
        let last = coded.next_back().unwrap_or(first);
        writer.put(first as u64, u8::BITS);
        let mut symbol = first;
        while symbol <= last {
            let length = self.lengths[symbol];
            writer.put(u64::from(length), NIBBLE);
            let passed = self.lengths[symbol..].iter().take(PASSED_MAX).take_while(|&&length| length == 0).count();
            if passed > 0 {
                writer.put(passed as u64 - 1, NIBBLE);
            }
            symbol += passed.max(1);
        }
        writer.put(END, NIBBLE);
    }

    pub(super) fn read(reader: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let mut lengths = [0; SYMBOLS];
        reader.refill();
        let mut symbol = reader.take(u8::BITS) as usize;
        loop {
            reader.refill();
            match reader.take(NIBBLE) {
                END => break,
                NONE => symbol += 1 + reader.take(NIBBLE) as usize,
                length if length <= u64::from(CODE_BITS_MAX) => {
                    *lengths.get_mut(symbol).ok_or(DecodeError::NotCanonical)? = length as u8;
                    symbol += 1;
                }
                _ => return Err(DecodeError::NotCanonical),
            }
            if symbol > SYMBOLS {
                return Err(DecodeError::NotCanonical);
            }
        }
        let code = Self { lengths };
        let space = |&length: &u8| if length > 0 { 1 << (CODE_BITS_MAX - u32::from(length)) } else { 0 };
        let whole = code.lengths.iter().map(space).sum::<u32>() == 1 << CODE_BITS_MAX;
        if whole || code.is_lone() { Ok(code) } else { Err(DecodeError::NotCanonical) }
    }

    /// The symbols that come with the bits of their codes, in the order of the codes: a counting sort.
    fn in_order(&self) -> Vec<(u8, u32)> {
        let mut starts = [0; CODE_BITS_MAX as usize + 2];
        for &length in &self.lengths {
            starts[usize::from(length) + 1] += 1;
        }
        starts[1] = 0;
        for length in 1..starts.len() {
            starts[length] += starts[length - 1];
        }
        let mut ordered = vec![(0, 0); starts[CODE_BITS_MAX as usize + 1]];
        for (&length, symbol) in self.lengths.iter().zip(0..=u8::MAX).filter(|(length, _)| **length > 0) {
            let next = &mut starts[usize::from(length)];
            ordered[*next] = (symbol, u32::from(length));
            *next += 1;
        }
        if let [(_, length)] = &mut ordered[..] {
            *length = 0;
        }
        ordered
    }

    /// The code of each symbol and its bits.
    pub(super) fn codes(&self) -> [(u16, u8); SYMBOLS] {
        let mut codes = [(0, 0); SYMBOLS];
        let mut next = 0_u32;
        for (symbol, length) in self.in_order() {
            codes[usize::from(symbol)] = ((next >> (CODE_BITS_MAX - length)) as u16, length as u8);
            next += 1 << (CODE_BITS_MAX - length);
        }
        codes
    }

    /// What the next bits begin with, for every value of as many bits as the longest code has.
    pub(super) fn table(&self) -> Table {
        let (bits, entries) = self.entries(|symbol, length| Some((symbol, length))).unwrap_or_default();
        Table { bits, entries }
    }

    /// How many bits the longest code has, 1 at least, and for every value of so many bits what `entry` makes of the symbol they begin with
    /// and the bits of its code. `None` if it makes nothing of a symbol.
    pub(super) fn entries<T: Copy>(&self, entry: impl Fn(u8, u8) -> Option<T>) -> Option<(u32, Vec<T>)> {
        let ordered = self.in_order();
        let bits = ordered.last().map_or(0, |&(_, length)| length).max(1);
        let mut entries = Vec::with_capacity(1 << bits);
        for (symbol, length) in ordered {
            entries.resize(entries.len() + (1 << (bits - length)), entry(symbol, length as u8)?);
        }
        Some((bits, entries))
    }
}

/// Symbols by the next bits.
pub(super) struct Table {
    bits: u32,
    /// 2^bits of them, each with the bits of its code.
    entries: Vec<(u8, u8)>,
}

impl Table {
    /// One or two symbols at once, where both codes together are short enough. O(2^b), b = 11 bits at most.
    pub(super) fn pairs(&self) -> Pairs {
        let bits = CODE_BITS_MAX.min(2 * self.bits);
        let symbols = self.symbols();
        let mut entries: Vec<Pair> = Vec::with_capacity(1 << bits);
        for &(first, length) in &symbols {
            let end = entries.len() + (1 << (bits - u32::from(length)));
            // Shorter codes come before longer ones: what fits stands together, and before all that does not.
            for &(second, more) in &symbols {
                let both = length + more;
                if u32::from(both) > bits {
                    break;
                }
                let pair = Pair { symbols: u16::from_le_bytes([first, second]), length: both, count: 2 };
                entries.resize(entries.len() + (1 << (bits - u32::from(both))), pair);
            }
            entries.resize(end, Pair { symbols: u16::from(first), length, count: 1 });
        }
        Pairs { bits, entries }
    }

    /// The symbols and the bits of their codes, in the order of the codes.
    fn symbols(&self) -> Vec<(u8, u8)> {
        let mut at = 0;
        core::iter::from_fn(|| {
            let &(symbol, length) = self.entries.get(at)?;
            at += 1 << (self.bits - u32::from(length));
            Some((symbol, length))
        })
        .collect()
    }

    /// The next symbol. The reader must hold [`CODE_BITS_MAX`] bits.
    #[inline(always)]
    pub(super) fn symbol<const BACKWARDS: bool>(&self, reader: &mut BitReader<'_, BACKWARDS>) -> u8 {
        let (symbol, length) = self.entries[reader.peek(self.bits)];
        reader.skip(u32::from(length));
        symbol
    }
}

/// One symbol or two, the first in the low byte, and the bits of their codes.
#[derive(Clone, Copy, Debug)]
struct Pair {
    symbols: u16,
    length: u8,
    count: u8,
}

/// Pairs of symbols by the next bits.
pub(super) struct Pairs {
    bits: u32,
    /// 2^bits of them.
    entries: Vec<Pair>,
}

impl Pairs {
    /// The next one or two symbols and how many they are. The reader must hold [`CODE_BITS_MAX`] bits.
    #[inline(always)]
    pub(super) fn symbols<const BACKWARDS: bool>(&self, reader: &mut BitReader<'_, BACKWARDS>) -> (u16, u32) {
        let pair = self.entries[reader.peek(self.bits)];
        reader.skip(u32::from(pair.length));
        (pair.symbols, u32::from(pair.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn counts() -> impl Strategy<Value = BTreeMap<u8, u32>> {
        let even = prop::collection::btree_map(any::<u8>(), 1_u32..5, 1..=SYMBOLS);
        let steep = prop::collection::btree_map(any::<u8>(), (0_u32..24).prop_map(|bits| 1 << bits), 1..40);
        prop_oneof![even, steep]
    }

    /// Bits of the best code of any length: the sum of all inner nodes' counts.
    fn unlimited(counts: &BTreeMap<u8, u32>) -> u64 {
        let mut nodes: Vec<u64> = counts.values().map(|&count| u64::from(count)).collect();
        let mut bits = 0;
        while nodes.len() > 1 {
            nodes.sort_unstable_by(|a, b| b.cmp(a));
            let node = nodes.pop().unwrap_or(0) + nodes.pop().unwrap_or(0);
            bits += node;
            nodes.push(node);
        }
        bits
    }

    proptest! {
        #[test]
        fn codes_are_whole_short_and_come_back(counts in counts()) {
            let mut all = [0; SYMBOLS];
            counts.iter().for_each(|(&symbol, &count)| all[usize::from(symbol)] = count);
            let code = Code::of(&all, CODE_BITS_MAX);
            let mut writer = BitWriter::default();
            code.write(&mut writer);
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            let read = Code::read(&mut reader).unwrap();
            prop_assert_eq!(read.lengths, code.lengths);
            prop_assert_eq!(reader.end(), Ok(0));
            let table = code.table();
            prop_assert_eq!(table.entries.len(), 1 << table.bits);
            for (symbol, (bits, length)) in (0..=u8::MAX).zip(code.codes()) {
                prop_assert_eq!(counts.contains_key(&symbol), code.lengths[usize::from(symbol)] > 0);
                if counts.contains_key(&symbol) {
                    let entry = table.entries[usize::from(bits) << (table.bits - u32::from(length))];
                    prop_assert_eq!(entry, (symbol, length));
                }
            }
            if u32::from(*code.lengths.iter().max().unwrap_or(&0)) < CODE_BITS_MAX && counts.len() > 1 {
                let lengths = counts.iter().map(|(&symbol, &count)| u64::from(code.lengths[usize::from(symbol)]) * u64::from(count));
                prop_assert_eq!(lengths.sum::<u64>(), unlimited(&counts), "the shortest code");
            }
        }

        #[test]
        fn noise_is_a_whole_code_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(code) = Code::read(&mut BitReader::new(&bytes)) {
                let table = code.table();
                prop_assert_eq!(table.entries.len(), 1 << table.bits);
            }
        }
    }
}
