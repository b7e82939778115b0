//! JSON objects that are objects. What serde derives reads a list as a struct as well, field by field in
//! their order: a spelling that no document describes, and that means another thing once a field is added.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A `T` that came as a JSON object, never as a list.
#[derive(Debug)]
pub struct Object<T>(pub T);

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        left: u8,
        #[serde(default)]
        right: u8,
    }

    #[test]
    fn an_object_is_read_and_a_list_of_its_fields_is_not() {
        let read = |text: &str| serde_json::from_str::<Object<Pair>>(text).map(|Object(pair)| pair);
        assert_eq!(read(r#"{"left": 1}"#).expect("an object"), Pair { left: 1, right: 0 });
        for text in ["[1, 2]", "[]", "1", "null", r#"{"left": 1, "up": 2}"#, "{}"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Pair>("[1, 2]").is_ok(), "serde has mended it: this can go");
    }
}
