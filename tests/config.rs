//! `gateway.yaml`: what is refused and how it is told, and that the readers, the JSON Schema, the
//! example and docs/configuration.md say the same.
//!
//! Each `tests/data/config/NAME.yaml` is a case, `NAME.txt` what it has to be answered with. After
//! a deliberate change, `UPDATE_GOLDEN=1 cargo test --test config` writes the answers and the
//! schema file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::auth::JwksSource;
use portcullis::config::{Config, Problems, schema};
use portcullis::gateway::{Access, PathPattern};
use portcullis::store::{RedisServers, StoreSettings};
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A value that must not be shown, in the cases about secrets.
const SECRET: &str = "hunter2";

#[test]
fn each_case_is_answered_with_exactly_its_problems() {
    let folder = Folder::new();
    let mut cases: Vec<PathBuf> = fs::read_dir(in_root("tests/data/config"))
        .expect("the cases are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "the cases are there");
    for case in cases {
        let name = case.file_name().expect("a file").to_string_lossy();
        let text = fs::read_to_string(&case).expect("a case");
        let problems = folder.refuse(&name, &completed(&name, &text));
        let shown = format!("{problems}\n").replace(folder.path(), "/etc/portcullis");
        assert_golden(&case.with_extension("txt"), &shown);
        for leak in [shown, format!("{problems:?}")] {
            assert!(!leak.contains(SECRET), "{name} shows a secret:\n{leak}");
        }
    }
}

#[test]
fn problems_come_in_the_order_of_the_file_with_their_parts() {
    let folder = Folder::new();
    let mut config = minimal();
    config["routes"][0]["access"] = json!({ "scopes": ["test:raed"] });
    config["workers"] = json!(0);
    let text = serde_json::to_string_pretty(&config).expect("JSON");
    let problems = folder.refuse("gateway.yaml", &text);
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line()).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    let problem = problems
        .iter()
        .find(|problem| problem.path() == "routes[0].access.scopes[0]")
        .expect("an unknown scope");
    let (row, line) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains("raed"))
        .expect("a line");
    let column = line.find("\"test").expect("a column") + 1;
    assert_eq!(problem.message(), "unknown scope `test:raed`");
    assert_eq!(problem.hint(), "did you mean `test:read`?");
    assert_eq!((problem.line(), problem.column()), (row + 1, column));
    assert_eq!(problem.snippet(), line);
    assert_eq!(problems.file(), "gateway.yaml");
}

