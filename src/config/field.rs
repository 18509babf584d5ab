//! Cursors over the tree: a value with its path, and a section whose keys are asked for by name.
//!
//! Not here: what the keys mean. Invariants: a section reports every key that its reader did not
//! ask for, so a reader cannot forget to; a wrong value is reported once, where it stands, and
//! becomes `None`, while reading goes on with its neighbours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use super::nearest::nearest;
use super::node::{Key, Node, Place, Value};
use super::report::{Report, quoted};

/// A value of the file, with its path.
#[derive(Clone)]
pub(super) struct Field<'a> {
    report: &'a Report<'a>,
    node: &'a Node,
    path: String,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn document(report: &'a Report<'a>, node: &'a Node) -> Field<'a> {
        Field {
            report,
            node,
            path: String::new(),
        }
    }

    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    pub(super) fn line(&self) -> usize {
        self.node.place.line
    }

    pub(super) fn source(&self) -> &'a Report<'a> {
        self.report
    }

    /// Notes a problem with this value.
    pub(super) fn report(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.add(&self.node.place, &self.path, message, hint);
    }

    /// Notes a problem with this value and gives nothing for it.
    pub(super) fn refuse<T>(
        &self,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.report(message, hint);
        None
    }

    /// Which setting this is, from the top of the file.
    pub(super) fn setting(&self) -> &str {
        &self.path
    }

    /// Refuses a value that is of another kind than expected.
    pub(super) fn mismatch<T>(&self, expected: &str, hint: impl Into<String>) -> Option<T> {
        let found = self.node.value.kind();
        self.refuse(format!("expected {expected}, found {found}"), hint)
    }

    /// Text; never empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if text.trim().is_empty() => {
                self.refuse("this text is empty", "write a value or remove the key")
            }
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Float | Value::Integer(_) => {
                self.mismatch("text", "put it in quotes to make it text")
            }
            Value::List(_) | Value::Map(_) | Value::Null => self.mismatch("text", "write one text"),
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else {
            return self.mismatch("a list", "write [one, two] or one `- item` a line");
        };
        let item = |(index, node)| Field {
            report: self.report,
            node,
            path: format!("{}[{index}]", self.path),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The items of a list that must not be empty, each read; every wrong one is reported.
    pub(super) fn list_of<T>(&self, read: impl FnMut(&Field<'a>) -> Option<T>) -> Option<Vec<T>> {
        let items = self.items()?;
        if items.is_empty() {
            return self.refuse("this list is empty", "write at least one item");
        }
        // First all of them, then whether all are right: so that none is left unreported.
        let read: Vec<Option<T>> = items.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// Like [`Field::list_of`], and no item may be repeated.
    pub(super) fn set_of<T: PartialEq>(
        &self,
        mut read: impl FnMut(&Field<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen: Vec<T> = Vec::new();
        let mut repeated = false;
        self.list_of(|item| {
            let value = read(item)?;
            if seen.contains(&value) {
                item.report("this item is repeated", "remove it");
                repeated = true;
            } else {
                seen.push(value);
            }
            Some(())
        })?;
        (!repeated).then_some(seen)
    }

    /// The entries of a map whose keys are names that the user chooses.
    pub(super) fn entries(&self) -> Option<Vec<Entry<'a>>> {
        let Value::Map(entries) = &self.node.value else {
            return self.mismatch("a map", "write one `name: …` a line");
        };
        self.report_repeats(entries);
        let entry = |(key, node): &'a (Key, Node)| Entry {
            name: &key.name,
            place: &key.place,
            field: self.child(key, node),
        };
        Some(entries.iter().map(entry).collect())
    }

    /// Reads a map of known keys. Whatever `read` does not ask for is reported as unknown.
    pub(super) fn section<T>(&self, read: impl FnOnce(&Section<'a>) -> Option<T>) -> Option<T> {
        let entries: &'a [(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            // All of a section's keys may be commented out.
            Value::Null => &[],
            _ => return self.mismatch("a map", "write `key: value` lines beneath it"),
        };
        let section = Section {
            field: self.clone(),
            entries,
            asked: RefCell::default(),
        };
        let value = read(&section);
        let mut known = section.asked.into_inner();
        known.sort_unstable();
        self.report_repeats(entries);
        self.report_unknown(entries, &known);
        value
    }

    fn report_unknown(&self, entries: &'a [(Key, Node)], known: &[&'static str]) {
        for (key, node) in entries {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            self.report.redaction().hide_value(key, node);
            let hint = match nearest(&key.name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if key.name == "<<" => "write the keys out: there are no merge keys".into(),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let path = self.child(key, node).path;
            let message = format!("unknown key {}", quoted(&key.name));
            self.report.add(&key.place, &path, message, hint);
        }
    }

    fn report_repeats(&self, entries: &'a [(Key, Node)]) {
        let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, node) in entries {
            let Some(first) = lines.get(key.name.as_str()) else {
                lines.insert(&key.name, key.place.line);
                continue;
            };
            self.report.redaction().hide_value(key, node);
            let path = self.child(key, node).path;
            let message = format!("the key {} is repeated", quoted(&key.name));
            let hint = format!("it is already set on line {first}; keep one of them");
            self.report.add(&key.place, &path, message, hint);
        }
    }

    fn child(&self, key: &Key, node: &'a Node) -> Field<'a> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let name = &key.name;
        let path = match (self.path.as_str(), name.bytes().all(plain)) {
            (parent, false) => format!("{parent}[{}]", quoted(name).replace('`', "\"")),
            ("", true) => name.clone(),
            (parent, true) => format!("{parent}.{name}"),
        };
        Field {
            report: self.report,
            node,
            path,
        }
    }
}

