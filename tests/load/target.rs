use crate::load::target::{Target, TargetError};

fn refused(url: &str) -> TargetError {
    Target::parse(url, None).expect_err(url)
}

#[test]
fn only_https_urls_without_user_names_are_taken() {
    assert_eq!(refused("http://localhost/v1"), TargetError::NotHttps);
    assert_eq!(refused("ftp://localhost/v1"), TargetError::NotHttps);
    assert_eq!(refused("localhost:8443"), TargetError::Form);
    assert_eq!(refused("/v1/domains"), TargetError::Form);
    assert_eq!(
        refused("https://me:pw@localhost/"),
        TargetError::UserInformation
    );
    assert_eq!(refused("https://a_b..c/"), TargetError::Host);
}

#[test]
fn a_url_gives_its_host_and_path_and_hides_its_query() {
    let target = Target::parse("https://[::1]:8443/v1/x?token=secret", None).expect("a target");
    assert_eq!(target.host(), "::1");
    assert_eq!(target.authority(), "[::1]:8443");
    assert_eq!(target.origin_form(), "/v1/x?token=secret");
    assert_eq!(target.to_string(), "https://[::1]:8443/v1/x?…");
}

#[test]
fn a_url_without_a_path_asks_for_the_root() {
    let target = Target::parse("https://localhost", None).expect("a target");
    assert_eq!(target.origin_form(), "/");
}