#[test]
fn row_112_a_broken_file_is_told_with_line_and_field() {
    let folder = Folder::new();
    let path = folder.write("broken.yaml", b"workers: many\n");
    let problems = Config::load(&path).expect_err("broken");
    let told = problems.to_string();
    let place = format!("{}:1:10 (workers)", path.display());
    assert!(told.contains(&place), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_as_a_problem() {
    let folder = Folder::new();
    let nowhere = Path::new(folder.path()).join("nowhere.yaml");
    let told = Config::load(&nowhere).expect_err("missing").to_string();
    let there_is_none = format!("there is no file `{}`", nowhere.display());
    assert!(told.contains(&there_is_none), "{told}");
    let path = folder.write("latin1.yaml", b"# caf\xe9\n");
    let told = Config::load(&path).expect_err("not UTF-8").to_string();
    assert!(told.contains("the file is not UTF-8 (at byte 5)"), "{told}");
}

#[test]
fn the_example_loads_as_the_seed_says() {
    let folder = Folder::new();
    let text = read("gateway.yaml");
    let path = folder.write("gateway.yaml", text.as_bytes());
    let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));

    let scopes: Vec<&str> = config
        .scopes
        .iter()
        .map(|(scope, _)| scope.as_str())
        .collect();
    let mut routes = Vec::new();
    for (index, service) in ["domains", "vps", "email", "billing"].iter().enumerate() {
        for (action, methods) in [("read", "GET HEAD"), ("write", "POST PUT PATCH DELETE")] {
            routes.push((
                format!("{service}-{action}"),
                methods,
                index,
                service,
                action,
            ));
        }
        let endpoint = &config.upstreams[index].endpoints[0];
        assert_eq!(config.upstreams[index].name, *service);
        assert_eq!(usize::from(endpoint.port), 9101 + index);
    }
    assert_eq!(config.gateway.routes.len(), routes.len());
    for (route, (name, methods, upstream, service, action)) in
        config.gateway.routes.iter().zip(&routes)
    {
        let written: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        let Access::Scopes(needed) = &route.access else {
            panic!("{name} needs scopes");
        };
        assert_eq!((&route.name, route.upstream), (name, *upstream));
        assert_eq!(written.join(" "), *methods);
        assert_eq!(route.pattern, PathPattern::Prefix(format!("/v1/{service}")));
        assert_eq!(needed.to_string(), format!("{service}:{action}"));
        assert!(scopes.contains(&needed.to_string().as_str()));
    }
    assert_eq!(scopes.len(), 8);
    assert_eq!(config.credentials.prefix, "osir");
    let oauth = config.oauth.expect("an authorization server");
    assert_eq!(oauth.issuer, "https://osir.com");
    assert_eq!(oauth.authorize_host, "osir.com");
    assert_eq!(oauth.token_host, "api.osir.com");
    assert_eq!(oauth.access_token_ttl, Duration::from_secs(3600));
    assert_eq!(config.gateway.realm, "osir");
    assert_eq!(config.credentials.cache.stale, Duration::from_secs(300));
    assert_eq!(config.digest, sha256(text.as_bytes()));
}

#[test]
fn each_commented_setting_of_the_example_is_right_too() {
    let folder = Folder::new();
    let config = folder.accept(&uncommented(&read("gateway.yaml")));
    assert_eq!(config.workers, Some(2));
    assert!(
        matches!(&config.issuers[0].jwks, JwksSource::Url { url, ca: None } if url == "https://idp.example/jwks.json")
    );
    assert_eq!(
        config.gateway.routes[0].strip_prefix.as_deref(),
        Some("/v1")
    );
}

#[test]
fn the_example_has_every_key_with_a_comment_and_no_other() {
    let text = read("gateway.yaml");
    assert_eq!(
        text.lines().next(),
        Some("# yaml-language-server: $schema=deploy/gateway.schema.json")
    );
    let shape = shape();
    let example: Value = serde_saphyr::from_str(&uncommented(&text)).expect("YAML");

    for (pointer, key) in scalars(&example) {
        let known = shape.leaves.contains_key(&key);
        assert!(known, "the schema does not have {key} ({pointer})");
    }
    let lines: Vec<&str> = text.lines().collect();
    for key in shape.leaves.keys().filter(|key| !key.ends_with('*')) {
        let name = key
            .rsplit('.')
            .next()
            .expect("a name")
            .trim_end_matches("[]");
        let explained = lines.iter().enumerate().any(|(index, line)| {
            let setting = line.trim_start().trim_start_matches('#');
            let here = setting.starts_with(&format!("{name}:"))
                || setting.starts_with(&format!("- {name}:"));
            // In a comment that speaks of it, or beneath a comment.
            let spoken = line.trim_start().starts_with('#') && line.contains(&format!(" {name}:"));
            spoken || (here && index > 0 && lines[index - 1].trim_start().starts_with("# "))
        });
        assert!(explained, "{key} is not explained in gateway.yaml");
    }
}

#[test]
fn the_schema_file_is_in_step() {
    let text = format!("{:#}\n", schema());
    assert_golden(&in_root("deploy/gateway.schema.json"), &text);
}

