//! A fixed number of inputs for every target: first what once broke it, then its seeds, then changed seeds.
//!
//! `STRONGROOM_ROUNDS` multiplies the number; `STRONGROOM_FUZZ_SEED` begins elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use strongroom_fuzz::{Generator, SEED, TARGETS, folder, regressions, target};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn feed(name: &str) {
    let target = target(name).unwrap();
    let seed = number("STRONGROOM_FUZZ_SEED").unwrap_or(SEED);
    let rounds = usize::try_from(number("STRONGROOM_ROUNDS").unwrap_or(1)).unwrap();
    let (known, seeds) = (regressions(name).unwrap(), (target.seeds)());
    assert!(!seeds.is_empty());
    let mut generator = Generator::new(seed, seeds.clone());
    let made = target.inputs * rounds;
    let first = known.iter().chain(&seeds).cloned().collect::<Vec<_>>();
    for input in first.iter().cloned().chain(std::iter::from_fn(|| Some(generator.next_input())).take(made)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            println!("{name}: broken by {}", hex::encode(&input));
            resume_unwind(panic);
        }
    }
    println!("fuzzing {name}: {} known, {} seeds, {made} inputs (seed {seed:#x})", known.len(), seeds.len());
    strongroom_counts::count(&format!("fuzzing: {name}"), first.len() + made);
}

macro_rules! fed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            feed(stringify!($name));
        })*

        #[test]
        fn every_target_is_fed_and_has_a_fuzzer() {
            let fed = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|t| t.name).collect::<Vec<_>>(), fed);
            let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
            for name in fed {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
                let main = std::fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(main.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    };
}

fed! {
    sealed binding checkpoint frame partition path host token token_request sign_in key_set assertion directory certificate configuration
    audit_log skip_token handlers engine
}

#[test]
fn one_seed_makes_one_stream() {
    let stream = |seed| {
        let mut generator = Generator::new(seed, vec![b"seed one".to_vec(), b"another".to_vec()]);
        (0..100).map(|_| generator.next_input()).collect::<Vec<_>>()
    };
    assert_eq!(stream(1), stream(1));
    assert_ne!(stream(1), stream(2));
}
