//! A component's files, by content: what an artifact is made of.
//!
//! A tree is data that was validated on the way in: a path cannot leave the directory
//! it will be laid out in, and nothing lies beneath a link or a file. There are no
//! devices, no owners and no setuid bits in the format, so none can be smuggled in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A whole operating system has fewer files; a bound on memory, not on apps. Directories
/// that are not listed count too: laying the tree out makes them.
pub const ENTRIES_MAX: usize = 500_000;
/// What a tree's encoding may weigh: half a million entries of some 250 bytes.
pub const ENCODED_BYTES_MAX: usize = 128 << 20;
const PATH_BYTES_MAX: usize = 1024;
const PATH_PART_BYTES_MAX: usize = 255;
const PATH_DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("path `{path}` {why}")]
    Path { path: String, why: &'static str },
    #[error("link `{path}` to `{target}` {why}")]
    Link {
        path: String,
        target: String,
        why: &'static str,
    },
    #[error("`{path}` lies beneath `{parent}`, which is not a directory")]
    BeneathFile { path: String, parent: String },
    #[error("it has more than {ENTRIES_MAX} entries, the directories above them included")]
    TooManyEntries,
    #[error("path `{path}` is there twice, or out of order")]
    Order { path: String },
    #[error("its files add up to more bytes than can be counted")]
    TooManyBytes,
    #[error("the tree's encoding weighs {bytes} bytes, the limit is {ENCODED_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("the tree is malformed: {0}")]
    Malformed(String),
    #[error("the tree is written in another way than its own")]
    Foreign,
}

/// A relative path that stays inside.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TreePath {
    /// Of a name that is written in the code: one part, and a plain one.
    pub(crate) fn from_static(name: &'static str) -> Self {
        debug_assert!(!name.contains('/') && !name.starts_with('.') && !name.is_empty());
        Self(name.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories above this path, nearest last, without the root.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl TryFrom<String> for TreePath {
    type Error = TreeError;
    fn try_from(path: String) -> Result<Self, TreeError> {
        let refuse = |why| {
            Err(TreeError::Path {
                path: printable(&path),
                why,
            })
        };
        if path.is_empty() {
            return refuse("is empty");
        }
        if path.len() > PATH_BYTES_MAX {
            return refuse("is longer than 1024 bytes");
        }
        if path.starts_with('/') {
            return refuse("is absolute");
        }
        if path.chars().any(char::is_control) {
            return refuse("holds a control character");
        }
        let mut depth = 0;
        for part in path.split('/') {
            depth += 1;
            match part {
                "" => return refuse("has an empty part"),
                "." => return refuse("has a part `.`"),
                ".." => return refuse("has a part `..`"),
                _ if part.len() > PATH_PART_BYTES_MAX => return refuse("has a part longer than 255 bytes"),
                _ => {}
            }
        }
        if depth > PATH_DEPTH_MAX {
            return refuse("is deeper than 64 directories");
        }
        Ok(Self(path))
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn printable(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    Directory,
    File {
        digest: Digest,
        bytes: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    Link {
        target: String,
    },
}

/// The files of one component on one platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "BTreeMap<TreePath, Entry>")]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
    bytes: u64,
}

impl Tree {
    pub fn new(entries: BTreeMap<TreePath, Entry>) -> Result<Self, TreeError> {
        let mut bytes = 0_u64;
        let mut unlisted = BTreeSet::new();
        for (path, entry) in &entries {
            must_lie_in_directories(path, &entries, &mut unlisted)?;
            if entries.len() + unlisted.len() > ENTRIES_MAX {
                return Err(TreeError::TooManyEntries);
            }
            match entry {
                Entry::File { bytes: more, .. } => {
                    bytes = bytes.checked_add(*more).ok_or(TreeError::TooManyBytes)?;
                }
                Entry::Link { target } => must_stay_inside(path, target)?,
                Entry::Directory => {}
            }
        }
        Ok(Self { entries, bytes })
    }

    pub fn entries(&self) -> &BTreeMap<TreePath, Entry> {
        &self.entries
    }

    /// The sum of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn files(&self) -> impl Iterator<Item = (&TreePath, Digest, u64)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { digest, bytes, .. } => Some((path, *digest, *bytes)),
            _ => None,
        })
    }

    /// The bytes whose digest names the tree: equal trees encode equally.
    pub fn encode(&self) -> Result<Vec<u8>, TreeError> {
        serde_json::to_vec(self).map_err(|error| TreeError::Malformed(error.to_string()))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return Err(TreeError::TooLarge { bytes: bytes.len() });
        }
        let tree: Self =
            serde_json::from_slice(bytes).map_err(|error| TreeError::Malformed(error.to_string()))?;
        // What is signed is a digest of bytes: one tree has one.
        let mut rest = Expected(bytes);
        match serde_json::to_writer(&mut rest, &tree) {
            Ok(()) if rest.0.is_empty() => Ok(tree),
            _ => Err(TreeError::Foreign),
        }
    }
}

