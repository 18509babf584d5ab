//! A JSON object whose member names are unique: header, claims and JWK alike.
//!
//! Two parsers that disagree on which of two `alg` or `sub` members counts are an attack, so a
//! name that appears twice refuses the object, also where we would not read it (RFC 7515 §4,
//! RFC 7519 §4). Nesting is bounded by the JSON parser.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;

/// The members of a JSON object, each name once.
#[derive(Clone, PartialEq)]
pub struct Members(BTreeMap<String, Value>);

/// Not one JSON object with unique names in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one JSON object with unique member names")]
pub struct InvalidMembers;

/// A member is there, but not of the type that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a member has the wrong type")]
pub struct WrongType;

impl Members {
    /// Parses exactly one object; what follows it may only be white space.
    pub fn parse(json: &[u8]) -> Result<Members, InvalidMembers> {
        let text = std::str::from_utf8(json).map_err(|_| InvalidMembers)?;
        serde_json::from_str(text).map_err(|_| InvalidMembers)
    }

    /// Whether there is a member of this name, be it `null`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member's value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member that is a string if it is there; `null` is not a string.
    pub fn string(&self, name: &str) -> Result<Option<&str>, WrongType> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType),
        }
    }

    /// A member that is an array of strings if it is there.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let elements = value.as_array().ok_or(WrongType)?;
        let strings = elements
            .iter()
            .map(|element| element.as_str().ok_or(WrongType));
        strings.collect::<Result<Vec<&str>, WrongType>>().map(Some)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(UniqueMembers)
    }
}

struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with unique member names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = object.next_key::<String>()? {
            match members.entry(name) {
                Entry::Occupied(_) => return Err(A::Error::custom("a member appears twice")),
                Entry::Vacant(place) => place.insert(object.next_value()?),
            };
        }
        Ok(Members(members))
    }
}

/// The names only: claims are about people.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_88_a_repeated_name_refuses_the_object_whichever_way_it_is_written() {
        for json in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","\u0073ub":"a"}"#,
            r#"{"nobody-reads-this":1,"nobody-reads-this":1}"#,
        ] {
            assert_eq!(
                Members::parse(json.as_bytes()),
                Err(InvalidMembers),
                "{json}"
            );
        }
    }

    #[test]
    fn row_88_only_one_whole_object_in_utf_8_is_taken() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
        for json in [
            &b"{} {}"[..],
            b"{}x",
            b"[]",
            b"null",
            b"",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":1,}"#,
            b"{\"a\":NaN}",
            deep.as_bytes(),
        ] {
            assert_eq!(Members::parse(json), Err(InvalidMembers), "{json:?}");
        }
        assert!(Members::parse(b" {\"a\":[null]}\n").is_ok());
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let members = Members::parse(br#"{"sub":"alice"}"#).expect("valid");
        assert_eq!(format!("{members:?}"), r#"{"sub"}"#);
    }
}
