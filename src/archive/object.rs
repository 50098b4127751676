//! An object: the rows of one chunk as `jsonl.zst`, and its manifest. The file begins with a skippable zstd
//! frame that repeats the essential part of the manifest, so that an object describes itself if its manifest
//! is lost; every zstd program skips it and outputs plain lines.
use super::row::{self, Cell, Column, Kind, Row};
use super::trouble::failed;
use crate::domain::{TimeUnit, ToolError, hex};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// Format identifier in manifests.
pub(super) const FORMAT: &str = "bgagent-archive/1";
/// Magic number of the skippable frame; see "Skippable Frames" in RFC 8878.
const SKIPPABLE_FRAME_MAGIC: u32 = 0x184D_2A5B;
/// Maximum size of an object, unpacked. A chunk ends at a small part of that (`CHUNK_BYTES`), so only a
/// single enormous row could exceed it; such a row is not archived. The limit also protects against a
/// decompression bomb, put there by anyone who can write to the archive.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;
/// Maximum size of a stored object or manifest: incompressible data grows a little.
pub(super) const MAX_STORED_BYTES: usize = 272 << 20;
/// Maximum window of the decoder, as a power of two: what zstd needs at its highest level.
const MAX_WINDOW_LOG: u32 = 27;

/// Describes the table that the rows belong to, and how they are to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    /// Format of manifest and object.
    pub(super) format: String,
    pub(super) kind: Kind,
    /// Address of the database, without user and password.
    pub(super) source: String,
    pub(super) table: String,
    /// The table's columns, in order.
    pub(super) columns: Vec<Column>,
    /// Key columns, in order.
    pub(super) key: Vec<String>,
    /// The age column.
    pub(super) column: String,
    /// Unit of numbers in the age column.
    pub(super) unit: TimeUnit,
}

impl About {
    /// Returns the positions of the key columns.
    pub(super) fn key_places(&self) -> Vec<usize> {
        let place = |name: &String| self.columns.iter().position(|column| column.name == *name);
        self.key.iter().filter_map(place).collect()
    }

    /// Parses a line into a row.
    pub(super) fn row(&self, line: &[u8]) -> Result<Row, ToolError> {
        let cells = row::read_line(self.kind, &self.columns, line)?;
        Ok(self.row_of(&cells, line.to_vec()))
    }

    /// Returns the key alone as a line, for records that need not contain the row's values.
    pub(super) fn key_line(&self, row: &Row) -> String {
        let mut line = Vec::new();
        row::write_line(self.kind, &self.key_columns(), row.key.iter(), &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Returns a row of which only the key is known.
    pub(super) fn key_row(&self, line: &str) -> Result<Row, ToolError> {
        let key = row::read_line(self.kind, &self.key_columns(), line.as_bytes())?;
        Ok(Row { key, line: Vec::new(), at: None })
    }

    fn key_columns(&self) -> Vec<Column> {
        self.key_places().into_iter().map(|at| self.columns[at].clone()).collect()
    }

    /// Builds a row from its values.
    pub(super) fn row_of(&self, cells: &[Cell], line: Vec<u8>) -> Row {
        let key = self.key_places().into_iter().map(|at| cells[at].clone()).collect();
        let age = self.columns.iter().position(|column| column.name == self.column);
        Row { key, line, at: age.and_then(|at| row::instant(&cells[at], self.unit)) }
    }
}

/// The metadata of an object, stored beside it as `NAME.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) object: String,
    pub(super) rows: u64,
    /// Bytes of the lines, unpacked.
    pub(super) bytes: u64,
    /// Bytes of the object, compressed.
    pub(super) stored: u64,
    /// SHA-256 of the object, in hex.
    pub(super) sha256: String,
    /// SHA-256 of its lines, in hex.
    pub(super) content_sha256: String,
    pub(super) first: Vec<String>,
    pub(super) last: Vec<String>,
    /// The oldest instant, if any row has one.
    pub(super) oldest: Option<Timestamp>,
    /// The newest instant, if any row has one.
    pub(super) newest: Option<Timestamp>,
    pub(super) written_at: Timestamp,
}

/// An object that is to be written.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// Packs rows; there must be at least one.
pub(super) fn pack(about: &About, name: &str, rows: &[Row], level: i32) -> Result<Packed, ToolError> {
    let mut content = Sha256::new();
    let mut size = 0_u64;
    let head = serde_json::to_vec(about).expect("texts are JSON");
    let mut out = Vec::new();
    out.extend_from_slice(&SKIPPABLE_FRAME_MAGIC.to_le_bytes());
    out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&head);
    let broken = |error: std::io::Error| failed(&format!("rows can't be compressed: {error}"));
    let mut encoder = zstd::stream::write::Encoder::new(out, level).map_err(broken)?;
    encoder.include_checksum(true).map_err(broken)?;
    for row in rows {
        for part in [row.line.as_slice(), b"\n"] {
            content.update(part);
            encoder.write_all(part).map_err(broken)?;
        }
        size += row.line.len() as u64 + 1;
    }
    let bytes = encoder.finish().map_err(broken)?;
    // Rows that could not be read back must not be deleted.
    if size > MAX_UNPACKED_BYTES {
        return Err(failed(&format!(
            "{} MiB of rows would be one object, and the most is {} MiB: a row is too large to be archived",
            size >> 20,
            MAX_UNPACKED_BYTES >> 20
        )));
    }
    let (oldest, newest) = span(rows);
    let manifest = Manifest {
        about: about.clone(),
        object: name.to_owned(),
        rows: rows.len() as u64,
        bytes: size,
        stored: bytes.len() as u64,
        sha256: hex(&Sha256::digest(&bytes)),
        content_sha256: hex(&content.finalize()),
        first: shown_key(rows.first()),
        last: shown_key(rows.last()),
        oldest,
        newest,
        written_at: crate::clock::wall(),
    };
    Ok(Packed { bytes, manifest })
}

