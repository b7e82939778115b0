//! Path and query as clients spell them in what they sign. Each list begins with the spelling of the
//! rule and has the others that clients are known to use, where they differ from it:
//!
//! - a path that was encoded before it was signed, and so is encoded twice (Java, Go);
//! - `+` in a query, a space to some and a plus to others;
//! - names of a query in lower case (Go);
//! - values of one name in the order they were sent (Java).
//!
//! A request changed on its way can differ from the signed one in these respects and no other. A
//! surface decodes a path once, and no name in it has a `%`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const RESERVED_IN_PATH: AsciiSet = RESERVED.remove(b'/');

/// Spellings of a path, each with a `/` at its end.
pub fn paths(path: &str) -> Vec<String> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let mut spellings = vec![spell_path(&decoded)];
    if path.contains('%') {
        add(&mut spellings, spell_path(path.as_bytes()));
    }
    spellings
}

fn spell_path(path: &[u8]) -> String {
    let mut spelt = percent_encode(path, &RESERVED_IN_PATH).to_string();
    if !spelt.ends_with('/') {
        spelt.push('/');
    }
    spelt
}

/// Spellings of a query: `name=value` pairs joined by `&`.
pub fn queries(query: &str) -> Vec<String> {
    let mut spellings = Vec::with_capacity(1);
    for plus in [b' ', b'+'] {
        let pairs = pairs(query, plus);
        spell_orders(&mut spellings, pairs.clone());
        let lowered = pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        spell_orders(&mut spellings, lowered.collect());
    }
    spellings
}

type Pair = (Vec<u8>, Vec<u8>);

fn pairs(query: &str, plus: u8) -> Vec<Pair> {
    let decode = |text: &str| -> Vec<u8> {
        let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { plus } else { byte }).collect();
        percent_encoding::percent_decode(&bytes).collect()
    };
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(n, v)| (decode(n), decode(v)))
        .collect()
}

fn spell_orders(spellings: &mut Vec<String>, mut pairs: Vec<Pair>) {
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let as_sent = spell_query(&pairs);
    pairs.sort_unstable();
    add(spellings, spell_query(&pairs));
    add(spellings, as_sent);
}

fn spell_query(pairs: &[Pair]) -> String {
    let encode = |bytes| percent_encode(bytes, &RESERVED);
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn add(spellings: &mut Vec<String>, spelling: String) {
    if !spellings.contains(&spelling) {
        spellings.push(spelling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_and_encoded_anew_or_encoded_as_it_came() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("plain", "/v2/manage/repos", &["/v2/manage/repos/"]),
            ("a slash at the end", "/v2/", &["/v2/"]),
            ("the root", "/", &["/"]),
            ("nothing", "", &["/"]),
            ("a raw dollar", "/a$b", &["/a%24b/"]),
            ("an encoded dollar", "/a%24b", &["/a%24b/", "/a%2524b/"]),
            ("an encoded slash", "/a%2fb", &["/a/b/", "/a%252fb/"]),
            ("kept characters", "/-_.~", &["/-_.~/"]),
            ("not an escape", "/%zz%", &["/%25zz%25/"]),
        ];
        for (name, path, expected) in cases {
            assert_eq!(paths(path), expected, "{name}");
        }
    }

    #[test]
    fn a_query_is_sorted_and_spelt_in_every_way_that_clients_do() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("none", "", &[""]),
            ("one", "a=1", &["a=1"]),
            ("by name, then value", "b=1&a=2&a=1", &["a=1&a=2&b=1", "a=2&a=1&b=1"]),
            ("no value", "flag&a=", &["a=&flag="]),
            ("empty pieces", "&&a=1&", &["a=1"]),
            ("encoded", "f=a%3A%3Ab%7c%20", &["f=a%3A%3Ab%7C%20"]),
            ("a plus", "f=a+b", &["f=a%20b", "f=a%2Bb"]),
            ("names in upper case", "B=1&a=2", &["B=1&a=2", "a=2&B=1", "a=2&b=1"]),
            ("a value with an equals sign", "a=b=c", &["a=b%3Dc"]),
        ];
        for (name, query, expected) in cases {
            let found = queries(query);
            for spelling in &found {
                assert!(expected.contains(&spelling.as_str()), "{name}: {spelling}");
            }
            assert_eq!(found.first().map(String::as_str), expected.first().copied(), "{name}");
        }
    }
}
