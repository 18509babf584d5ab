//! x
#[test]
fn probe() {
    println!("{:#}", portcullis::config::schema());
    match portcullis::config::Config::load(std::path::Path::new("gateway.yaml")) {
        Ok(c) => println!("{c:#?}"),
        Err(e) => println!("{e}"),
    }
}