/// Returns the oldest and the newest instant of rows.
fn span(rows: &[Row]) -> (Option<Timestamp>, Option<Timestamp>) {
    let instants = || rows.iter().filter_map(|row| row.at);
    (instants().min(), instants().max())
}

/// Reads the description at the head of an object.
pub(super) fn head(bytes: &[u8]) -> Option<About> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let known = bytes.get(..4)? == SKIPPABLE_FRAME_MAGIC.to_le_bytes();
    let head = bytes.get(8..8_usize.checked_add(usize::try_from(length).ok()?)?)?;
    known.then(|| serde_json::from_slice(head).ok()).flatten()
}

/// Unpacks the lines of an object of which nothing else is known.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ToolError> {
    unpack_up_to(bytes, MAX_UNPACKED_BYTES)
}

/// Unpacks the lines of an object; more than `most` bytes are an error.
fn unpack_up_to(bytes: &[u8], most: u64) -> Result<Vec<u8>, ToolError> {
    let broken = |error: std::io::Error| failed(&format!("an object can't be unpacked: {error}"));
    let most = most.min(MAX_UNPACKED_BYTES);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(broken)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let mut lines = Vec::new();
    decoder.take(most + 1).read_to_end(&mut lines).map_err(broken)?;
    if lines.len() as u64 > most {
        return Err(failed(&format!("an object has more than the {most} bytes that it may have unpacked")));
    }
    Ok(lines)
}

/// Splits unpacked bytes into lines.
pub(super) fn lines(unpacked: &[u8]) -> impl Iterator<Item = &[u8]> {
    unpacked.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

impl Manifest {
    /// Checks that this is the object, intact, and returns its lines.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<Vec<u8>, ToolError> {
        let wrong = |what: String| failed(&format!("{}: {what}", self.object));
        if bytes.len() as u64 != self.stored {
            return Err(wrong(format!("it has {} bytes, and {} were written", bytes.len(), self.stored)));
        }
        if hex(&Sha256::digest(bytes)) != self.sha256 {
            return Err(wrong("its checksum does not match: the object is damaged".into()));
        }
        let read = |about: &About| {
            let About { kind, columns, key, column, unit, .. } = about.clone();
            (kind, columns, key, column, unit)
        };
        if head(bytes).is_none_or(|head| read(&head) != read(&self.about)) {
            return Err(wrong(
                "its manifest names columns or a key, and that is not what the object says".into(),
            ));
        }
        let unpacked = unpack_up_to(bytes, self.bytes).map_err(|error| match error {
            ToolError::Failed(why) => wrong(why),
            other => other,
        })?;
        let rows = lines(&unpacked).count() as u64;
        if rows != self.rows || hex(&Sha256::digest(&unpacked)) != self.content_sha256 {
            return Err(wrong(format!("it holds {rows} rows, and not the {} that were written", self.rows)));
        }
        Ok(unpacked)
    }
}

impl Manifest {
    /// Returns whether the keys and times in the manifest match these rows. Restoring a range selects objects
    /// by them.
    pub(super) fn is_of(&self, rows: &[Row]) -> bool {
        let (oldest, newest) = span(rows);
        let ends = (shown_key(rows.first()), shown_key(rows.last()));
        (self.oldest, self.newest) == (oldest, newest) && (&self.first, &self.last) == (&ends.0, &ends.1)
    }
}

fn shown_key(row: Option<&Row>) -> Vec<String> {
    row.map(|row| row.key.iter().map(row::shown).collect()).unwrap_or_default()
}

/// Returns the name of the object with this id.
pub(super) fn object_name(id: &str) -> String {
    format!("{id}.jsonl.zst")
}

/// Returns the name of the manifest of the object with this id.
pub(super) fn manifest_name(id: &str) -> String {
    format!("{id}.json")
}