/// One entry of a map whose keys the user chooses.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) field: Field<'a>,
    place: &'a Place,
}

impl Entry<'_> {
    /// Notes a problem with the name and gives nothing for it.
    pub(super) fn refuse<T>(
        &self,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        let Field { report, path, .. } = &self.field;
        report.add(self.place, path, message, hint);
        None
    }
}

/// A map of known keys while it is read.
pub(super) struct Section<'a> {
    field: Field<'a>,
    entries: &'a [(Key, Node)],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The section itself, to report on.
    pub(super) fn field(&self) -> &Field<'a> {
        &self.field
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (key, node) = self.entries.iter().find(|(known, _)| known.name == key)?;
        Some(self.field.child(key, node))
    }

    /// The value of a key that has a default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(field) => read(&field),
            None => Some(default),
        }
    }

    /// The value of a key that may be left out.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(key) {
            Some(field) => read(&field).map(Some),
            None => Some(None),
        }
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        hint: impl Into<String>,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(field) => read(&field),
            None => self.field.refuse(format!("`{key}` is missing"), hint),
        }
    }

    /// The section beneath a key; where the key is missing, all its defaults.
    pub(super) fn section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(field) => field.section(read),
            None => read(&Section {
                field: self.field.clone(),
                entries: &[],
                asked: RefCell::default(),
            }),
        }
    }

    /// The one key of a section that stands for a choice.
    pub(super) fn one_of(&self, keys: &[&'static str], hint: impl Display) -> Option<Choice<'a>> {
        let mut present = keys
            .iter()
            .filter_map(|key| self.get(key).map(|field| Choice { key, field }));
        match (present.next(), present.next()) {
            (Some(choice), None) => Some(choice),
            (None, _) => self.field.refuse(
                format!("one of `{}` is missing", keys.join("`, `")),
                hint.to_string(),
            ),
            (Some(first), Some(second)) => {
                // The rest is asked for too, so that it counts as known.
                present.for_each(drop);
                let message = format!("`{}` excludes `{}`", first.key, second.key);
                second.field.refuse(message, hint.to_string())
            }
        }
    }
}

/// The key that was chosen, and its value.
pub(super) struct Choice<'a> {
    pub(super) key: &'static str,
    pub(super) field: Field<'a>,
}
