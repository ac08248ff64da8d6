//! Encodings by hand, each wrong in one way.

use fleet_proto::digest::Digest;
use fleet_proto::tree::ENTRIES_MAX;

pub fn file_of(bytes: &[u8], more: &str) -> String {
    format!(
        r#"{{"file":{{"digest":"{}","bytes":{}{more}}}}}"#,
        Digest::of(bytes),
        bytes.len()
    )
}

/// An encoding by hand, with the entries as they are given.
pub fn encoding(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<String> = entries
        .iter()
        .map(|(path, entry)| format!("{}:{entry}", serde_json::to_string(path).unwrap()))
        .collect();
    format!("{{{}}}", entries.join(",")).into_bytes()
}

pub fn link(target: &str) -> String {
    format!(
        r#"{{"link":{{"target":{}}}}}"#,
        serde_json::to_string(target).unwrap()
    )
}

pub const ONE: &[u8] = b"one more";

/// What is wrong with it, its encoding, and what is said.
pub fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let file = file_of(ONE, "");
    let at = |path: &str| encoding(&[(path, &file)]);
    let to = |path: &str, target: &str| encoding(&[(path, &link(target))]);
    let whole = encoding(&[("a", &file), ("b", &file)]);
    let raw = |text: String| text.into_bytes();
    let huge = format!(
        r#"{{"file":{{"digest":"{}","bytes":{}}}}}"#,
        Digest::of(ONE),
        u64::MAX
    );
    let deep = |count: usize| "d/".repeat(count) + "x";
    let mut million = raw("{".to_owned());
    for number in 0..1_000_000 {
        million.extend_from_slice(format!("\"{number:07}\":\"directory\",").as_bytes());
    }
    let unlisted: Vec<String> = (0..ENTRIES_MAX / 50)
        .map(|number| format!("\"{number:05}/{}\":\"directory\"", deep(60)))
        .collect();
    vec![
        ("up-first", at("../x"), "path `../x` has a part `..`"),
        (
            "up-in-the-middle",
            at("a/../../x"),
            "path `a/../../x` has a part `..`",
        ),
        ("up-at-the-end", at("a/.."), "path `a/..` has a part `..`"),
        ("up-alone", at(".."), "path `..` has a part `..`"),
        ("absolute", at("/tmp/x"), "path `/tmp/x` is absolute"),
        ("empty-path", at(""), "path `` is empty"),
        ("empty-part", at("a//x"), "path `a//x` has an empty part"),
        ("empty-last-part", at("a/"), "path `a/` has an empty part"),
        ("dot-part", at("a/./x"), "path `a/./x` has a part `.`"),
        ("nul", at("a\0x"), "path `a\\u{0}x` holds a control character"),
        ("newline", at("a\nx"), "path `a\\nx` holds a control character"),
        ("escape-code", at("\u{1b}[2Jx"), "holds a control character"),
        (
            "c1-control",
            at("a\u{9b}x"),
            "path `a\\u{9b}x` holds a control character",
        ),
        (
            "no-text",
            raw(format!("{{\"\u{0}a\":{file}}}")),
            "the tree is malformed: ",
        ),
        (
            "half-a-letter",
            b"{\"a\xff\":\"directory\"}".to_vec(),
            "the tree is malformed: ",
        ),
        (
            "half-a-pair",
            raw(format!("{{\"\\ud800\":{file}}}")),
            "the tree is malformed: ",
        ),
        ("link-absolute", to("a", "/etc"), "link `a` to `/etc` is absolute"),
        ("link-up", to("a", ".."), "link `a` to `..` leaves the directory"),
        ("link-far-up", to("d/a", "../../outside"), "leaves the directory"),
        (
            "link-up-behind-a-name",
            to("a", "b/../../x"),
            "has `..` behind a name",
        ),
        ("link-to-nothing", to("a", ""), "has an empty or overlong target"),
        (
            "link-overlong",
            to("a", &"x".repeat(1025)),
            "has an empty or overlong target",
        ),
        ("link-with-nul", to("a", "b\0c"), "holds a control character"),
        // `a` is the root, `a/..` would be above it: no `..` behind a name adds up.
        (
            "links-in-a-chain",
            encoding(&[
                ("d/a", &link("..")),
                ("d/b", &link("a/../..")),
                ("d/c", &link("b/outside")),
            ]),
            "link `d/b` to `a/../..` has `..` behind a name",
        ),
        (
            "beneath-a-link",
            encoding(&[("a", &link("d")), ("a/x", &file), ("d", r#""directory""#)]),
            "`a/x` lies beneath `a`, which is not a directory",
        ),
        (
            "far-beneath-a-link",
            encoding(&[("a", &link("d")), ("a/b/c/x", &file)]),
            "`a/b/c/x` lies beneath `a`, which is not a directory",
        ),
        (
            "beneath-a-file",
            encoding(&[("a", &file), ("a/x", &file)]),
            "`a/x` lies beneath `a`, which is not a directory",
        ),
        (
            "hard-link",
            encoding(&[("a", r#"{"hard-link":{"target":"b"}}"#)]),
            "unknown variant `hard-link`",
        ),
        (
            "device",
            encoding(&[("a", r#"{"device":{"major":8,"minor":0}}"#)]),
            "unknown variant `device`",
        ),
        ("fifo", encoding(&[("a", r#""fifo""#)]), "unknown variant `fifo`"),
        (
            "socket",
            encoding(&[("a", r#""socket""#)]),
            "unknown variant `socket`",
        ),
        (
            "setuid",
            encoding(&[("a", &file_of(ONE, r#","setuid":true"#))]),
            "unknown field `setuid`",
        ),
        (
            "mode",
            encoding(&[("a", &file_of(ONE, r#","mode":2541"#))]),
            "unknown field `mode`",
        ),
        (
            "owner",
            encoding(&[("a", &file_of(ONE, r#","uid":0"#))]),
            "unknown field `uid`",
        ),
        (
            "attribute",
            encoding(&[("a", &file_of(ONE, r#","xattr":{}"#))]),
            "unknown field `xattr`",
        ),
        (
            "link-with-content",
            encoding(&[("a", r#"{"link":{"target":"b","bytes":1}}"#)]),
            "unknown field `bytes`",
        ),
        (
            "two-kinds",
            encoding(&[("a", &format!("{{\"link\":{{\"target\":\"b\"}},{}", &file[1..]))]),
            "the tree is malformed: ",
        ),
        (
            "twice",
            encoding(&[("a", &file), ("a", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "twice-as-two-things",
            encoding(&[("a", r#""directory""#), ("a", &link("d")), ("a/x", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "out-of-order",
            encoding(&[("b", &file), ("a", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "size-twice",
            encoding(&[("a", &file_of(ONE, r#","bytes":3"#))]),
            "duplicate field `bytes`",
        ),
        (
            "overlong-name",
            at(&"n".repeat(256)),
            "has a part longer than 255 bytes",
        ),
        (
            "overlong-path",
            at(&"nnnn/".repeat(205)),
            "is longer than 1024 bytes",
        ),
        ("too-deep", at(&deep(64)), "is deeper than 64 directories"),
        ("a-million-entries", million, "it has more than 500000 entries"),
        (
            "a-million-directories-above",
            raw(format!("{{{}}}", unlisted.join(","))),
            "it has more than 500000 entries, the directories above them included",
        ),
        (
            "sizes-that-overflow",
            encoding(&[("a", &huge), ("b", &huge)]),
            "its files add up to more bytes than can be counted",
        ),
        (
            "a-size-that-is-none",
            encoding(&[("a", &file.replace(&format!(":{}", ONE.len()), ":-1"))]),
            "the tree is malformed: ",
        ),
        (
            "a-digest-that-is-a-path",
            encoding(&[("a", r#"{"file":{"digest":"../../../../outside/x","bytes":6}}"#)]),
            "is not a digest",
        ),
        (
            "other-sizes-than-signed",
            encoding(&[("a", &file)]),
            "they are not as many as the manifest says",
        ),
        ("empty", raw(String::new()), "the tree is malformed: EOF"),
        (
            "truncated",
            whole[..whole.len() - 1].to_vec(),
            "the tree is malformed: EOF",
        ),
        (
            "garbage-behind",
            [&whole[..], b"x"].concat(),
            "trailing characters",
        ),
        (
            "blanks-behind",
            [&whole[..], b"\n"].concat(),
            "written in another way than its own",
        ),
        (
            "another-tree-behind",
            [&whole[..], &whole[..]].concat(),
            "trailing characters",
        ),
        (
            "blanks-within",
            raw(format!("{{ \"a\":{file}}}")),
            "written in another way than its own",
        ),
        (
            "escaped-for-nothing",
            raw(format!("{{\"\\u0061\":{file}}}")),
            "written in another way than its own",
        ),
        ("a-list", b"[]".to_vec(), "expected a map of paths in order"),
        (
            "nested-without-end",
            vec![b'['; 1 << 20],
            "the tree is malformed: ",
        ),
        ("not-json", vec![0; 4096], "the tree is malformed: "),
    ]
}
