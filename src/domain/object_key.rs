//! Valid keys for objects in S3-compatible storage. Stricter than the storage itself: keys that a URL can't
//! represent, or that look like a path out of a folder, are rejected.

/// Maximum length of a key, in bytes (Amazon S3 User Guide, "Naming Amazon S3 objects").
const MAX_KEY_BYTES: usize = 1024;

/// Checks an object key, as slash-separated segments. The error says what is wrong.
pub fn check_object_key(key: &str) -> Result<(), String> {
    let segments = || key.split('/');
    let why = if key.is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        return Err(format!("the key has {} bytes, and {MAX_KEY_BYTES} are the most", key.len()));
    } else if key.starts_with('/') {
        "begins with a slash"
    } else if key.ends_with('/') {
        "ends with a slash"
    } else if segments().any(str::is_empty) {
        "has two slashes in a row"
    } else if segments().any(|segment| matches!(segment, "." | "..")) {
        "has a segment `.` or `..`"
    } else if key.chars().any(char::is_control) {
        "has control characters"
    } else if key.contains('\\') {
        "has a backslash"
    } else {
        return Ok(());
    };
    Err(format!("the key {key:?} {why}"))
}

#[cfg(test)]
mod tests {
    //! Tests of keys, and of what is no key.
    use super::*;

    #[test]
    fn names_what_is_wrong() {
        for good in ["a", "a/b.jsonl.zst", "日本/ü é", "..a/b..", "%2e%2e/x", "a b+c?d#e", "~"] {
            assert_eq!(check_object_key(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "is empty"),
            ("/a", "begins with a slash"),
            ("a/", "ends with a slash"),
            ("a//b", "two slashes"),
            ("../a", "`..`"),
            ("a/../b", "`..`"),
            ("a/.", "`..`"),
            ("a\nb", "control"),
            ("a\\..\\b", "backslash"),
        ] {
            let error = check_object_key(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(check_object_key(&"é".repeat(512)).is_ok());
        assert!(check_object_key(&"é".repeat(513)).unwrap_err().contains("1026 bytes"));
    }
}
