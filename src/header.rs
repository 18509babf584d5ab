//! Header fields that may be there once.
//!
//! Two lines of such a field are two meanings, and servers differ in which they take. Invariant:
//! none of them is ever picked.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A field is there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated;

/// The value of a field that is there at most once.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Repeated),
    }
}

/// The same where it makes no difference whether it is not there or there twice.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    single(headers, name).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ORIGIN;

    #[test]
    fn of_two_none_is_picked() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, &ORIGIN), Ok(None));
        assert_eq!(only(&headers, &ORIGIN), None);
        let one = HeaderValue::from_static("https://one.example");
        headers.append(ORIGIN, one.clone());
        assert_eq!(single(&headers, &ORIGIN), Ok(Some(&one)));
        assert_eq!(only(&headers, &ORIGIN), Some(&one));
        headers.append(ORIGIN, one);
        assert_eq!(single(&headers, &ORIGIN), Err(Repeated));
        assert_eq!(only(&headers, &ORIGIN), None);
    }
}
