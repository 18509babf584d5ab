//! What the docs say is what the code has.

use std::collections::BTreeSet;
use std::fs;

use portcullis::gateway::ALL_ANSWERS;
use portcullis::oauth::Refusal;
use serde_json::Value;

#[test]
fn the_error_page_has_every_answer_and_no_other() {
    let page = fs::read_to_string("docs/errors.md").expect("the page");
    let rows: Vec<(u16, String)> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let status = cells.get(1)?.parse().ok()?;
            let error = cells.get(2)?.trim_matches('`');
            Some((
                status,
                format!(r#"{{"error":"{error}","message":"{}"}}"#, cells.get(3)?),
            ))
        })
        .collect();
    let mut answers: Vec<(u16, String)> = ALL_ANSWERS
        .iter()
        .map(|answer| (answer.status.as_u16(), answer.body.to_owned()))
        .collect();
    answers.sort();
    assert_eq!(rows, answers);
}

#[test]
fn the_error_page_has_every_reason_of_the_authorization_server_and_no_other() {
    let page = fs::read_to_string("docs/errors.md").expect("the page");
    let table = page.split("## Reasons of the authorization server").nth(1);
    let rows: Vec<&str> = table
        .expect("the part")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let labels: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
    assert_eq!(rows, labels);
}

#[test]
fn the_metrics_page_has_every_metric() {
    let page = fs::read_to_string("docs/metrics-and-logs.md").expect("the page");
    let source = fs::read_to_string("src/observe/metrics.rs").expect("the source");
    let table = source
        .split("let metrics = Metrics {")
        .nth(1)
        .expect("the table");
    let table = table.split("#[cfg(test)]").next().expect("the code");
    let names: Vec<&str> = table
        .lines()
        .filter(|line| line.contains("families."))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("`portcullis_{name}`")),
            "{name} is not on the page"
        );
    }
}

/// A metric's name, help and labels, as src/observe/metrics.rs registers it.
type Family<'a> = Vec<&'a str>;

/// One line each: `name: families.kind("name", "help", &["label", …])`.
fn families(source: &str) -> Vec<Family<'_>> {
    source
        .lines()
        .filter(|line| line.contains("families.") && line.contains('"'))
        .map(|line| line.split('"').skip(1).step_by(2).collect())
        .collect()
}

/// Each `portcullis_…` of a text: the name, its metric, and what comes after the name.
fn uses_of_metrics<'a>(
    text: &'a str,
    families: &'a [Family<'a>],
) -> Vec<(&'a str, &'a Family<'a>, &'a str)> {
    let uses = text.split("portcullis_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let family = ["", "_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| {
                let base = name.strip_suffix(suffix)?;
                families.iter().find(|family| family[0] == base)
            })
            .unwrap_or_else(|| panic!("no metric is portcullis_{name}"));
        (name, family, rest)
    });
    uses.collect()
}

/// The labels that a selector names: `{a="b", c!="d"}`.
fn matched_labels(rest: &str) -> Vec<&str> {
    let selector = rest
        .strip_prefix('{')
        .and_then(|rest| rest.split('}').next());
    let matchers = selector.into_iter().flat_map(|text| text.split(", "));
    matchers
        .map(|matcher| matcher.split(['=', '!']).next().expect("a first part"))
        .collect()
}

#[test]
fn the_alert_rules_watch_metrics_that_exist_with_labels_that_they_have() {
    let rules = fs::read_to_string("deploy/alerts.yml").expect("the rules");
    let source = fs::read_to_string("src/observe/metrics.rs").expect("the source");
    let families = families(&source);
    let uses = uses_of_metrics(&rules, &families);
    for (name, family, rest) in &uses {
        for label in matched_labels(rest) {
            assert!(family.contains(&label), "portcullis_{name} has no {label}");
        }
    }
    assert!(uses.len() > 20, "{}", uses.len());
}

/// What Prometheus adds to each series, and what its histograms have.
const LABELS_OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