#[test]
fn the_readers_know_exactly_the_keys_of_the_schema() {
    const UNKNOWN: &str = "zzzzzzzzzz";
    let folder = Folder::new();
    let shape = shape();
    for config in everything() {
        folder.accept(&config.to_string());
    }
    let mut seen = BTreeSet::new();
    for config in everything() {
        for (pointer, section) in sections(&config, &shape) {
            let mut changed = config.clone();
            let object = changed.pointer_mut(&pointer).expect("a section");
            object[UNKNOWN] = json!(0);
            let problems = folder.refuse("gateway.yaml", &changed.to_string());
            let problem = problems
                .iter()
                .find(|problem| problem.path().ends_with(UNKNOWN))
                .unwrap_or_else(|| panic!("an unknown key in {section} is let through"));
            let hint = problem.hint().strip_prefix("the keys here are ");
            let known: BTreeSet<&str> = hint.expect("a list of keys").split(", ").collect();
            let described: BTreeSet<&str> = shape.sections[&section]
                .iter()
                .map(String::as_str)
                .collect();
            assert_eq!(known, described, "in {section:?}");
            seen.insert(section);
        }
    }
    assert_eq!(seen, shape.sections.keys().cloned().collect());
}

#[test]
fn every_word_of_the_schema_is_accepted() {
    let folder = Folder::new();
    let shape = shape();
    for config in everything() {
        for (pointer, key) in scalars(&config) {
            let Some(leaf) = shape.leaves.get(&key) else {
                continue;
            };
            for word in &leaf.words {
                let mut changed = config.clone();
                *changed.pointer_mut(&pointer).expect("a scalar") = json!(word);
                folder.accept(&changed.to_string());
            }
        }
    }
    let words = shape
        .leaves
        .values()
        .map(|leaf| leaf.words.len())
        .sum::<usize>();
    assert!(words > 30, "the schema has words");
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_readers() {
    let folder = Folder::new();
    let mut written = minimal();
    written["access_tokens"] = json!([{
        "issuer": "https://idp.example", "jwks": "data/jwks.json",
        "audience": "api", "algorithms": ["RS256"],
    }, {
        "issuer": "https://test.example", "builtin": true, "audience": "https://api.test.example",
    }]);
    written["oauth"] = json!({ "issuer": "https://test.example" });
    written["store"] = json!({ "redis": { "url": "redis://redis.internal" } });
    let silent = written.clone();
    let mut set = 0;
    for (key, leaf) in &shape().leaves {
        let Some(default) = &leaf.default else {
            continue;
        };
        // The embedded store is the default of the whole `store`, which is written here.
        if key != "store.embedded" {
            let pointer = key
                .replace("[]", "/0")
                .replace('*', "domains")
                .replace('.', "/");
            let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
            insert(&mut written, parent, name, default.clone());
            set += 1;
        }
    }
    assert!(set > 25, "the schema has defaults");
    let settings = |config: &Value| {
        let mut config = folder.accept(&config.to_string());
        config.digest.clear();
        format!("{config:#?}")
    };
    assert_eq!(settings(&silent), settings(&written));

    let StoreSettings::Embedded { path } = folder.accept(&minimal().to_string()).store else {
        panic!("the embedded store is the default");
    };
    let default = shape().leaves["store.embedded"].default.clone();
    assert_eq!(
        json!(path),
        json!(format!(
            "{}/{}",
            folder.path(),
            default.expect("one").as_str().expect("text")
        ))
    );
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let docs = read("docs/configuration.md");
    let shape = shape();
    for (key, leaf) in &shape.leaves {
        let row = docs
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap_or_else(|| panic!("docs/configuration.md has no row for {key}"));
        let default = match &leaf.default {
            Some(Value::String(text)) => format!("| `{text}` |"),
            Some(other) => format!("| `{other}` |"),
            None if leaf.required => "| required |".to_owned(),
            None => "| none |".to_owned(),
        };
        assert!(row.contains(&default), "{key}: expected {default} in {row}");
    }
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        let key = row.split('`').nth(1).expect("a key");
        assert!(
            shape.leaves.contains_key(key),
            "{key} is documented, but is no key"
        );
    }
}

