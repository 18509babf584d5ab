//! `scopes`: every scope there is, with what it lets its holder do.

use crate::scope::Scope;

use super::field::{Entry, Section};
use super::nearest::nearest;
use super::report::quoted;

use super::field::Field;

/// The scopes of the file.
#[derive(Debug)]
pub(super) struct Catalogue<'a> {
    /// All of them, also those with a problem, so that a route with them is not another problem.
    names: Vec<&'a str>,
    pub(super) scopes: Option<Vec<(Scope, String)>>,
}

impl<'a> Catalogue<'a> {
    /// Reads `scopes`.
    pub(super) fn read(root: &Section<'a>) -> Catalogue<'a> {
        let entries = root.or("scopes", Vec::new(), Field::entries);
        let read = entries.is_some();
        let entries = entries.unwrap_or_default();
        let scopes: Vec<Option<(Scope, String)>> = entries.iter().map(scope).collect();
        Catalogue {
            names: entries.iter().map(|entry| entry.name).collect(),
            scopes: scopes.into_iter().collect::<Option<_>>().filter(|_| read),
        }
    }

    /// A scope that a route names: it has to be one of the catalogue.
    pub(super) fn resolve(&self, field: &Field<'_>) -> Option<Scope> {
        let name = field.text()?;
        if self.names.contains(&name) {
            // One that is no scope was reported where it is declared.
            return Scope::parse(name).ok();
        }
        let hint = match nearest(name, self.names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add `{}: what it allows` to scopes", name.escape_debug()),
        };
        field.refuse(format!("unknown scope {}", quoted(name)), hint)
    }
}

fn scope(entry: &Entry<'_>) -> Option<(Scope, String)> {
    let name = match Scope::parse(entry.name) {
        Ok(scope) => Some(scope),
        Err(invalid) => entry.refuse(
            format!("{} is not a scope", quoted(entry.name)),
            invalid.to_string(),
        ),
    };
    let description = entry.field.text();
    Some((name?, description?.to_owned()))
}
