//! Which credentials two configurations accept at all, whatever the routes say.
//!
//! Invariant: whatever lets a credential in that was refused before is looser, also where the same
//! change refuses others.

use std::fmt::Debug;

use super::decision::PolicyParts;
use super::diff::{Change, Difference};
use crate::auth::{Checksum, IssuerRevocation, IssuerSettings, TokenType};

/// One line for each setting that changes who can be a caller.
pub(super) fn differences(old: &PolicyParts, new: &PolicyParts) -> Vec<Difference> {
    let mut lines = Lines::default();
    for issuer in &new.issuers {
        match find(old, issuer) {
            Some(before) => lines.issuer(before, issuer),
            None => lines.add(
                Change::Looser,
                tokens_of(issuer),
                "access_tokens",
                ["refused", "accepted"],
            ),
        }
    }
    for issuer in old.issuers.iter().filter(|it| find(new, it).is_none()) {
        lines.add(
            Change::Tighter,
            tokens_of(issuer),
            "access_tokens",
            ["accepted", "refused"],
        );
    }
    lines.flag(
        "API keys without a checksum of ours",
        "credentials.checksum",
        [old, new].map(|parts| parts.checksum == Checksum::Optional),
    );
    lines.flag(
        "sessions in cookies",
        "sessions.cookie",
        [old, new].map(|parts| parts.gateway.sessions.cookie.is_some()),
    );
    let proxies = [old, new].map(|parts| texts(&parts.gateway.trusted_proxies));
    lines.set(
        "peers that say which address a client has",
        "trusted_proxies",
        &proxies,
    );
    lines.0
}

fn find<'a>(parts: &'a PolicyParts, issuer: &IssuerSettings) -> Option<&'a IssuerSettings> {
    let mut issuers = parts.issuers.iter();
    issuers.find(|known| known.issuer == issuer.issuer)
}

fn tokens_of(issuer: &IssuerSettings) -> String {
    format!("tokens of {}", issuer.issuer)
}

fn texts<T: Debug>(items: &[T]) -> Vec<String> {
    items.iter().map(|item| format!("{item:?}")).collect()
}

#[derive(Default)]
struct Lines(Vec<Difference>);

impl Lines {
    fn add(&mut self, change: Change, who: String, setting: &str, [was, now]: [&str; 2]) {
        self.0.push(Difference {
            change,
            who,
            methods: Vec::new(),
            paths: vec![setting.to_owned()],
            hosts: Vec::new(),
            was: was.to_owned(),
            now: now.to_owned(),
        });
    }

    fn flag(&mut self, who: &str, setting: &str, accepts: [bool; 2]) {
        match accepts {
            [false, true] => self.add(Change::Looser, who.into(), setting, ["refused", "accepted"]),
            [true, false] => self.add(
                Change::Tighter,
                who.into(),
                setting,
                ["accepted", "refused"],
            ),
            _ => {}
        }
    }

    /// A list of which one is enough.
    fn set(&mut self, who: &str, setting: &str, [old, new]: &[Vec<String>; 2]) {
        let (was, now) = (old.join(" "), new.join(" "));
        let shown = [&was, &now].map(|text| {
            if text.is_empty() {
                "none"
            } else {
                text.as_str()
            }
        });
        if new.iter().any(|item| !old.contains(item)) {
            self.add(Change::Looser, who.into(), setting, shown);
        }
        if old.iter().any(|item| !new.contains(item)) {
            self.add(Change::Tighter, who.into(), setting, shown);
        }
    }

    /// Something of which more accepts more.
    fn bound<T: PartialOrd + Debug>(&mut self, who: &str, setting: &str, [was, now]: [T; 2]) {
        let change = match was.partial_cmp(&now) {
            Some(std::cmp::Ordering::Less) => Change::Looser,
            Some(std::cmp::Ordering::Greater) => Change::Tighter,
            Some(std::cmp::Ordering::Equal) | None => return,
        };
        let (was, now) = (format!("{was:?}"), format!("{now:?}"));
        self.add(change, who.into(), setting, [&was, &now]);
    }

    fn issuer(&mut self, old: &IssuerSettings, new: &IssuerSettings) {
        let who = tokens_of(new);
        let both = [old, new];
        let setting = |key: &str| format!("access_tokens.{key}");
        let audiences = both.map(|issuer| issuer.audiences.clone());
        self.set(&who, &setting("audience"), &audiences);
        let algorithms = both.map(|issuer| texts(&issuer.algorithms));
        self.set(&who, &setting("algorithms"), &algorithms);
        let keys = both.map(|issuer| format!("{:?}", issuer.jwks));
        if keys[0] != keys[1] {
            // Whoever holds the keys behind it makes tokens.
            self.add(
                Change::Looser,
                who.clone(),
                &setting("jwks"),
                [&keys[0], &keys[1]],
            );
        }
        let any_type = both.map(|issuer| issuer.token_type == TokenType::Any);
        self.flag(
            &format!("{who} of any type"),
            &setting("token_type"),
            any_type,
        );
        let unrevoked = both.map(|issuer| issuer.revocation == IssuerRevocation::None);
        self.flag(
            &format!("{who} that were revoked"),
            &setting("revocation"),
            unrevoked,
        );
        self.bound(
            &who,
            &setting("clock_skew"),
            both.map(|issuer| issuer.clock_skew),
        );
        self.bound(
            &who,
            &setting("max_lifetime"),
            both.map(|issuer| issuer.max_lifetime),
        );
    }
}