#[test]
fn a_configuration_shows_no_secret() {
    let folder = Folder::new();
    let mut config = minimal();
    config["admin_token"] = json!("hunter2-hunter2-hunter2");
    config["store"] = json!({ "redis": { "url": "redis://redis.internal", "password": SECRET } });
    let shown = format!("{:?}", folder.accept(&config.to_string()));
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(!shown.contains(PEPPER), "{shown}");
}

#[test]
fn secrets_come_from_files_and_from_the_environment() {
    let folder = Folder::new();
    let mut config = minimal();
    // Cargo sets it for tests.
    config["store"] = json!({ "redis": {
        "url": "rediss://redis.internal/7", "username": "me", "password": "${env:CARGO_PKG_NAME}",
    } });
    config["admin_token"] = json!({ "file": "data/token" });
    let config = folder.accept(&config.to_string());
    let StoreSettings::Redis(redis) = config.store else {
        panic!("redis was written");
    };
    assert_eq!(redis.password.expect("one").expose(), "portcullis");
    assert!(
        matches!(redis.servers, RedisServers::One { url } if url == "rediss://redis.internal/7")
    );
    assert_eq!(config.admin.token.expect("one").expose(), TOKEN);
}

#[test]
fn what_was_seen_of_a_redis_store_is_kept_unless_the_config_says_off() {
    let folder = Folder::new();
    let memory = |store: Value| {
        let mut config = minimal();
        config["store"] = store;
        let path = folder.accept(&config.to_string()).revocation_memory?;
        Some(path.display().to_string().replace(folder.path(), "."))
    };
    let redis = |rest: Value| {
        let mut redis = json!({ "url": "redis://redis.internal" });
        let map = redis.as_object_mut().expect("a map");
        map.extend(rest.as_object().expect("a map").clone());
        json!({ "redis": redis })
    };
    let default = Some("./data/revocations.redb".to_owned());
    assert_eq!(memory(redis(json!({}))), default);
    let other = Some("./seen.redb".to_owned());
    assert_eq!(memory(redis(json!({ "memory": "seen.redb" }))), other);
    assert_eq!(memory(redis(json!({ "memory": "off" }))), None);
    // It is its own memory.
    assert_eq!(memory(json!({ "embedded": "data/x.redb" })), None);
}

#[test]
fn a_watched_primary_and_a_cluster_are_read_as_they_are_written() {
    let folder = Folder::new();
    let [_, _, watched, cluster] = everything();
    let redis = |config: &Value| match folder.accept(&config.to_string()).store {
        StoreSettings::Redis(redis) => redis,
        StoreSettings::Embedded { .. } => panic!("redis was written"),
    };
    let RedisServers::Sentinel(sentinels) = redis(&watched).servers else {
        panic!("sentinels were written");
    };
    assert_eq!(
        sentinels.urls,
        ["redis://s1.internal:26379", "redis://s2.internal:26379"]
    );
    assert_eq!(sentinels.primary, "portcullis");
    assert_eq!(sentinels.username.as_deref(), Some("gateway"));
    assert_eq!(sentinels.password.expect("one").expose(), TOKEN);
    let RedisServers::Cluster { urls } = redis(&cluster).servers else {
        panic!("a Cluster was written");
    };
    assert_eq!(urls, ["redis://a.internal", "redis://b.internal:6380"]);
}

#[test]
fn row_70_and_73_a_pattern_is_kept_as_written() {
    let folder = Folder::new();
    let mut config = minimal();
    for (key, text) in [
        ("prefix", "/"),
        ("prefix", "/v1/a*b"),
        ("path", "/v1/{id}/x-{y"),
        ("path", "/v1/{id}"),
    ] {
        let route = config["routes"][0].as_object_mut().expect("a route");
        route.remove("prefix");
        route.remove("path");
        route.insert(key.to_owned(), json!(text));
        if text.ends_with("{y") {
            folder.refuse("gateway.yaml", &config.to_string());
            continue;
        }
        let expected = match key {
            "prefix" => PathPattern::Prefix(text.to_owned()),
            _ => PathPattern::Template(text.to_owned()),
        };
        assert_eq!(
            folder.accept(&config.to_string()).gateway.routes[0].pattern,
            expected
        );
    }
}

