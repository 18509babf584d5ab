//! The seed page's own commands, as they are: only the real values are filled in. Where the hosts
//! are and which CA is trusted, curl reads from its own configuration file.

use std::fs;

use serde_json::Value;

use super::paste::{Pasted, STEP_1, Terminal, UNAUTHORIZED, reached_domains};
use super::text;

/// Every command, the authorization request and the two errors, in the page's order and bytes.
const PAGE: &str = include_str!("../data/seed-page.txt");

/// The page, with a terminal to paste into.
struct Page(Terminal);

impl Page {
    fn open() -> Page {
        let terminal = Terminal::open();
        let folder = terminal.folder.path();
        fs::create_dir(folder.join("home")).expect("made");
        let configured = folder.join("home/.curlrc");
        fs::copy(folder.join(".portcullis/curl.conf"), configured).expect("copied");
        Page(terminal)
    }

    fn paste(&self, command: &str) -> Pasted {
        let pasted = self
            .0
            .paste(&format!("export CURL_HOME=$PWD/home\n{command}"));
        assert_eq!(pasted.code, 0, "{pasted:?}");
        pasted
    }

    /// A value of the ready file.
    fn told(&self, pointer: &str) -> String {
        text(self.0.dev.ready.pointer(pointer).expect("told"))
    }
}

/// A block of the page with real values in the place of its own.
fn filled(block: usize, values: &[(&str, &str)]) -> String {
    let block = PAGE.trim_end().split("\n\n").nth(block).expect("a block");
    values.iter().fold(block.to_owned(), |text, (name, value)| {
        assert!(text.contains(name), "{name} is on the page");
        text.replace(name, value)
    })
}

#[test]
fn the_page_s_own_commands_work_as_written() {
    let page = Page::open();
    let key = page.told("/keys/full/key");
    for block in [0, 1] {
        let with_key = filled(block, &[("osir_live_your_api_key", &key)]);
        reached_domains(&page.paste(&with_key).json());
        // The literal of the page is no key.
        assert_eq!(page.paste(&filled(block, &[])).stdout.trim(), UNAUTHORIZED);
    }

    let (id, secret) = (
        page.told("/client/client_id"),
        page.told("/client/client_secret"),
    );
    let client = [("your_client_id", &*id), ("your_client_secret", &*secret)];
    // A browser opens it as one line and escapes the space.
    let url = filled(2, &client[..1])
        .replace('\n', "")
        .replace(' ', "%20");
    assert_eq!(url, page.told("/authorize_url"));
    let log_in = page.0.block(STEP_1);
    assert!(log_in.contains(&format!("\"{url}\"")), "{log_in}");
    let at = page.paste(log_in).stdout;
    let code = at
        .split("code=")
        .nth(1)
        .and_then(|rest| rest.split('&').next());

    let code = ("authorization_code_here", code.expect("a code"));
    let tokens = page.paste(&filled(3, &[code, client[0], client[1]])).json();
    assert_eq!(tokens["expires_in"], 3600, "{tokens}");
    let access = text(&tokens["access_token"]);
    let scopes = |access: &str| {
        let with_token = filled(4, &[("access_token_here", access)]);
        reached_domains(&page.paste(&with_token).json())
    };
    assert_eq!(scopes(&access), "domains:read domains:write");

    let refresh = text(&tokens["refresh_token"]);
    let refresh = [("your_refresh_token", &*refresh), client[0], client[1]];
    let again = page.paste(&filled(5, &refresh)).json();
    assert_ne!(again["access_token"], tokens["access_token"]);
    assert_eq!(
        scopes(&text(&again["access_token"])),
        "domains:read domains:write"
    );
    page.0.dev.stop();
}

#[test]
fn the_page_s_errors_are_what_clients_get() {
    let page = Page::open();
    let error = |block| -> Value { serde_json::from_str(&filled(block, &[])).expect("JSON") };
    let unauthorized = page.paste("curl https://api.osir.com/v1/domains");
    assert_eq!(unauthorized.json(), error(6));
    let read_only = page.told("/keys/read_only/key");
    let forbidden =
        format!("curl -X DELETE https://api.osir.com/v1/domains/1 -H \"X-API-Key: {read_only}\"");
    assert_eq!(page.paste(&forbidden).json(), error(7));
    page.0.dev.stop();
}
