//! Inputs made of seeds: the same ones for the same seed, without coverage.

/// Where the standard run begins.
pub const SEED: u64 = 0x5741_6e64_2d52_6f6f;
/// Longest input made here.
const LENGTH_MAX: usize = 8 * 1024;
/// Changes of one input, at most.
const CHANGES_MAX: u64 = 6;
/// Bytes that mean something to some parser.
const SPECIAL: &[u8] = b"\0\x01\x7f\x80\xff /%.:;,=&?\"'\\{}[]()+-_\r\n\t~";
/// Pieces that mean something to some parser.
const PIECES: &[&[u8]] = &[
    b"%2f",
    b"%2e",
    b"%00",
    b"%25",
    b"..",
    b"//",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[[[[",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"18446744073709551616",
    b"9223372036854775807",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\"\\u0000\"",
    b"====",
    b"\\ud800",
    b"\xf4\x90\x80\x80",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\n\n",
];

/// A stream of inputs.
pub struct Generator {
    state: u64,
    seeds: Vec<Vec<u8>>,
}

impl Generator {
    /// Inputs that grow out of `seeds`; `seed` names the stream.
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self { state: seed, seeds }
    }

    /// The next number (SplitMix64).
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    fn pick<'a>(&mut self, from: &'a [u8]) -> &'a [u8] {
        let (a, b) = (self.below(from.len() + 1), self.below(from.len() + 1));
        from.get(a.min(b)..a.max(b)).unwrap_or_default()
    }

    /// The next input: one in sixteen is nothing but chance, the others are changed seeds.
    pub fn next_input(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        let Some(seed) = self.seeds.get(at).cloned().filter(|_| !self.number().is_multiple_of(16)) else {
            let length = self.below(300);
            return (0..length).map(|_| self.byte()).collect();
        };
        let mut input = seed;
        for _ in 0..=self.number() % CHANGES_MAX {
            self.change(&mut input);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (at, to) = (self.below(input.len() + 1), self.below(input.len() + 1));
        match self.number() % 10 {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.state % 8);
                }
            }
            2 => {
                let value = self.byte();
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            3 => {
                let value = SPECIAL[self.below(SPECIAL.len())];
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            4 => input.truncate(at),
            5 => drop(input.drain(at.min(to)..at.max(to).min(at.min(to) + 8))),
            6 => {
                let piece = PIECES[self.below(PIECES.len())];
                drop(input.splice(at..at, piece.iter().copied()));
            }
            7 => {
                let copy = input[at.min(to)..at.max(to)].to_vec();
                drop(input.splice(at..at, copy));
            }
            8 => {
                let other = self.below(self.seeds.len());
                let other = self.seeds.get(other).cloned().unwrap_or_default();
                let part = self.pick(&other).to_vec();
                drop(input.splice(at.min(to)..at.max(to), part));
            }
            _ => {
                let value = self.byte();
                input.insert(at, value);
            }
        }
    }
}