/// Returns a fresh id: ids sort by time and are never reused.
pub(super) fn fresh_id() -> String {
    let now = crate::clock::wall().strftime("%Y%m%dT%H%M%S%3f").to_string();
    // Without the UUID's own timestamp: its counter and random bits.
    let chance = uuid::Uuid::now_v7().simple().to_string();
    format!("{now}-{}", &chance[12..])
}

/// Returns the id of the object that replaces this one when some of its rows are no longer archived.
pub(super) fn successor(id: &str) -> String {
    match id.split_once('.') {
        Some((stem, number)) => format!("{stem}.{}", number.parse::<u32>().unwrap_or(1) + 1),
        None => format!("{id}.2"),
    }
}

/// Returns the id if this is the name of one of our files with this suffix.
pub(super) fn id_of<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let id = name.strip_suffix(end)?;
    let (stem, number) = id.split_once('.').unwrap_or((id, "2"));
    let (time, chance) = stem.split_once('-')?;
    let ours = time.len() == 18
        && time
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() })
        && chance.len() == 20
        && chance.bytes().all(|byte| byte.is_ascii_hexdigit())
        && number.parse::<u32>().is_ok();
    ours.then_some(id)
}

#[cfg(test)]
mod tests {
    //! Packed rows are unpacked unchanged, and damage is detected.
    use super::*;

    fn about() -> About {
        About {
            format: FORMAT.into(),
            kind: Kind::Sqlite,
            source: "sqlite:/x".into(),
            table: "t".into(),
            columns: vec![
                Column { name: "id".into(), kind: "INTEGER".into() },
                Column { name: "at".into(), kind: "TEXT".into() },
            ],
            key: vec!["id".into()],
            column: "at".into(),
            unit: TimeUnit::Seconds,
        }
    }

    #[test]
    fn an_object_explains_itself_and_notices_damage() {
        let about = about();
        let lines = [r#"{"id":1,"at":"2026-01-01"}"#, r#"{"id":2,"at":"2025-01-01"}"#];
        let rows: Vec<Row> = lines.iter().map(|line| about.row(line.as_bytes()).unwrap()).collect();
        let packed = pack(&about, "x", &rows, 3).unwrap();
        assert_eq!(head(&packed.bytes), Some(about.clone()));
        assert_eq!(packed.manifest.check(&packed.bytes).unwrap(), (lines.join("\n") + "\n").into_bytes());
        assert_eq!(packed.manifest.oldest.unwrap().to_string(), "2025-01-01T00:00:00Z");
        assert_eq!(
            (packed.manifest.first.join("."), packed.manifest.last.join(".")),
            ("1".into(), "2".into())
        );
        let text = serde_json::to_string(&packed.manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), packed.manifest);
        for at in [0, 5, 20, packed.bytes.len() - 1] {
            let mut damaged = packed.bytes.clone();
            damaged[at] ^= 1;
            assert!(packed.manifest.check(&damaged).is_err(), "byte {at}");
        }
        assert!(packed.manifest.check(&packed.bytes[..packed.bytes.len() - 1]).is_err());
    }

    /// 100 KB that unpack to gigabytes.
    #[test]
    fn a_small_object_does_not_unpack_to_more_than_its_manifest_says() {
        let about = about();
        let row = about.row(br#"{"id":1,"at":"2026-01-01"}"#).unwrap();
        let packed = pack(&about, "x", &[row], 3).unwrap();
        let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![b'\n'; 1 << 20];
        for _ in 0..300 {
            bomb.write_all(&zeros).unwrap();
        }
        let mut bytes = packed.bytes.clone();
        bytes.extend(bomb.finish().unwrap());
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
        let told = |manifest: &Manifest| format!("{:?}", manifest.check(&bytes).unwrap_err());
        let stored =
            Manifest { stored: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)), ..packed.manifest };
        assert!(told(&stored).contains("more than the 27 bytes"), "{}", told(&stored));
        // Whoever can write the object can write its manifest as well.
        let lies = Manifest { bytes: u64::MAX, ..stored };
        assert!(
            told(&lies).contains(&format!("more than the {MAX_UNPACKED_BYTES} bytes")),
            "{}",
            told(&lies)
        );
        assert!(unpack(&bytes).is_err());
    }

    #[test]
    fn ids_are_told_from_other_names() {
        let id = fresh_id();
        assert_eq!(id_of(&object_name(&id), ".jsonl.zst"), Some(id.as_str()));
        let second = successor(&id);
        assert_eq!(id_of(&manifest_name(&second), ".json"), Some(second.as_str()));
        assert_eq!(successor(&second), format!("{id}.3"));
        for name in ["archive.json", "x.jsonl.zst", "20260101T000000-xyz.json", ".json", "a-b.json"] {
            assert_eq!(id_of(name, ".json").or(id_of(name, ".jsonl.zst")), None, "{name}");
        }
    }
}
