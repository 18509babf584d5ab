//! Which part of a list a query asks for.

use super::problem::AdminProblem;
use crate::id::{AccountId, KeyId};
use crate::store::Cursor;

/// The most keys in one page.
const PAGE: usize = 1000;

/// Which part of a list is asked for.
pub(super) struct Page {
    pub(super) after: Option<KeyId>,
    pub(super) account: Option<AccountId>,
    pub(super) limit: usize,
}

impl Page {
    /// Ids have no character that a query would encode, except in foreign accounts: those come
    /// percent-encoded.
    pub(super) fn parse(query: &str) -> Result<Page, AdminProblem> {
        let mut page = Page {
            after: None,
            account: None,
            limit: 100,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value =
                decode(value).ok_or(AdminProblem::Query("the query is not well encoded"))?;
            match name {
                "after" => {
                    let id = KeyId::parse(&value);
                    page.after = Some(id.map_err(|_| AdminProblem::Query("after: not a key id"))?);
                }
                "account" => {
                    let id = AccountId::parse(&value);
                    let id = id.map_err(|_| AdminProblem::Query("account: not an account id"))?;
                    page.account = Some(id);
                }
                "limit" => {
                    let limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=PAGE).contains(limit));
                    page.limit = limit.ok_or(AdminProblem::Query("limit: from 1 to 1000"))?;
                }
                _ => {
                    return Err(AdminProblem::Query(
                        "only after, account and limit are known",
                    ));
                }
            }
        }
        Ok(page)
    }
}

/// Where a list goes on, of a query that says nothing else.
pub(super) fn cursor(query: Option<&str>) -> Result<Option<Cursor>, AdminProblem> {
    let mut after = None;
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let value = pair.strip_prefix("after=");
        let value = value.ok_or(AdminProblem::Query("only after is known"))?;
        let value = decode(value).ok_or(AdminProblem::Query("the query is not well encoded"))?;
        after = Some(Cursor::new(value));
    }
    Ok(after)
}

/// RFC 3986 §2.1.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