#[test]
fn the_dashboard_shows_every_metric_with_labels_that_it_has() {
    let text = fs::read_to_string("deploy/grafana/portcullis.json").expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let source = fs::read_to_string("src/observe/metrics.rs").expect("the source");
    let process = fs::read_to_string("src/admin/process.rs").expect("the source");
    let families = families(&source);
    let mut shown = BTreeSet::new();
    for target in dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
    {
        let expr = target["expr"].as_str().expect("a query");
        let uses = uses_of_metrics(expr, &families);
        let mut known: BTreeSet<&str> = LABELS_OF_PROMETHEUS.into();
        for (name, family, rest) in &uses {
            for label in matched_labels(rest) {
                let is_there =
                    family[2..].contains(&label) || LABELS_OF_PROMETHEUS.contains(&label);
                assert!(is_there, "portcullis_{name} has no {label}: {expr}");
            }
            known.extend(&family[2..]);
            shown.insert(family[0]);
        }
        for other in expr.split("process_").skip(1) {
            let name = format!("process_{}", other.split('{').next().expect("a name"));
            assert!(process.contains(&format!("\"{name}\"")), "{name}");
        }
        let grouped: BTreeSet<&str> = expr
            .split(" by (")
            .skip(1)
            .flat_map(|rest| rest.split(')').next().expect("an end").split(", "))
            .collect();
        assert!(grouped.is_subset(&known), "{grouped:?}: {expr}");
        let legend = target["legendFormat"].as_str().expect("a legend");
        for label in legend.split("{{").skip(1) {
            let label = label.split("}}").next().expect("an end");
            assert!(grouped.contains(label), "{label} in the legend of {expr}");
        }
    }
    let missing: Vec<&str> = families
        .iter()
        .map(|family| family[0])
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
    for variable in dashboard["templating"]["list"].as_array().expect("a list") {
        uses_of_metrics(variable["query"]["query"].as_str().unwrap_or(""), &families);
    }
}

#[test]
fn each_alert_has_a_part_on_the_page_of_alerts_and_a_test_of_its_firing() {
    let rules = fs::read_to_string("deploy/alerts.yml").expect("the rules");
    let page = fs::read_to_string("docs/alerts.md").expect("the page");
    let tests = fs::read_to_string("deploy/alerts.test.yml").expect("the tests");
    let after = |text: &str, start: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(start));
        lines.map(str::to_owned).collect()
    };
    let alerts = after(&rules, "      - alert: ");
    assert_eq!(alerts, after(&page, "## "));
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(
            tests.contains(&format!("- alertname: {alert}\n")),
            "{alert}"
        );
        let runbook = format!("runbook: docs/alerts.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{alert}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in [
        "README.md",
        "docs/alerts.md",
        "docs/errors.md",
        "docs/architecture.md",
        "docs/outage.md",
        "docs/policy.md",
        "docs/seed-coverage.md",
        "docs/oauth-coverage.md",
        "deploy/README.md",
        "deploy/compose/README.md",
        "deploy/debian/README.md",
        "deploy/helm/README.md",
        "deploy/kubernetes/README.md",
        "benches/README.md",
    ] {
        let text = fs::read_to_string(page).unwrap_or_else(|_| panic!("{page} is there"));
        let folder = std::path::Path::new(page).parent().expect("a folder");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            assert!(
                link.starts_with("http") || folder.join(link).exists(),
                "{page}: {link}"
            );
        }
    }
}

#[test]
fn the_pages_on_coverage_name_tests_that_exist() {
    for (page, least) in [
        ("docs/seed-coverage.md", 30),
        ("docs/oauth-coverage.md", 90),
    ] {
        let page = fs::read_to_string(page).expect("the page");
        let named: Vec<(&str, &str)> = page
            .split('`')
            .filter_map(|text| text.split_once(".rs::"))
            .collect();
        assert!(named.len() > least, "{named:?}");
        all_exist(&named);
    }
}

#[test]
fn each_rule_of_oauth_has_a_test_or_a_reason() {
    let page = fs::read_to_string("docs/oauth-coverage.md").expect("the page");
    let mut rows = 0;
    for table in page.split("\n\n").filter(|part| part.starts_with("| ")) {
        // Below the heading and its line.
        for row in table.lines().skip(2) {
            let is_told = ["`tests/", "`src/", "*Differs*: "]
                .iter()
                .any(|it| row.contains(it));
            assert!(is_told, "{row}");
            rows += 1;
        }
    }
    assert!(rows > 80, "{rows}");
}

fn all_exist(named: &[(&str, &str)]) {
    for (file, test) in named {
        let source = fs::read_to_string(format!("{file}.rs"))
            .unwrap_or_else(|_| panic!("{file}.rs is there"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{file}.rs has no test {test}"
        );
    }
}

#[test]
fn the_seed_page_names_browser_scenarios_that_exist() {
    let page = fs::read_to_string("docs/seed-coverage.md").expect("the page");
    let named: Vec<(&str, &str)> = page
        .split('`')
        .filter_map(|text| text.split_once(".mjs::"))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    for (file, scenario) in named {
        let source = fs::read_to_string(format!("{file}.mjs"))
            .unwrap_or_else(|_| panic!("{file}.mjs is there"));
        assert!(
            source.contains(&format!("function {scenario}(")),
            "{file}.mjs has no scenario {scenario}"
        );
    }
}
