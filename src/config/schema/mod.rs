//! The JSON Schema of `gateway.yaml`, from which editors complete and explain.
//!
//! Not here: reading; nothing is deserialized into these shapes. They say once more what the
//! readers know, with a sentence for people; `tests/config.rs` holds both to the same keys and the
//! same defaults, and holds docs/configuration.md and the example to these.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

mod redis;
mod shapes;
mod values;

use shapes::Gateway;

/// The JSON Schema (draft 2020-12) of `gateway.yaml`.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(WithoutNull);
    let schema = settings.into_generator().into_root_schema_for::<Gateway>();
    schema.to_value()
}

/// `Option` here means that the key may be left out, not that it may be null.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                only.into_iter().for_each(|(key, value)| {
                    schema.insert(key, value);
                });
            }
        }
        transform_subschemas(self, schema);
    }
}
