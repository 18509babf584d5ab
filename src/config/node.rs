//! A YAML document as a tree in which everything knows its place.
//!
//! Not here: how it is parsed (`raw`) and what it means (`field` and the readers above it). Maps
//! keep their order and their repeated keys, so that a repeated key can be told with its place. No
//! `Debug` here and above: the tree holds what the file holds, secrets among it.

use std::ops::Range;

/// A value and where it stands.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node holds.
pub(super) enum Value {
    Bool(bool),
    Float,
    Integer(i128),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    Null,
    Text(String),
}

/// A key of a map and where it stands.
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

/// Where something stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// In characters; 0 for what has no text of its own, as a missing value.
    pub(super) width: usize,
    /// In the document.
    pub(super) bytes: Range<usize>,
}

impl Place {
    /// The beginning of the document: where what is missing in it is reported.
    pub(super) fn start() -> Place {
        Place {
            line: 1,
            column: 1,
            width: 0,
            bytes: 0..0,
        }
    }
}

impl Node {
    /// Calls `visit` with every scalar in this node, keys excepted.
    pub(super) fn each_scalar<'a>(&'a self, visit: &mut dyn FnMut(&'a Node)) {
        match &self.value {
            Value::List(items) => items.iter().for_each(|item| item.each_scalar(visit)),
            Value::Map(entries) => entries.iter().for_each(|(_, node)| node.each_scalar(visit)),
            Value::Bool(_) | Value::Float | Value::Integer(_) | Value::Null | Value::Text(_) => {
                visit(self);
            }
        }
    }
}

impl Value {
    /// The word for its kind in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "true or false",
            Value::Float | Value::Integer(_) => "a number",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Null => "nothing",
            Value::Text(_) => "text",
        }
    }
}
