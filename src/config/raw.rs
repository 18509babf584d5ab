//! YAML text → [`Node`] tree. The only file that knows the YAML library.
//!
//! Not here: any key of the configuration. Two leniencies are switched off: YAML 1.1 booleans
//! (`access_log: off` is a word) and the guessing of octal and underscored numbers. Repeated and
//! merge keys pass through into the tree, so that they are reported among all the other problems.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{
    DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, MessageFormatter as _,
    NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter,
};

use super::node::{Key, Node, Place, Value};

/// What is wrong with the text as YAML. The parser stops there, so it is one.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Parses one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let parsed = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options());
    parsed.map(node).map_err(|error| SyntaxError {
        place: error.location().map_or_else(Place::start, place),
        message: message(&error),
    })
}

fn message(error: &Error) -> String {
    match error.without_snippet() {
        // Not quoted: a password that begins with `!` is a tag to YAML.
        Error::UnsupportedTag { .. } => "text that begins with `!` has to be in quotes".to_owned(),
        other => UserMessageFormatter.format_message(other).into_owned(),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// The tree in the library's terms; [`node`] turns it into ours.
enum Tree {
    Leaf(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>) -> Node {
    // An alias is told where its anchor is: the text that has to be corrected stands there.
    let mut place = place(tree.defined);
    let value = match tree.value {
        Tree::Leaf(value) => value,
        Tree::List(items) => Value::List(items.into_iter().map(node).collect()),
        Tree::Map(entries) => {
            let entries: Vec<(Key, Node)> = entries.into_iter().map(entry).collect();
            // A block map has no text of its own: its first key stands for it.
            if let (0, Some((first, _))) = (place.width, entries.first()) {
                place.width = first.place.width;
            }
            Value::Map(entries)
        }
    };
    Node { place, value }
}

fn entry((key, value): (Spanned<String>, Spanned<Tree>)) -> (Key, Node) {
    let key = Key {
        place: place(key.defined),
        name: key.value,
    };
    (key, node(value))
}

fn place(location: Location) -> Place {
    let size = |number: u64| usize::try_from(number).unwrap_or(0);
    let span = location.span();
    let start = size(span.byte_offset().unwrap_or(0));
    Place {
        line: size(location.line()),
        column: size(location.column()),
        width: usize::try_from(span.len()).unwrap_or(0),
        bytes: start..start + size(span.byte_len().unwrap_or(0)),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Integer(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Integer(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Integer(value.into())))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        let value = i128::try_from(value).unwrap_or(i128::MAX);
        Ok(Tree::Leaf(Value::Integer(value)))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Float))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
