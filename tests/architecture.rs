//! The house keeps its shape: who may import whom, and how large a file and a function may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Level 0: may import each other, and everyone may import them.
const GROUND: [&str; 12] = [
    "clock",
    "environment",
    "header",
    "id",
    "local_executor",
    "media_type",
    "patience",
    "pieces",
    "scope",
    "sealed",
    "secret",
    "upload",
];

/// Each room and the rooms that it may import; docs/architecture.md explains the table.
const ROOMS: &[(&str, &[&str])] = &[
    ("observe", &[]),
    ("token", &[]),
    ("store", &["observe"]),
    ("edge", &["observe"]),
    ("upstream", &["observe"]),
    (
        "auth",
        &["token", "store", "observe", "gateway::PlaintextCredentials"],
    ),
    ("oauth", &["auth", "token", "store", "observe"]),
    (
        "gateway",
        &[
            "oauth", "auth", "upstream", "edge", "store", "token", "observe",
        ],
    ),
    ("policy", &["gateway", "auth", "upstream", "observe"]),
    (
        "admin",
        &["policy", "gateway", "oauth", "auth", "store", "observe"],
    ),
    (
        "config",
        &[
            "admin", "policy", "gateway", "oauth", "auth", "upstream", "edge", "store", "token",
            "observe",
        ],
    ),
    (
        "app",
        &[
            "config", "admin", "policy", "gateway", "oauth", "auth", "upstream", "edge", "store",
            "token", "observe",
        ],
    ),
    // The admin API's wish for an OAuth client is the registry's own type, in the store's words: `dev`
    // asks for one as an operator does. It opens no store and builds no server.
    ("dev", &["app", "config", "admin", "oauth", "store"]),
    (
        "cli",
        &[
            "dev", "app", "config", "admin", "policy", "gateway", "oauth", "auth", "edge", "store",
            "token", "observe",
        ],
    ),
];

/// Lines of code and comments, without tests. Tables are allowed more, by name and with a reason.
const MAX_FILE: usize = 400;
const LARGE_FILES: &[(&str, &str)] = &[("src/observe/metrics.rs", "one line for each metric")];
const MAX_FUNCTION: usize = 80;
const P90_FUNCTION: usize = 25;

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(Path::new("src"), &mut files);
    files.sort();
    files
}

/// A file's text without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let without_tests = text
        .split("\n#[cfg(test)]\n")
        .next()
        .expect("a first part")
        .to_owned();
    let lines = without_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    let name = path
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name == "tests"
        || name == "scripted_store"
        || name == "fixtures"
        || path.components().any(|part| part.as_os_str() == "tests")
}

fn room(path: &Path) -> String {
    let mut parts = path.components().skip(1);
    let first = parts
        .next()
        .expect("below src")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_import_only_downward() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ROOMS
        .iter()
        .map(|(room, rooms)| (*room, rooms.iter().copied().collect()))
        .collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let room = room(&path);
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let own = allowed.get(room.as_str());
        assert!(
            own.is_some() || GROUND.contains(&room.as_str()),
            "{room} is in no table"
        );
        let text = code(&path);
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let imported: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let whole: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
                .collect();
            let fine = imported.is_empty()
                || imported == room
                || GROUND.contains(&imported.as_str())
                || own.is_some_and(|own| {
                    own.contains(imported.as_str()) || own.contains(whole.as_str())
                });
            if !fine {
                wrong.push(format!("{}: {room} imports {imported}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn yaml_is_known_to_one_file() {
    let users: Vec<_> = sources()
        .into_iter()
        .filter(|path| code(path).contains("serde_saphyr"))
        .collect();
    assert_eq!(users, [Path::new("src/config/raw.rs")]);
}

#[test]
fn files_are_small() {
    for path in sources().into_iter().filter(|path| !is_test_file(path)) {
        let text = fs::read_to_string(&path).expect("readable");
        let lines = text
            .split("\n#[cfg(test)]\n")
            .next()
            .expect("a first part")
            .lines()
            .count();
        let excused = LARGE_FILES.iter().any(|(name, _)| Path::new(name) == path);
        assert!(
            lines <= MAX_FILE || excused,
            "{} has {lines} lines",
            path.display()
        );
    }
}

#[test]
fn functions_are_small() {
    let mut lengths = Vec::new();
    for path in sources().into_iter().filter(|path| !is_test_file(path)) {
        let text = code(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let is_function = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(super) fn ",
                "pub(crate) fn ",
                "pub(super) async fn ",
                "const fn ",
                "pub const fn ",
                "pub(super) const fn ",
            ]
            .iter()
            .any(|head| trimmed.starts_with(head));
            if !is_function {
                continue;
            }
            let opens = lines[start..]
                .iter()
                .find(|line| line.ends_with('{') || line.ends_with(';'));
            if opens.is_none_or(|line| line.ends_with(';')) {
                continue; // a trait's method without a body
            }
            let indent = &line[..line.len() - trimmed.len()];
            let end = lines[start..]
                .iter()
                .position(|line| *line == format!("{indent}}}"));
            let Some(length) = end else { continue };
            assert!(
                length <= MAX_FUNCTION,
                "{}:{} has {length} lines",
                path.display(),
                start + 1
            );
            lengths.push(length);
        }
    }
    lengths.sort_unstable();
    assert!(lengths.len() > 500, "functions were found");
    let p90 = lengths[lengths.len() * 9 / 10];
    assert!(p90 <= P90_FUNCTION, "p90 is {p90}");
}

#[test]
fn no_room_is_a_drawer() {
    for path in sources() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            let name = name.trim_end_matches(".rs");
            assert!(
                ![
                    "utils", "util", "common", "helpers", "types", "manager", "misc"
                ]
                .contains(&name),
                "{}",
                path.display()
            );
        }
    }
}
