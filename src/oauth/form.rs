//! `application/x-www-form-urlencoded` parameters, of a query or a body, read strictly.
//!
//! Invariants: what cannot be decoded is an error, never a guess; a parameter that is there twice
//! is known to be; an empty parameter is absent (RFC 6749 §3.1); values are zeroed on drop.

use zeroize::Zeroizing;

/// The parameters of one request.
pub(super) struct Form {
    fields: Vec<Field>,
}

struct Field {
    name: Zeroizing<String>,
    value: Zeroizing<String>,
}

/// Not a form: an escape that is none, or not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidForm;

/// No request here has a tenth of them.
const MOST_FIELDS: usize = 100;

impl Form {
    /// Reads a form.
    pub(super) fn parse(text: &[u8]) -> Result<Form, InvalidForm> {
        let parts = text.split(|byte| *byte == b'&');
        let fields = parts.filter(|part| !part.is_empty()).map(field);
        let fields: Vec<Field> = fields.collect::<Result<_, _>>()?;
        match fields.len() <= MOST_FIELDS {
            true => Ok(Form { fields }),
            false => Err(InvalidForm),
        }
    }

    /// The first value of a parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().filter(|field| *field.name == name);
        let mut values = named.map(|field| field.value.as_str());
        values.find(|value| !value.is_empty())
    }

    /// Whether a parameter is there more than once.
    pub(super) fn repeats(&self, name: &str) -> bool {
        self.fields
            .iter()
            .filter(|field| *field.name == name)
            .count()
            > 1
    }

    /// Whether any parameter is there more than once (RFC 6749 §3.1, §3.2).
    pub(super) fn has_repeats(&self) -> bool {
        self.fields.iter().any(|field| self.repeats(&field.name))
    }
}

fn field(part: &[u8]) -> Result<Field, InvalidForm> {
    let equals = part.iter().position(|byte| *byte == b'=');
    let (name, value) = match equals {
        Some(at) => (&part[..at], &part[at + 1..]),
        None => (part, &[][..]),
    };
    Ok(Field {
        name: decode(name)?,
        value: decode(value)?,
    })
}

/// Decodes one name or value.
pub(super) fn decode(text: &[u8]) -> Result<Zeroizing<String>, InvalidForm> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>().ok_or(InvalidForm)?;
                rest = after;
                16 * hex(digits[0])? + hex(digits[1])?
            }
            byte => *byte,
        });
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| InvalidForm)?;
    Ok(Zeroizing::new(text))
}

fn hex(digit: u8) -> Result<u8, InvalidForm> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(InvalidForm)
}

/// Appends `name=value` to a query, escaped so that every reader reads it the same.
pub(super) fn push_parameter(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() && !query.ends_with(['?', '&']) {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                query.push(char::from(byte));
            }
            other => query.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        let form = Form::parse(b"a=1+2%203&b=&c&d=%C3%A9&=x").expect("a form");
        assert_eq!(form.get("a"), Some("1 2 3"));
        assert_eq!(form.get("b"), None);
        assert_eq!(form.get("c"), None);
        assert_eq!(form.get("d"), Some("é"));
        assert!(!form.has_repeats());
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        for text in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff", "%80=1"] {
            assert!(Form::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Form::parse("a=1&".repeat(101).as_bytes()).is_err());
    }

    #[test]
    fn a_repeated_parameter_is_known_also_where_one_is_empty_or_escaped() {
        for text in ["a=1&a=1", "a=&a=1", "a=1&%61=2"] {
            let form = Form::parse(text.as_bytes()).expect("a form");
            assert!(form.repeats("a") && form.has_repeats(), "{text}");
        }
    }

    #[test]
    fn whatever_is_appended_is_read_back() {
        let odd = "a b+c&d=e%f#g\"é\u{0}";
        let mut query = String::new();
        push_parameter(&mut query, "state", odd);
        push_parameter(&mut query, "iss", "https://osir.com");
        let form = Form::parse(query.as_bytes()).expect("a form");
        assert_eq!(form.get("state"), Some(odd));
        assert!(query.ends_with("&iss=https%3A%2F%2Fosir.com"));
    }
}
