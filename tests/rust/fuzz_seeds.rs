//! Replays the seeds of the fuzz targets (fuzz/), each as it is and with small changes. No nightly toolchain is needed.

use std::fs;
use std::panic;
use std::path::Path;

#[path = "../../fuzz/targets/lib.rs"]
mod targets;

/// How many changed inputs each seed gives; `make fuzz` tries without end.
const CHANGED: u32 = 20;

#[test]
fn the_seeds_and_their_neighbours_keep_every_promise() {
    for (name, run) in targets::ALL {
        let seeds = seeds_of(name);
        assert!(seeds.len() >= 10, "{name} has only {} seeds", seeds.len());
        for (file, seed) in &seeds {
            let check = |input: &[u8]| {
                panic::catch_unwind(|| run(input))
                    .unwrap_or_else(|_| panic!("target {name}, seed {file}, as {input:?}: see above"));
            };
            check(seed);
            for number in 0..CHANGED {
                check(&changed(seed, number));
            }
        }
    }
}

/// File names and contents, in order.
fn seeds_of(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(path).expect("a file")))
        .collect();
    seeds.sort();
    seeds
}

/// `seed` cut, with a byte changed, or with a piece of it twice. The same change for the same number.
fn changed(seed: &[u8], number: u32) -> Vec<u8> {
    // Any numbers do, as long as they are the same in each run.
    let mut state = u64::from(number) << 32 | u64::try_from(seed.len()).expect("small");
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % end.max(1)
    };
    let mut input = seed.to_vec();
    let (at, to) = (below(seed.len()), below(seed.len()));
    match number % 4 {
        0 => input.truncate(at),
        1 => drop(input.splice(at.min(to)..at.min(to), seed[at.min(to)..at.max(to)].iter().copied())),
        _ if seed.is_empty() => {}
        2 => input[at] ^= 1 << below(8),
        _ => input[at] = input[to],
    }
    input
}
