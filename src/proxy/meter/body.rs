//! The body of a request, whole: bounded in size, in time, and in the memory of all that are read at a time.
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use std::io::Read;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Largest body, before and after decompression: what Anthropic takes.
pub(super) const LARGEST: usize = 32 << 20;
/// What memory is counted in.
const UNIT: usize = 64 << 10;
/// Of all bodies at a time.
const MEMORY: usize = 512 << 20;
/// Longest pause within a body, and wait for memory.
const PAUSE: Duration = Duration::from_secs(60);

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MEMORY / UNIT)));

/// A body, with its part of the memory as long as it is kept.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads it. `Err`: why it can't be used.
pub(super) async fn whole(headers: &HeaderMap, mut body: Incoming) -> Result<Whole, String> {
    let too_large = || format!("this request is larger than {} MiB", LARGEST >> 20);
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // its own length is refused before any of it is read, so also for who asks with `Expect: 100-continue`
    if declared.is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    // as it came, and as it goes on
    let mut room = reserve(2 * declared.unwrap_or(0)).await?;
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
    while !body.is_end_stream() {
        let frame = match timeout(PAUSE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(format!("this request broke off: {error}")),
            Ok(None) => break,
            Err(_) => return Err(format!("nothing came of this request for {} s", PAUSE.as_secs())),
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > LARGEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
        grow(&mut room, 2 * bytes.len()).await?;
    }
    let bytes = unpacked(headers, bytes)?;
    grow(&mut room, 2 * bytes.len()).await?;
    Ok(Whole { bytes, room })
}

async fn reserve(bytes: usize) -> Result<OwnedSemaphorePermit, String> {
    let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
    match timeout(PAUSE, ALL.clone().acquire_many_owned(units)).await {
        Ok(Ok(room)) => Ok(room),
        _ => Err("too many large requests are under way: try again later".into()),
    }
}

async fn grow(room: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), String> {
    let have = room.num_permits() * UNIT;
    if bytes > have {
        // by half as much again, so that small pieces do not ask each time
        room.merge(reserve((bytes - have).max(have / 2)).await?);
    }
    Ok(())
}

/// Decompressed, where it is compressed; bounded.
fn unpacked(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map_or("identity", |value| value.to_str().unwrap_or("?")).trim();
    if encodings.next().is_some() {
        return Err("this request is compressed in several ways: zstd or gzip alone is read".into());
    }
    match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(bytes),
        "gzip" | "x-gzip" => bounded(flate2::read::MultiGzDecoder::new(&bytes[..]), "gzip"),
        "zstd" => {
            let unreadable = |error| format!("this request is no zstd, as it says: {error}");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&bytes[..]).map_err(unreadable)?;
            // a window of 8 MiB is what all readers take (RFC 8878, 3.1.1.1.2)
            decoder.window_log_max(23).map_err(unreadable)?;
            bounded(decoder, "zstd")
        }
        _ => {
            let short: String = encoding.chars().take(40).collect();
            Err(format!("this request is compressed by `{short}`: zstd and gzip are read"))
        }
    }
}

fn bounded(packed: impl Read, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = packed.take(LARGEST as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("this request is no {name}, as it says: {error}"))?;
    match bytes.len() > LARGEST {
        true => Err(format!("this request is larger than {} MiB when it is unpacked", LARGEST >> 20)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of compressed bodies.
    use super::*;
    use std::io::Write;

    fn read(encoding: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        unpacked(&headers, bytes.to_vec())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zstd_and_gzip_are_read_and_bounded() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert_eq!(read("zstd", &zstd(b"{}")).unwrap(), b"{}");
        assert_eq!(read("GZIP", &gzip(b"{}")).unwrap(), b"{}");
        assert_eq!(read("identity", b"{}").unwrap(), b"{}");
        let bomb = vec![b' '; LARGEST + 1];
        for (name, packed) in [("zstd", zstd(&bomb)), ("gzip", gzip(&bomb))] {
            assert!(packed.len() < 1 << 20);
            assert!(read(name, &packed).unwrap_err().contains("larger than 32 MiB"), "{name}");
            assert!(read(name, b"no such thing").unwrap_err().contains("as it says"), "{name}");
            assert!(read(name, &packed[..packed.len() / 2]).is_err(), "{name}");
        }
        assert!(read("br", b"x").unwrap_err().contains("`br`"));
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        headers.append(CONTENT_ENCODING, "zstd".parse().unwrap());
        assert!(unpacked(&headers, Vec::new()).is_err());
    }
}
