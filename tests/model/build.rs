//! Takes the protocol's own source text, puts the model's parts in the place of the libraries, and
//! writes it once as it is and once for each mutant. A line that is to be replaced and is not there
//! ends the build: the model cannot fall behind the source unseen.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The files of `src/auth` that run here, and what they import from elsewhere.
const FILES: &[(&str, &[(&str, &str)])] = &[
    (
        "changes",
        &[
            ("std::sync::atomic::", "shuttle::sync::atomic::"),
            // As many as the model's two digests need, each with its own.
            ("COUNTERS: usize = 1 << 14", "COUNTERS: usize = 1 << 1"),
        ],
    ),
    (
        "load",
        &[
            ("std::sync::{Arc, Mutex", "shuttle::sync::{Arc, Mutex"),
            ("tokio::sync::watch", "crate::libraries::watch"),
        ],
    ),
    (
        "front",
        &[
            ("std::sync::atomic::", "shuttle::sync::atomic::"),
            ("arc_swap::", "crate::libraries::"),
            ("tokio::time::", "crate::libraries::"),
        ],
    ),
    (
        "cache",
        &[
            ("std::sync::atomic::", "shuttle::sync::atomic::"),
            ("moka::future::", "crate::libraries::"),
            ("moka::policy::", "crate::libraries::"),
            ("tokio::time::", "crate::libraries::"),
        ],
    ),
    (
        "look_ups",
        &[
            ("tokio::runtime::", "crate::libraries::"),
            ("tokio::sync::", "crate::libraries::"),
            ("tokio::time::", "crate::libraries::"),
            // So few that the requests of a scenario wait for each other.
            ("MOST: usize = 64", "MOST: usize = 1"),
        ],
    ),
    ("cache_counters", &[("prometheus::", "crate::libraries::")]),
    ("denial_list", &[]),
    (
        "revocation",
        &[
            ("std::sync::atomic::", "shuttle::sync::atomic::"),
            ("arc_swap::", "crate::libraries::"),
            ("tokio::time::", "crate::libraries::"),
        ],
    ),
];

/// Name, file, what is there, what the mutant has instead.
const MUTANTS: &[(&str, &str, &str, &str)] = &[
    (
        "validity_taken_after_the_load",
        "cache",
        "let (digest, validity) = (*errand.digest(), errand.validity());",
        "let (digest, validity) = (*errand.digest(), self.changes.validity(errand.digest()));",
    ),
    (
        "load_joined_after_the_change",
        "cache",
        "self.loads.leave(digest);",
        "",
    ),
    (
        "load_joined_after_the_flush",
        "cache",
        "self.loads.leave_all();",
        "",
    ),
    (
        "load_across_a_change_taken",
        "cache",
        "if self.changes.still_hold(errand.digest(), errand.validity()) {",
        "if true {",
    ),
    (
        "hit_taken_unchecked",
        "cache",
        "valid.then_some(known)",
        "Some(known).filter(|_| valid || true)",
    ),
    (
        "absence_taken_unchecked",
        "cache",
        "self.changes.still_hold(digest, absence.validity) && ",
        "",
    ),
    (
        "change_not_counted",
        "changes",
        "self.counter(digest).fetch_add(1, Ordering::AcqRel);",
        "let _ = self.counter(digest);",
    ),
    (
        "load_that_nobody_runs",
        "cache",
        "self.source.spawn(cache.run(errand, purpose));",
        "std::mem::forget(cache.run(errand, purpose));",
    ),
    (
        "denial_forgotten_with_the_next",
        "revocation",
        "DenialList::clone(list)",
        "{ let _ = list; DenialList::default() }",
    ),
];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let auth = here.join("../../src/auth");
    let mut all = variant(&auth, "real", None);
    for (name, file, there, instead) in MUTANTS {
        all.push_str(&variant(&auth, name, Some((file, there, instead))));
    }
    fs::write(out.join("variants.rs"), all).expect("the folder is cargo's");
    println!("cargo::rerun-if-changed=build.rs");
    for (file, _) in FILES {
        println!("cargo::rerun-if-changed=../../src/auth/{file}.rs");
    }
}

/// A module with the whole protocol in it, and the scenarios.
fn variant(auth: &Path, name: &str, mutation: Option<(&str, &str, &str)>) -> String {
    let mut text = format!("pub mod {name} {{\nuse crate::stand_ins::*;\nuse crate::usage;\n");
    for (file, imports) in FILES {
        let mut source = without_tests(&auth.join(format!("{file}.rs")));
        for (there, instead) in *imports {
            source = replaced(file, &source, there, instead);
        }
        if let Some((mutated, there, instead)) = mutation
            && mutated == *file
        {
            source = replaced(file, &source, there, instead);
        }
        text.push_str(&format!("mod {file} {{\n{source}\n}}\n"));
    }
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    text.push_str(&format!(
        "#[path = {:?}]\npub mod scenarios;\n}}\n",
        format!("{here}/src/scenarios.rs")
    ));
    text
}

fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a file of the protocol");
    let code = text.split("\n#[cfg(test)]\n").next();
    code.expect("a first part").to_owned()
}

fn replaced(file: &str, source: &str, there: &str, instead: &str) -> String {
    assert!(
        source.contains(there),
        "src/auth/{file}.rs has no `{there}` any more: mend tests/model/build.rs"
    );
    source.replace(there, instead)
}
