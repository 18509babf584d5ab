use portcullis::secret::Secret;

use crate::load::arguments::HeaderForm;
use crate::load::credentials::Credentials;

#[test]
fn credentials_rotate_and_do_not_show() {
    let secrets = Credentials::lines("one\n\n  two \r\n");
    let credentials = Credentials::new(HeaderForm::Bearer, &secrets).expect("sendable");
    assert_eq!(credentials.at(0).expect("the first"), "Bearer one");
    assert_eq!(credentials.at(3).expect("the second again"), "Bearer two");
    assert!(!format!("{credentials:?}").contains("one"));
    let none = Credentials::new(HeaderForm::XApiKey, &[]).expect("none is fine");
    assert_eq!(none.at(7), None);
}

#[test]
fn a_credential_that_no_header_takes_is_named_by_its_place() {
    let secrets = [Secret::new("fine"), Secret::new("a\nb")];
    let error = Credentials::new(HeaderForm::XApiKey, &secrets).expect_err("a line break");
    assert!(error.to_string().starts_with("credential 2 "), "{error}");
    assert!(Credentials::new(HeaderForm::Bearer, &[Secret::new("")]).is_err());
}