#[test]
fn a_byte_order_mark_and_crlf_change_nothing() {
    let folder = Folder::new();
    let text = completed("", "workers: 3\nlimits:\n  body: 1MiB\n");
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(folder.accept(&windows).workers, Some(3));
    let problems = folder.refuse("x", &windows.replace("workers: 3", "workers: 0"));
    let problem = problems.iter().next().expect("one");
    assert_eq!((problem.line(), problem.column()), (1, 10));
    assert_eq!(problem.snippet(), "workers: 0");
}

#[test]
fn no_text_makes_it_panic() {
    use proptest::prelude::*;
    let folder = Folder::new();
    let example = read("gateway.yaml");
    let lines: Vec<&str> = example.lines().collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let strategy = (0..lines.len(), "\\PC{0,24}", 0..40_usize);
    runner
        .run(&strategy, |(index, junk, at)| {
            let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            let at = changed[index]
                .char_indices()
                .nth(at)
                .map_or(changed[index].len(), |(at, _)| at);
            changed[index].replace_range(at.., &junk);
            let base = Path::new(folder.path());
            if let Err(problems) = Config::parse("x", &changed.join("\n"), base) {
                prop_assert!(problems.iter().count() > 0);
                prop_assert!(!problems.to_string().is_empty());
            }
            Ok(())
        })
        .expect("no panic");
}

// What the schema says, flattened: `routes[].access.scopes`, `upstreams.*.timeout`.

#[derive(Default)]
struct Shape {
    /// The keys of each section.
    sections: BTreeMap<String, BTreeSet<String>>,
    /// Every key that is no section.
    leaves: BTreeMap<String, Leaf>,
}

#[derive(Clone, Default)]
struct Leaf {
    default: Option<Value>,
    words: Vec<String>,
    required: bool,
}

fn shape() -> Shape {
    let schema = schema();
    let mut shape = Shape::default();
    flatten(&schema, &schema, "", &Leaf::default(), &mut shape);
    shape
}

fn flatten(root: &Value, node: &Value, path: &str, outer: &Leaf, shape: &mut Shape) {
    let mut leaf = outer.clone();
    if let Some(default) = node.get("default") {
        leaf.default = Some(default.clone());
    }
    if let Some(target) = node["$ref"].as_str() {
        let pointer = target.strip_prefix('#').expect("a local reference");
        let target = root.pointer(pointer).expect("a definition");
        return flatten(root, target, path, &leaf, shape);
    }
    if let Some(choices) = node["anyOf"].as_array() {
        return choices
            .iter()
            .for_each(|choice| flatten(root, choice, path, &leaf, shape));
    }
    if let Some(items) = node.get("items") {
        let is_section = items.get("$ref").is_some_and(|target| {
            let target = target
                .as_str()
                .expect("text")
                .strip_prefix('#')
                .expect("local");
            root.pointer(target)
                .expect("a definition")
                .get("properties")
                .is_some()
        });
        return match is_section {
            true => flatten(root, items, &format!("{path}[]"), &Leaf::default(), shape),
            false => drop(shape.leaves.insert(path.to_owned(), leaf)),
        };
    }
    if let Some(values) = node["additionalProperties"].as_object() {
        let values = Value::Object(values.clone());
        return flatten(root, &values, &format!("{path}.*"), &Leaf::default(), shape);
    }
    let Some(properties) = node["properties"].as_object() else {
        let words = node["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(node.get("const"));
        leaf.words
            .extend(words.map(|word| word.as_str().expect("a word").to_owned()));
        let known = shape.leaves.entry(path.to_owned()).or_insert(leaf.clone());
        known.words.extend(
            leaf.words
                .into_iter()
                .filter(|word| !outer.words.contains(word)),
        );
        return;
    };
    let required = node["required"].as_array();
    let keys = properties.keys().cloned().collect();
    shape.sections.insert(path.to_owned(), keys);
    for (key, value) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let leaf = Leaf {
            required: required.is_some_and(|required| required.contains(&json!(key))),
            ..Leaf::default()
        };
        flatten(root, value, &path, &leaf, shape);
    }
}

