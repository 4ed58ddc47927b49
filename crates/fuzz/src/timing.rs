//! Statistical tests of time, in the manner of dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?").

use crate::keys::Keys;
use crate::malformed::{cbc_kinds, oaep_kinds, pkcs1_kinds};
use std::hint::black_box;
use std::time::Instant;
use strongroom_model::Algorithm;
use subtle::ConstantTimeEq as _;

/// What |t| stays below when two classes take the same time (the threshold of dudect and of ISO/IEC 17825).
pub const T_MAX: f64 = 4.5;
/// Of a hundred samples, those that the cropped test looks at: the slow end is interrupts and other processes.
const KEPT: usize = 90;
/// Inputs that are measured and thrown away at first.
const WARM_UP: usize = 50;

/// What a row is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two classes whose times should not differ.
    Tested,
    /// A comparison that leaks: it must be seen.
    Leaks,
    /// A comparison in constant time: it must not be seen.
    Constant,
    /// Success against failure: different answers, which cost different work.
    Inherent,
}

/// One comparison of two classes.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was compared.
    pub name: String,
    /// What for.
    pub kind: Kind,
    /// Inputs, both classes together.
    pub samples: usize,
    /// Welch's t of all samples.
    pub t: f64,
    /// The same without the slow end.
    pub cropped: f64,
}

impl Row {
    /// Whether a difference shows.
    pub fn differs(&self) -> bool {
        self.t.abs() > T_MAX || self.cropped.abs() > T_MAX
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        match (self.kind, self.differs()) {
            (Kind::Tested, false) => "alike",
            (Kind::Tested, true) => "DIFFERS",
            (Kind::Leaks, true) => "seen",
            (Kind::Leaks, false) => "NOT SEEN",
            (Kind::Constant, false) => "not seen",
            (Kind::Constant, true) => "SEEN",
            (Kind::Inherent, true) => "differs",
            (Kind::Inherent, false) => "alike",
        }
    }
}

/// All comparisons of one run.
#[derive(Debug)]
pub struct Report {
    /// In the order they were made.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether the leak was seen and the constant time was not.
    pub fn is_sound(&self) -> bool {
        self.rows.iter().all(|row| match row.kind {
            Kind::Leaks => row.differs(),
            Kind::Constant => !row.differs(),
            Kind::Tested | Kind::Inherent => true,
        })
    }
}

/// A stream of numbers (xorshift64*), for the order of classes.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 63 == 1
    }
}

/// Runs both classes in random order; each input is made before the clock starts.
pub(crate) fn compare<I>(
    name: impl Into<String>,
    kind: Kind,
    samples: usize,
    mut input: impl FnMut(bool) -> I,
    mut run: impl FnMut(&I),
) -> Row {
    let (mut coin, mut times) = (Coin(0x9e37_79b9_7f4a_7c15), [Vec::new(), Vec::new()]);
    for number in 0..samples + WARM_UP {
        let class = coin.toss();
        let input = input(class);
        let started = Instant::now();
        run(black_box(&input));
        let nanoseconds = started.elapsed().as_nanos() as f64;
        if number >= WARM_UP {
            times[usize::from(class)].push(nanoseconds);
        }
    }
    let t = welch(&times[0], &times[1]);
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[(all.len() * KEPT / 100).min(all.len() - 1)];
    let kept = times.map(|class| class.into_iter().filter(|time| *time <= limit).collect::<Vec<_>>());
    Row { name: name.into(), kind, samples, t, cropped: welch(&kept[0], &kept[1]) }
}

/// Welch's t statistic of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (error_a + error_b).sqrt().max(f64::MIN_POSITIVE)
}

/// Compares as a careless programmer would: byte by byte, and out at the first difference.
fn careless(a: &[u8], b: &[u8]) -> bool {
    for (x, y) in a.iter().zip(b) {
        if black_box(*x) != black_box(*y) {
            return false;
        }
    }
    a.len() == b.len()
}

/// The controls: a difference of the first or the last byte of 32.
fn controls(samples: usize) -> [Row; 2] {
    let secret = [7_u8; 32];
    let guess = |class: bool| {
        let mut guess = secret;
        guess[if class { 31 } else { 0 }] ^= 1;
        guess
    };
    // The clock's steps are coarse: a hundred comparisons are one sample.
    let often = |check: &dyn Fn() -> bool| {
        for _ in 0..100 {
            black_box(check());
        }
    };
    [
        compare("control: byte by byte, first against last", Kind::Leaks, samples, guess, |g| {
            often(&|| careless(black_box(&secret), black_box(g)));
        }),
        compare("control: constant time, first against last", Kind::Constant, samples, guess, |g| {
            often(&|| bool::from(black_box(&secret).ct_eq(black_box(g))));
        }),
    ]
}

/// All comparisons; `samples` for each of the quick ones, a tenth of it where an RSA private operation is made.
pub fn measure(samples: usize) -> Report {
    let keys = Keys::new();
    let mut rows = controls(samples).to_vec();
    let rsa = samples / 10;
    for (algorithm, kinds) in [(Algorithm::Rsa1_5, pkcs1_kinds(&keys)), (Algorithm::RsaOaep256, oaep_kinds(&keys))] {
        let (_, reference) = &kinds[0];
        for (name, blobs) in &kinds[1..] {
            let name = format!("{}: {name} against noise", algorithm.row().name);
            let mut at = 0;
            let input = |class: bool| {
                at += 1;
                let from = if class { blobs } else { reference };
                from[at % from.len()].clone()
            };
            rows.push(compare(name, Kind::Tested, rsa, input, |blob| drop(black_box(keys.decrypt(algorithm, blob)))));
        }
        let good = keys.encrypt(algorithm);
        let input = |class: bool| if class { good.clone() } else { reference[0].clone() };
        let name = format!("{}: success against noise", algorithm.row().name);
        rows.push(compare(name, Kind::Inherent, rsa, input, |blob| drop(black_box(keys.decrypt(algorithm, blob)))));
    }
    rows.extend(symmetric(&keys, samples));
    Report { rows }
}

fn symmetric(keys: &Keys, samples: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let kinds = cbc_kinds(keys);
    let (_, reference) = &kinds[0];
    for (name, blobs) in &kinds[1..] {
        let input = |class: bool| if class { blobs[0].clone() } else { reference[0].clone() };
        let name = format!("A256CBCPAD: {name} against a last byte of 0");
        rows.push(compare(name, Kind::Tested, samples, input, |blob| drop(black_box(keys.decrypt_cbc(blob)))));
    }
    let (value, iv, tag) = keys.encrypt_gcm();
    let wrong = |class: bool| {
        let mut tag = tag.clone();
        tag[if class { 15 } else { 0 }] ^= 1;
        tag
    };
    rows.push(compare("A256GCM: tag wrong in its last byte against its first", Kind::Tested, samples, wrong, |tag| {
        drop(black_box(keys.decrypt_gcm(&value, &iv, tag)));
    }));
    let mac = keys.mac();
    let wrong = |class: bool| {
        let mut mac = mac.clone();
        mac[if class { 31 } else { 0 }] ^= 1;
        mac
    };
    rows.push(compare("HS256: wrong in its last byte against its first", Kind::Tested, samples, wrong, |mac| {
        black_box(keys.verify(mac));
    }));
    rows.extend(crate::strangers::rows(samples));
    rows
}
