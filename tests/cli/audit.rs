//! `portcullis audit verify`, on logs that the commands themselves wrote.

use super::{Home, Run};

impl Run {
    /// What a command with findings said.
    fn finds_something(self) -> String {
        assert_eq!(self.code(), 1, "{self:?}");
        self.stdout()
    }
}

/// Three changes, each by a process of its own, and the log's lines.
fn changed_home() -> (Home, Vec<String>) {
    let home = Home::build();
    for name in ["a", "b", "c"] {
        home.run(&[
            "key",
            "create",
            "--account",
            "acct_1",
            "--name",
            name,
            "--scope",
            "domains:read",
        ])
        .succeeds();
    }
    let lines = home.read("data/audit.jsonl");
    let lines = lines.lines().map(String::from).collect();
    (home, lines)
}

#[test]
fn processes_after_one_another_write_one_chain() {
    let (home, lines) = changed_home();
    let whole = home
        .run(&["audit", "verify", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(whole["lines"], 3);
    assert_eq!(
        (&whole["first"], &whole["findings"]),
        (&0.into(), &serde_json::json!([]))
    );
    let head = whole["head"].as_str().expect("a head").to_owned();
    let said = home.run(&["audit", "verify"]).succeeds().stdout();
    assert_eq!(said, format!("3 lines, nothing wrong; head {head}\n"));

    // The head is an anchor: the log goes on, and still holds that line.
    home.run(&[
        "key",
        "create",
        "--account",
        "acct_1",
        "--name",
        "d",
        "--scope",
        "domains:read",
    ])
    .succeeds();
    home.run(&["audit", "verify", "--head", &head]).succeeds();
    // Cut off together with its head file, only the anchor tells.
    home.write("data/audit.jsonl", &format!("{}\n{}\n", lines[0], lines[1]));
    std::fs::remove_file(home.path("data/audit.jsonl.head")).expect("there");
    home.run(&["audit", "verify"]).succeeds();
    let said = home
        .run(&["audit", "verify", "--head", &head])
        .finds_something();
    assert!(
        said.contains("line 2 of the chain is not the one that was noted down"),
        "{said}"
    );
}

#[test]
fn removed_changed_and_reordered_lines_are_found() {
    let (home, lines) = changed_home();
    let [a, b, c] = lines.as_slice() else {
        panic!("three lines: {lines:?}")
    };
    let other = b.replace("acct_1", "acct_2");
    let path = home.path("data/audit.jsonl");
    let path = std::fs::canonicalize(path).expect("there");
    let cases = [
        (vec![a, c], "2: line 1 of the chain is missing before it"),
        (
            vec![a, b],
            "2: the log ends here, but line 2 of the chain was written",
        ),
        (
            vec![a, &other, c],
            "3: it was not written after the line before it: one of the two was changed",
        ),
        (vec![b, a, c], "2: line 0 of the chain comes after line 1"),
    ];
    for (lines, expected) in cases {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).expect("writable");
        let said = home.run(&["audit", "verify"]).finds_something();
        assert!(
            said.contains(&format!("audit.jsonl:{expected}\n")),
            "{said}"
        );
    }
    // Whole again, but by another's pepper.
    std::fs::write(&path, format!("{a}\n{b}\n{c}\n")).expect("writable");
    home.run(&["audit", "verify"]).succeeds();
    home.write("pepper", "abcdefghijklmnopqrstuvwxyz0123456789");
    let said = home.run(&["audit", "verify"]).finds_something();
    assert!(
        said.contains("audit.jsonl:1: from here to the end nothing is sealed"),
        "{said}"
    );
}
