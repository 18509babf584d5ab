use crate::load::report::Escaped;

#[test]
fn text_cannot_become_markup() {
    let escaped = Escaped("<b a=\"1\" b='2'>&</b>").to_string();
    assert_eq!(
        escaped,
        "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;&lt;/b&gt;"
    );
}
