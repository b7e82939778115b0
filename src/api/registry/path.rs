//! Paths below `/v2/`. Repository names contain slashes and may contain any of the words used here
//! (`a/blobs/uploads` is a repository), so that a path is read from its end, where the words are.
//!
//! P1: a path has one reading: the last two parts decide, three where they are `uploads/<id>`.
//! P2: one slash at the end more or less makes no difference.

/// The shapes of paths. In their documentation, `<name>` is a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/blobs/uploads/`
    Uploads,
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
}

#[cfg(test)]
impl Shape {
    /// The path with its parts in braces.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Base => "/v2/",
            Self::Catalog => "/v2/_catalog",
            Self::Tags => "/v2/{name}/tags/list",
            Self::Manifest => "/v2/{name}/manifests/{reference}",
            Self::Blob => "/v2/{name}/blobs/{digest}",
            Self::Uploads => "/v2/{name}/blobs/uploads/",
            Self::Upload => "/v2/{name}/blobs/uploads/{session}",
            Self::Referrers => "/v2/{name}/referrers/{digest}",
        }
    }
}

/// A path taken apart; nothing in it is checked yet but the words between the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Which it is.
    pub shape: Shape,
    /// The repository, as written; empty where the shape has none.
    pub name: &'a str,
    /// The reference, digest or id; empty where the shape has none.
    pub tail: &'a str,
}

impl<'a> Path<'a> {
    /// Takes a decoded path apart; `None` if it is none of the shapes.
    pub fn parse(path: &'a str) -> Option<Self> {
        let below = path.strip_prefix("/v2")?;
        if matches!(below, "" | "/") {
            return Some(Self { shape: Shape::Base, name: "", tail: "" });
        }
        let below = below.strip_prefix('/')?;
        let below = below.strip_suffix('/').unwrap_or(below);
        if below == "_catalog" {
            return Some(Self { shape: Shape::Catalog, name: "", tail: "" });
        }
        let (front, last) = below.rsplit_once('/')?;
        let (name, word) = front.rsplit_once('/')?;
        let (shape, name, tail) = match (word, last) {
            ("blobs", "uploads") => (Shape::Uploads, name, ""),
            ("blobs", digest) => (Shape::Blob, name, digest),
            ("manifests", reference) => (Shape::Manifest, name, reference),
            ("tags", "list") => (Shape::Tags, name, ""),
            ("referrers", digest) => (Shape::Referrers, name, digest),
            ("uploads", id) => (Shape::Upload, name.strip_suffix("/blobs")?, id),
            _ => return None,
        };
        Some(Self { shape, name, tail })
    }
}

/// The path of a shape, with a name as its client wrote it.
pub fn blob(name: &str, digest: impl std::fmt::Display) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

/// See [`blob`].
pub fn upload(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// See [`blob`].
pub fn manifest(name: &str, digest: impl std::fmt::Display) -> String {
    format!("/v2/{name}/manifests/{digest}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_read_from_its_end() {
        let cases = [
            ("/v2", Some((Shape::Base, "", ""))),
            ("/v2/", Some((Shape::Base, "", ""))),
            ("/v2/_catalog", Some((Shape::Catalog, "", ""))),
            ("/v2/_catalog/", Some((Shape::Catalog, "", ""))),
            ("/v2/nginx/tags/list", Some((Shape::Tags, "nginx", ""))),
            ("/v2/a/b/c/tags/list/", Some((Shape::Tags, "a/b/c", ""))),
            ("/v2/a/b/manifests/v1", Some((Shape::Manifest, "a/b", "v1"))),
            ("/v2/a/b/blobs/sha256:x", Some((Shape::Blob, "a/b", "sha256:x"))),
            ("/v2/a/b/blobs/uploads", Some((Shape::Uploads, "a/b", ""))),
            ("/v2/a/b/blobs/uploads/", Some((Shape::Uploads, "a/b", ""))),
            ("/v2/a/b/blobs/uploads/0f", Some((Shape::Upload, "a/b", "0f"))),
            ("/v2/a/b/referrers/sha256:x", Some((Shape::Referrers, "a/b", "sha256:x"))),
            ("/v2/a/blobs/uploads/blobs/uploads/", Some((Shape::Uploads, "a/blobs/uploads", ""))),
            ("/v2/a/blobs/blobs/uploads/0f", Some((Shape::Upload, "a/blobs", "0f"))),
            ("/v2/a/blobs/uploads/manifests/v1", Some((Shape::Manifest, "a/blobs/uploads", "v1"))),
            ("/v2/a/tags/list/tags/list", Some((Shape::Tags, "a/tags/list", ""))),
            ("/v2/a/tags/manifests/list", Some((Shape::Manifest, "a/tags", "list"))),
            ("/v2/manifests/manifests/manifests", Some((Shape::Manifest, "manifests", "manifests"))),
            ("/v2//manifests/v1", Some((Shape::Manifest, "", "v1"))),
            ("/", None),
            ("/v1/", None),
            ("/v2x", None),
            ("/v2//", None),
            ("/v2/a", None),
            ("/v2/a/b", None),
            ("/v2/manifests/v1", None),
            ("/v2/a/_catalog", None),
            ("/v2/a/tags/lists", None),
            ("/v2/a/uploads/0f", None),
            ("/v2/blobs/uploads/0f", None),
        ];
        for (path, expected) in cases {
            let expected = expected.map(|(shape, name, tail)| Path { shape, name, tail });
            assert_eq!(Path::parse(path), expected, "{path}");
        }
    }

    const NAME: &str = "([a-z0-9]+|blobs|uploads|manifests|tags|list|referrers|v2)([._-][a-z0-9]+)?(/([a-z0-9]{1,5}|blobs|uploads|manifests|tags|list|referrers|v2)){0,4}";

    proptest! {
        #[test]
        fn every_name_comes_back_out_of_every_shape(name in NAME, id in "[0-9a-f]{32}", slash in "/?") {
            let digest = format!("sha256:{id}{id}");
            let cases = [
                (Shape::Blob, blob(&name, &digest), digest.as_str()),
                (Shape::Upload, upload(&name, &id), &id),
                (Shape::Manifest, manifest(&name, &digest), &digest),
                (Shape::Manifest, manifest(&name, "uploads"), "uploads"),
                (Shape::Uploads, upload(&name, ""), ""),
                (Shape::Tags, format!("/v2/{name}/tags/list"), ""),
                (Shape::Referrers, format!("/v2/{name}/referrers/{digest}"), &digest),
            ];
            for (shape, path, tail) in &cases {
                let path = format!("{}{slash}", path.trim_end_matches('/'));
                prop_assert_eq!(Path::parse(&path), Some(Path { shape: *shape, name: &name, tail }), "{}", path);
            }
        }

        #[test]
        fn no_path_makes_the_parser_panic(path in "(/v2)?(/(blobs|uploads|manifests|tags|list|referrers|_catalog|.{0,6})){0,6}/?") {
            let _ = Path::parse(&path);
        }
    }
}