/// Every scalar or list of scalars of a document: its JSON pointer and its key in a [`Shape`].
fn scalars(config: &Value) -> Vec<(String, String)> {
    fn walk(node: &Value, pointer: &str, key: &str, found: &mut Vec<(String, String)>) {
        match node {
            Value::Object(entries) => {
                for (name, value) in entries {
                    let free = matches!(key, "scopes" | "upstreams");
                    let step = if free { "*" } else { name };
                    let key = if key.is_empty() {
                        step.to_owned()
                    } else {
                        format!("{key}.{step}")
                    };
                    walk(value, &format!("{pointer}/{name}"), &key, found);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    walk(
                        item,
                        &format!("{pointer}/{index}"),
                        &format!("{key}[]"),
                        found,
                    );
                }
            }
            _ => found.push((pointer.to_owned(), key.to_owned())),
        }
    }
    let mut found = Vec::new();
    walk(config, "", "", &mut found);
    found
}

/// Every section of a document: its JSON pointer and its key in a [`Shape`].
fn sections(config: &Value, shape: &Shape) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::from([(String::new(), String::new())]);
    for (pointer, key) in scalars(config) {
        let (mut pointer, mut key) = (pointer.as_str(), key.as_str());
        while let Some((parent, name)) = pointer.rsplit_once('/') {
            key = match name.parse::<usize>() {
                Ok(_) => key.strip_suffix("[]").expect("an item"),
                Err(_) => key.rsplit_once('.').map_or("", |(parent, _)| parent),
            };
            pointer = parent;
            if shape.sections.contains_key(key) {
                sections.insert(pointer.to_owned(), key.to_owned());
            }
        }
    }
    sections
}

fn insert(config: &mut Value, parent: &str, name: &str, value: Value) {
    let mut node = config;
    for step in parent.split('/').filter(|step| !step.is_empty()) {
        node = match step.parse::<usize>() {
            Ok(index) => &mut node[index],
            Err(_) => &mut node[step],
        };
    }
    node[name] = value;
}

// Configurations.

/// What has to be there.
fn minimal() -> Value {
    json!({
        "tls": { "certificates": [{ "cert": "certs/gateway.pem", "key": "certs/gateway-key.pem" }] },
        "credentials": { "realm": "test", "prefix": "test", "pepper": { "file": "data/pepper" } },
        "scopes": { "test:read": "Look at it" },
        "upstreams": { "domains": { "endpoints": ["http://127.0.0.1:9101"] } },
        "routes": [{
            "name": "test", "prefix": "/test", "methods": ["GET"],
            "access": { "scopes": ["test:read"] }, "upstream": "domains",
        }],
    })
}