/// Takes what is written as long as it is what is expected.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.ok_or_else(|| io::Error::other("something else is written"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

/// Entry by entry: a list that does not end is given up at its limit and not when it is
/// in memory, and nothing that is there twice passes for one.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of paths in order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        while let Some(path) = map.next_key::<TreePath>()? {
            if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
                let path = path.to_string();
                return Err(A::Error::custom(TreeError::Order { path }));
            }
            if entries.len() == ENTRIES_MAX {
                return Err(A::Error::custom(TreeError::TooManyEntries));
            }
            entries.insert(path, map.next_value()?);
        }
        Tree::new(entries).map_err(A::Error::custom)
    }
}

impl From<Tree> for BTreeMap<TreePath, Entry> {
    fn from(tree: Tree) -> Self {
        tree.entries
    }
}

/// A directory need not be listed, but what is listed above a path must be one:
/// whoever lays the tree out never writes through a link. Adds those that are not listed.
fn must_lie_in_directories<'a>(
    path: &'a TreePath,
    entries: &BTreeMap<TreePath, Entry>,
    unlisted: &mut BTreeSet<&'a str>,
) -> Result<(), TreeError> {
    for parent in path.parents() {
        match entries.get(&TreePath(parent.to_owned())) {
            Some(Entry::Directory) => {}
            None => {
                unlisted.insert(parent);
            }
            Some(Entry::File { .. } | Entry::Link { .. }) => {
                return Err(TreeError::BeneathFile {
                    path: path.to_string(),
                    parent: parent.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// `..` may stand only at a link's beginning. The directory that holds the link is a
/// real one, so those steps are counted exactly; behind a name, which may be a link
/// itself, a `..` could lead anywhere.
fn must_stay_inside(path: &TreePath, target: &str) -> Result<(), TreeError> {
    let refuse = |why| {
        Err(TreeError::Link {
            path: path.to_string(),
            target: printable(target),
            why,
        })
    };
    if target.is_empty() || target.len() > PATH_BYTES_MAX {
        return refuse("has an empty or overlong target");
    }
    if target.starts_with('/') {
        return refuse("is absolute");
    }
    if target.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    let mut above = path.parents().count();
    let mut named = false;
    for part in target.split('/') {
        match part {
            ".." if named => return refuse("has `..` behind a name"),
            ".." if above == 0 => return refuse("leaves the directory"),
            ".." => above -= 1,
            "" | "." => {}
            _ => named = true,
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn file() -> Entry {
        Entry::File {
            digest: Digest::of(b"x"),
            bytes: 1,
            executable: false,
        }
    }

    fn link(target: &str) -> Entry {
        Entry::Link {
            target: target.to_owned(),
        }
    }

    fn tree(entries: &[(&str, Entry)]) -> Result<Tree, TreeError> {
        let mut map = BTreeMap::new();
        for (path, entry) in entries {
            map.insert(TreePath::try_from((*path).to_owned())?, entry.clone());
        }
        Tree::new(map)
    }

    #[test]
    fn paths_stay_inside() {
        let long_part = "x".repeat(256);
        let long_path = "x/".repeat(600) + "x";
        let deep = "x/".repeat(64) + "x";
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "./a",
            "a/.",
            "a/",
            "a\0b",
            "a\nb",
            &long_part,
            &long_path,
            &deep,
        ] {
            assert!(tree(&[(bad, file())]).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b/c", "..a", "a..", ".hidden", "ünïcode"] {
            assert!(tree(&[(good, file())]).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        for (path, target) in [
            ("a", "/etc"),
            ("a", ".."),
            ("a/b", "../.."),
            ("a/b", "../../etc"),
            // If `x` were a link to `.`, this would leave.
            ("a", "x/.."),
            ("a", ""),
            ("a", "b\nc"),
        ] {
            assert!(tree(&[(path, link(target))]).is_err(), "{path} -> {target}");
        }
        for (path, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b")] {
            assert!(tree(&[(path, link(target))]).is_ok(), "{path} -> {target}");
        }
    }

    #[test]
    fn nothing_lies_beneath_a_link_or_a_file() {
        assert!(tree(&[("a", link("b")), ("a/c", file())]).is_err());
        assert!(tree(&[("a", file()), ("a/b/c", file())]).is_err());
        assert!(tree(&[("a", Entry::Directory), ("a/c", file())]).is_ok());
    }

    #[test]
    fn trees_read_back_and_encode_equally() {
        let one = tree(&[("b", file()), ("a", link("b"))]).unwrap();
        let other = tree(&[("a", link("b")), ("b", file())]).unwrap();
        assert_eq!(one.encode().unwrap(), other.encode().unwrap());
        assert_eq!(Tree::decode(&one.encode().unwrap()).unwrap(), one);
        assert_eq!(one.bytes(), 1);
    }

    #[test]
    fn decoding_checks_like_building() {
        let evil = br#"{"../x":"directory"}"#;
        assert!(
            Tree::decode(evil)
                .unwrap_err()
                .to_string()
                .contains("has a part `..`")
        );
        let setuid = br#"{"x":{"file":{"digest":"00","bytes":1,"setuid":true}}}"#;
        assert!(Tree::decode(setuid).is_err());
    }

    /// Whatever else would be read as the same tree.
    #[test]
    fn one_tree_has_one_encoding() {
        let whole = r#"{"a":"directory","b":"directory"}"#;
        assert!(Tree::decode(whole.as_bytes()).is_ok());
        for other in [
            r#"{"b":"directory","a":"directory"}"#,
            r#"{"a":"directory","a":"directory","b":"directory"}"#,
            r#"{"\u0061":"directory","b":"directory"}"#,
            r#"{"a":{"directory":null},"b":"directory"}"#,
            r#"{"a":"directory", "b":"directory"}"#,
            "{\"a\":\"directory\",\"b\":\"directory\"}\n",
        ] {
            assert!(Tree::decode(other.as_bytes()).is_err(), "{other}");
        }
        assert!(Tree::decode(b"null").is_err());
    }

    #[test]
    fn directories_that_are_not_listed_count() {
        let deep = "d/".repeat(60);
        let entries: BTreeMap<TreePath, Entry> = (0..ENTRIES_MAX / 60)
            .map(|number| (TreePath(format!("{number}/{deep}x")), Entry::Directory))
            .collect();
        assert_eq!(Tree::new(entries), Err(TreeError::TooManyEntries));
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let huge = Entry::File {
            digest: Digest::of(b"x"),
            bytes: u64::MAX,
            executable: false,
        };
        assert_eq!(
            tree(&[("a", huge.clone()), ("b", huge)]),
            Err(TreeError::TooManyBytes)
        );
    }
}
