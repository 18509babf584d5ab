//! Mistakes that are easy to make, and what is told of them.

use super::{Home, Run, portcullis};

fn is_refused(run: &Run, code: i32, words: &str) {
    assert_eq!((run.code(), run.stdout()), (code, String::new()), "{run:?}");
    assert!(run.stderr().contains(words), "{words}: {run:?}");
}

/// With these variables in its environment.
fn run_with(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = portcullis(home.folder.path());
    command.args(arguments).envs(variables.iter().copied());
    Run(command.output().expect("runs"))
}

#[test]
fn a_configuration_and_a_gateway_of_the_environment_do_not_go_together() {
    let home = Home::build();
    let elsewhere = [("PORTCULLIS_ADMIN", "unix:elsewhere.sock")];
    for command in [
        &["key", "list"][..],
        &["client", "list"],
        &["token", "revoke", "--jti", "x"],
        &["explain", "GET", "/"],
    ] {
        let named = [command, &["--config", "gateway.yaml"]].concat();
        let words = "--config says gateway.yaml, and PORTCULLIS_ADMIN in the environment says \
                     unix:elsewhere.sock";
        is_refused(&run_with(&home, &elsewhere, &named), 2, words);
        // The one of the environment is meant.
        let run = run_with(&home, &elsewhere, command);
        is_refused(&run, 1, "elsewhere.sock: no gateway is running there");
        is_refused(&run, 1, "PORTCULLIS_ADMIN names this gateway");
    }
    // What asks no gateway has nothing to do with it.
    let check = ["check", "--config", "gateway.yaml"];
    assert_eq!(run_with(&home, &elsewhere, &check).code(), 0);
    let help = home.run(&["--help"]).succeeds().stdout();
    for variable in ["PORTCULLIS_ADMIN ", "PORTCULLIS_ADMIN_TOKEN "] {
        assert!(help.contains(variable), "{help}");
    }
}