/// Configurations that have every key between them; some exclude each other.
fn everything() -> [Value; 4] {
    let mut one = minimal();
    let rest = json!({
        "listen": { "https": "127.0.0.1:0", "http": "127.0.0.1:0", "metrics": "127.0.0.1:0", "admin": "127.0.0.1:0" },
        "store": { "redis": {
            "url": "rediss://redis.internal:6380/1", "username": "me", "password": { "file": "data/token" },
            "ca": "certs/gateway.pem", "timeout": "1s", "memory": "data/seen.redb",
            "certificate": { "cert": "certs/gateway.pem", "key": "certs/gateway-key.pem" },
        } },
        "plaintext_credentials": "revoke",
        "access_tokens": [{
            "issuer": "https://idp.example", "jwks": "https://idp.example/jwks.json", "ca": "certs/gateway.pem",
            "audience": "api", "algorithms": ["RS256", "Ed25519"], "token_type": "any",
            "clock_skew": "1s", "max_lifetime": "1h", "revocation": "none",
        }, {
            "issuer": "https://test.example", "builtin": true, "audience": "https://api.test.example",
            "clock_skew": "1s",
        }],
        "sessions": {
            "path": "/sessions", "ttl": "1h", "max_ttl": "2h",
            "cookie": { "name": "__Host-test", "origins": ["https://app.example", "https://[::1]:8443"] },
        },
        "oauth": {
            "issuer": "https://test.example", "authorize_host": "test.example:8443",
            "token_host": "api.test.example", "access_token_ttl": "5m",
            "refresh_token": { "idle": "1d", "absolute": "2d", "grace": "0s" },
            "signing_algorithm": "RS256", "default_scopes": ["test:read"],
            "documentation": "https://test.example/docs",
            "login": { "delegated": { "url": "https://login.test.example/start?theme=dark" } },
        },
        "trusted_proxies": ["10.0.0.0/8", "::1"],
        "limits": {
            "connections": 1, "connections_per_address": 1, "header_bytes": "64KiB", "header_count": 1,
            "uri_bytes": 1024, "body": 0, "h2_streams": 1,
        },
        "timeouts": { "handshake": "1s", "header": "1s", "idle": "1s", "body": "1s" },
        "access_log": { "file": "data/access.log" },
        "audit_log": "data/audit",
        "audit_copy": "syslog",
        "admin_token": { "file": "data/token" },
        "internal_token": { "key": "certs/gateway-key.pem" },
        "workers": 1,
    });
    one.as_object_mut()
        .expect("a map")
        .extend(rest.as_object().expect("a map").clone());
    one["credentials"]["checksum"] = json!("optional");
    one["credentials"]["previous_pepper"] = json!({ "file": "data/pepper-before" });
    one["credentials"]["next_pepper"] = json!({ "file": "data/pepper-next" });
    one["credentials"]["cache"] =
        json!({ "capacity": 1, "fresh": "1s", "stale": "3s", "negative": "1s" });
    one["upstreams"]["domains"] = json!({
        "endpoints": ["https://one.internal", "h2c://[::1]:9"], "ca": "certs/gateway.pem", "timeout": "1s",
        "connect_timeout": "1s", "idle_timeout": "1s", "keep_alive": "1s", "environment": "test",
        "identity": "jwt", "host": "upstream", "forward_credential": true,
    });
    let route = one["routes"][0].as_object_mut().expect("a route");
    let rest = json!({
        "hosts": ["api.example"], "strip_prefix": "/test", "timeout": "1s", "max_body": "1KiB", "trailers": true,
    });
    route.extend(rest.as_object().expect("a map").clone());

    let mut other = minimal();
    other["store"] = json!({ "embedded": "data/other.redb" });
    other["access_log"] = json!("off");
    other["access_tokens"] = json!([{
        "issuer": "https://idp.example", "jwks": "data/jwks.json",
        "audience": ["one", "two"], "algorithms": ["RS256"],
    }]);
    let access = [
        json!({ "any_scope": ["test:read"] }),
        json!({ "public": "documentation" }),
        json!("authenticated"),
    ];
    for (index, access) in access.into_iter().enumerate() {
        let route = json!({
            "name": format!("route-{index}"), "path": format!("/{index}/{{id}}"), "methods": ["GET", "HEAD"],
            "access": access, "upstream": "domains",
        });
        other["routes"].as_array_mut().expect("a list").push(route);
    }
    let mut watched = minimal();
    watched["store"] = json!({ "redis": { "sentinel": {
        "addresses": ["redis://s1.internal:26379", "redis://s2.internal:26379"], "primary": "portcullis",
        "username": "gateway", "password": { "file": "data/token" },
    } } });
    let mut cluster = minimal();
    cluster["store"] =
        json!({ "redis": { "cluster": ["redis://a.internal", "redis://b.internal:6380"] } });
    [one, other, watched, cluster]
}

