//! Tests of secrets.
use super::*;
use std::os::unix::fs::PermissionsExt;

const LONG: Duration = Duration::from_secs(60);
const VALUE: &str = "hunter2-of-the-test";

fn file(folder: &tempfile::TempDir, text: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

async fn of_command(script: &str, bound: Duration) -> Result<Secret, SecretError> {
    resolve(&SecretRef::Command(vec!["/bin/sh".into(), "-c".into(), script.into()]), bound).await
}

#[tokio::test]
async fn plain_text_is_itself() {
    assert_eq!(value_of(&TextOrSecret::Text("x\n".into()), LONG).await.unwrap().expose(), "x\n");
}

#[tokio::test]
async fn from_the_environment() {
    assert!(resolve(&SecretRef::Env("PATH".into()), LONG).await.unwrap().contains("bin"));
    let error = resolve(&SecretRef::Env("NO_SUCH_VARIABLE_OF_OURS".into()), LONG).await.unwrap_err();
    assert!(error.0.contains("NO_SUCH_VARIABLE_OF_OURS is not set"), "{error}");
}

#[tokio::test]
async fn from_a_private_file() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o400] {
        let path = file(&folder, format!("{VALUE}\n").as_bytes(), mode);
        assert_eq!(resolve(&SecretRef::File(path.clone()), LONG).await.unwrap().expose(), VALUE);
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let path = file(&folder, VALUE.as_bytes(), mode);
        let error = resolve(&SecretRef::File(path), LONG).await.unwrap_err().0;
        assert!(error.contains("chmod 600"), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
        assert!(!error.contains(VALUE), "{error}");
    }
}

#[tokio::test]
async fn only_regular_files_of_sane_size() {
    let folder = tempfile::tempdir().unwrap();
    let error = resolve(&SecretRef::File(folder.path().into()), LONG).await.unwrap_err().0;
    assert!(error.contains("not a regular file"), "{error}");

    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let error = resolve(&SecretRef::File(fifo), LONG).await.unwrap_err().0;
    assert!(error.contains("not a regular file"), "{error}");

    let error = resolve(&SecretRef::File(folder.path().join("none")), LONG).await.unwrap_err().0;
    assert!(error.contains("No such file"), "{error}");

    for (text, says) in [
        (vec![b'a'; MAX_SECRET_BYTES + 1], "longer than 64 KiB"),
        (b"\n".to_vec(), "empty"),
        (vec![0xFF], "UTF-8"),
    ] {
        let error = resolve(&SecretRef::File(file(&folder, &text, 0o600)), LONG).await.unwrap_err().0;
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn from_the_credentials_of_a_service() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, VALUE.as_bytes(), 0o440);
    let here = Some(folder.path().as_os_str().to_owned());
    assert_eq!(from_credential(here.clone(), "secret", LONG).await.unwrap().expose(), VALUE);
    for name in ["", "..", "../secret", "/etc/passwd"] {
        let error = from_credential(here.clone(), name, LONG).await.unwrap_err().0;
        assert!(error.contains("can't name a credential"), "{error}");
    }
    let error = from_credential(None, "secret", LONG).await.unwrap_err().0;
    assert!(error.contains("LoadCredential=secret:PATH"), "{error}");
}

#[tokio::test]
async fn from_a_program() {
    assert_eq!(of_command(&format!("echo {VALUE}"), LONG).await.unwrap().expose(), VALUE);
    assert_eq!(of_command("printf 'a\\n\\n'", LONG).await.unwrap().expose(), "a\n");
}

#[tokio::test]
async fn a_program_that_fails_does_not_tell_the_secret() {
    let script = format!("echo {VALUE}; echo {VALUE} >&2; exit 7");
    let error = of_command(&script, LONG).await.unwrap_err().0;
    assert!(error.contains("exit status 7"), "{error}");
    assert!(!error.contains(VALUE), "{error}");

    let error =
        of_command(&format!("echo {VALUE}; sleep 600"), Duration::from_millis(300)).await.unwrap_err().0;
    assert!(error.contains("did not end within 300ms"), "{error}");
    assert!(!error.contains(VALUE), "{error}");

    let error = of_command("head -c 70000 /dev/zero", LONG).await.unwrap_err().0;
    assert!(error.contains("longer than 64 KiB"), "{error}");

    let error = of_command("true", LONG).await.unwrap_err().0;
    assert!(error.contains("is empty"), "{error}");
}

#[tokio::test]
async fn what_a_configuration_refers_to_is_known_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let open = file(&folder, b"canary-of-an-open-file\n", 0o644);
    let secrets = [
        SecretRef::Env("NO_SUCH_VARIABLE_5521".into()),
        SecretRef::File(folder.path().join("none")),
        SecretRef::File(open),
        SecretRef::Command(vec!["sh".into(), "-c".into(), format!("touch {}/ran", folder.path().display())]),
    ];
    learn(&secrets).await;
    assert_eq!(redact("<canary-of-an-open-file>"), format!("<{REDACTED}>"));
    assert!(!folder.path().join("ran").exists(), "programs are not run for it");
}
