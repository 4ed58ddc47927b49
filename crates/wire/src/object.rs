//! JSON objects and nothing else: serde would also read a struct from an array, and a map with a name given twice.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Reads a body: one JSON object with nothing but white space behind it.
pub fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Object<T>>(body).map(|object| object.0)
}

/// A `T` that was written as an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A member that is an object, `null` or absent.
pub(crate) fn optional<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(d)?.map(|object| object.0))
}

/// A member that is an array of objects, `null` or absent.
pub(crate) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Vec<Object<T>>>::deserialize(d)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

/// `tags`: an object of texts in which no name stands twice, `null` or absent.
pub(crate) fn tags<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    struct Tags(BTreeMap<String, String>);
    impl<'de> Deserialize<'de> for Tags {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Pairs;
            impl<'de> Visitor<'de> for Pairs {
                type Value = Tags;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object of texts")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                    let mut tags = BTreeMap::new();
                    while let Some((name, value)) = map.next_entry()? {
                        if tags.insert(name, value).is_some() {
                            return Err(A::Error::custom("a tag stands twice"));
                        }
                    }
                    Ok(Tags(tags))
                }
            }
            deserializer.deserialize_map(Pairs)
        }
    }
    Ok(Option::<Tags>::deserialize(d)?.map(|tags| tags.0))
}