/// A case with what it leaves out of the needed sections. `missing.yaml` and `empty.yaml` are
/// about those; text that is no YAML stays as it is.
fn completed(name: &str, text: &str) -> String {
    let mut text = text.to_owned();
    if ["missing.yaml", "empty.yaml"].contains(&name) || name.starts_with("syntax") {
        return text;
    }
    for (key, value) in minimal().as_object().expect("a map") {
        if !text
            .lines()
            .any(|line| line.starts_with(&format!("{key}:")))
        {
            text.push_str(&format!("{key}: {value}\n"));
        }
    }
    text
}

/// The example with its commented settings (`#key: value`, no space) switched on.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let setting = line
            .trim_start()
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '));
        match setting {
            Some(_) => line.replacen('#', "", 1),
            None => line.to_owned(),
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

// Files.

const PEPPER: &str = "7d1f0b6a93c2e85f4b7a6c1d2e3f40516273849a5b6c7d8e9fa0b1c2d3e4f506";
const PEPPER_BEFORE: &str = "e1d2c3b4a5968778695a4b3c2d1e0f00e1d2c3b4a5968778695a4b3c2d1e0f11";
const PEPPER_NEXT: &str = "9182736455463728190a1b2c3d4e5f6071829304a5b6c7d8e9f0a1b2c3d4e5f6";
const TOKEN: &str = "a token of more than sixteen characters";

/// A folder with the files that the configurations name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        for name in ["certs", "data", "data/folder"] {
            fs::create_dir(folder.0.path().join(name)).expect("a folder");
        }
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        folder.write("certs/gateway.pem", pair.cert.pem().as_bytes());
        folder.write(
            "certs/gateway-key.pem",
            pair.signing_key.serialize_pem().as_bytes(),
        );
        folder.write(
            "certs/internal-key.pem",
            pair.signing_key.serialize_pem().as_bytes(),
        );
        folder.write("certs/garbage.pem", b"not a certificate\n");
        folder.write("data/jwks.json", br#"{"keys":[{"kty":"RSA"}]}"#);
        folder.write("data/not-jwks.json", br#"{"keys":[]}"#);
        folder.write("data/empty", b"");
        folder.write("data/pepper", PEPPER.as_bytes());
        folder.write("data/pepper-before", PEPPER_BEFORE.as_bytes());
        folder.write("data/pepper-next", PEPPER_NEXT.as_bytes());
        folder.write("data/pepper-short", b"0123456789abcdef0123456789abcde\n");
        folder.write("data/pepper-weak", &[b'a'; 64]);
        folder.write("data/admin-token", TOKEN.as_bytes());
        folder.write("data/token", format!("{TOKEN}\n").as_bytes());
        folder.write("data/blank", b" \n");
        folder.write("data/binary", &[0xff; 40]);
        let open = folder.write("data/pepper-open", PEPPER.as_bytes());
        fs::set_permissions(open, fs::Permissions::from_mode(0o640)).expect("permissions");
        folder
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        path
    }

    #[track_caller]
    fn accept(&self, text: &str) -> Config {
        Config::parse("gateway.yaml", text, self.0.path())
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[track_caller]
    fn refuse(&self, name: &str, text: &str) -> Problems {
        match Config::parse(name, text, self.0.path()) {
            Ok(_) => panic!("{name} is accepted"),
            Err(problems) => problems,
        }
    }
}

#[track_caller]
fn assert_golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, actual).expect("written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} is out of step; see the head of this file",
        path.display()
    );
}

fn in_root(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_root(path)).expect("a file of the repository")
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
