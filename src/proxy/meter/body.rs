//! Reads the whole body of a request: limited in size, time, and memory across all requests, with a share per run.
//!
//! Everything that a body takes is reserved beforehand: by its length as it arrives, and before decompression, from a separate
//! pool, by its declared or maximum decompressed size. Whoever holds memory of the second pool waits for nothing, and never for
//! the first; so there is no deadlock, and all waiting requests get their turn. The memory for parsing is limited by the number
//! of concurrent parsers (`receive`).
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use std::io::Read;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Maximum body size, before and after decompression: Anthropic's limit.
pub(super) const LARGEST: usize = 32 << 20;
/// Bytes per semaphore permit.
const PERMIT_BYTES: usize = 64 << 10;
/// Memory for all bodies: for small ones, which never wait behind large ones, for the others, and for decompressed ones.
const SMALL_POOL_BYTES: usize = 64 << 20;
const LARGE_POOL_BYTES: usize = 256 << 20;
const UNPACKED_POOL_BYTES: usize = SMALL_POOL_BYTES + LARGE_POOL_BYTES;
/// Maximum size of a small body.
const MAX_SMALL_BYTES: usize = 1 << 20;
/// The share of one meter: an eighth, each of incoming and decompressed bodies. The largest body fits, with its decompression.
const METER_SHARE_BYTES: usize = UNPACKED_POOL_BYTES / 8;
/// Maximum compression ratio of gzip (RFC 1951: 258 bytes from two bits).
const MAX_GZIP_RATIO: usize = 1032;
/// Memory for decompression besides the output (RFC 8878, 3.1.1.1.2: the window that all decoders support).
const WINDOW_BYTES: usize = 8 << 20;
/// Bytes that are decompressed before yielding.
const STEP_BYTES: usize = 256 << 10;
/// Idle timeout within a body, and timeout for memory.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout until a body has fully arrived, without waiting for memory.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(120);

/// The memory of all meters.
#[derive(Debug)]
struct Pools {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    unpacked: Arc<Semaphore>,
}

impl Default for Pools {
    fn default() -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / PERMIT_BYTES));
        Self { small: of(SMALL_POOL_BYTES), large: of(LARGE_POOL_BYTES), unpacked: of(UNPACKED_POOL_BYTES) }
    }
}

static ALL: LazyLock<Arc<Pools>> = LazyLock::new(Arc::default);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// The client disconnected, or was too slow. This is no refusal.
    Broken(String),
    /// It is invalid.
    Unfit(String),
    /// The wait for memory timed out: it may be sent again later.
    NoRoom,
}

/// The memory that the bodies of one meter may take.
#[derive(Debug)]
pub(super) struct BodyMemory {
    coming: Arc<Semaphore>,
    unpacked: Arc<Semaphore>,
    all: Arc<Pools>,
    patience: Duration,
}

impl Default for BodyMemory {
    fn default() -> Self {
        let share = || Arc::new(Semaphore::new(METER_SHARE_BYTES / PERMIT_BYTES));
        Self { coming: share(), unpacked: share(), all: ALL.clone(), patience: IDLE_TIMEOUT }
    }
}

impl BodyMemory {
    /// Reserves memory for an incoming body.
    async fn for_coming(&self, bytes: usize) -> Result<Room, NoBody> {
        let all = if bytes <= MAX_SMALL_BYTES { &self.all.small } else { &self.all.large };
        self.reserve(&self.coming, all, bytes).await
    }

    /// Reserves memory for a decompressed body, and for decompression.
    async fn for_unpacked(&self, bytes: usize) -> Result<Room, NoBody> {
        self.reserve(&self.unpacked, &self.all.unpacked, bytes + WINDOW_BYTES).await
    }

    async fn reserve(
        &self,
        share: &Arc<Semaphore>,
        all: &Arc<Semaphore>,
        bytes: usize,
    ) -> Result<Room, NoBody> {
        let units = in_units(bytes);
        let both = async {
            let own = share.clone().acquire_many_owned(units).await.ok()?;
            Some(Room { own, all: all.clone().acquire_many_owned(units).await.ok()? })
        };
        timeout(self.patience, both).await.ok().flatten().ok_or(NoBody::NoRoom)
    }
}

fn in_units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

/// Reserved memory, released on drop: of the meter's share, and of all.
#[derive(Debug)]
pub(super) struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Room {
    /// Releases what exceeds this size.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.own.num_permits().saturating_sub(bytes.div_ceil(PERMIT_BYTES));
        drop((self.own.split(spare), self.all.split(spare)));
    }
}

/// A body, with its reserved memory.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Room,
}

/// Reads the whole body.
///
/// # Errors
/// A sentence: why it is invalid.
pub(super) async fn whole(
    memory: &BodyMemory,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Whole, NoBody> {
    let too_large = || NoBody::Unfit(format!("this request is larger than {} MiB", LARGEST >> 20));
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // checked before anything is read, so that `Expect: 100-continue` is refused as well
    if declared.is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    let most = declared.unwrap_or(if body.is_end_stream() { 0 } else { LARGEST });
    let mut room = memory.for_coming(most).await?;
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
    let mut left = ARRIVAL_TIMEOUT;
    while !body.is_end_stream() {
        let began = Instant::now();
        let frame = match timeout(IDLE_TIMEOUT.min(left), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(NoBody::Broken(format!("this request broke off: {error}"))),
            Ok(None) => break,
            Err(_) => return Err(too_slow(left)),
        };
        left = left.saturating_sub(began.elapsed());
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > LARGEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    room.shrink(bytes.len());
    unpacked(memory, headers, Whole { bytes, room }).await
}

fn too_slow(left: Duration) -> NoBody {
    let why = match left <= IDLE_TIMEOUT {
        true => format!("this request has not come within {} s", ARRIVAL_TIMEOUT.as_secs()),
        false => format!("nothing came of this request for {} s", IDLE_TIMEOUT.as_secs()),
    };
    NoBody::Broken(why)
}

/// Decompresses a body if needed; bounded, and only after memory for all of it is reserved.
async fn unpacked(memory: &BodyMemory, headers: &HeaderMap, packed: Whole) -> Result<Whole, NoBody> {
    let bytes = &packed.bytes;
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map_or("identity", |value| value.to_str().unwrap_or("?")).trim();
    let unfit = |why: String| Err(NoBody::Unfit(why));
    if encodings.next().is_some() {
        return unfit("this request is compressed in several ways: zstd or gzip alone is read".into());
    }
    let (name, most, mut reader): (_, _, Box<dyn Read + Send + '_>) =
        match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => return Ok(packed),
            "gzip" | "x-gzip" => (
                "gzip",
                LARGEST.min(bytes.len() * MAX_GZIP_RATIO),
                Box::new(flate2::read::MultiGzDecoder::new(&bytes[..])),
            ),
            "zstd" => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&bytes[..]).and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW_BYTES.ilog2())?;
                    Ok(decoder)
                });
                match decoder {
                    Ok(decoder) => ("zstd", LARGEST, Box::new(decoder)),
                    Err(error) => {
                        return unfit(format!("this request is not zstd, although it says so: {error}"));
                    }
                }
            }
            _ => {
                let short: String = encoding.chars().take(40).collect();
                return unfit(format!("this request is compressed by `{short}`: zstd and gzip are read"));
            }
        };
    let mut room = memory.for_unpacked(most).await?;
    let mut whole = Vec::new();
    loop {
        match (&mut reader).take(STEP_BYTES as u64).read_to_end(&mut whole) {
            Ok(0) => break,
            Ok(_) if whole.len() > LARGEST => {
                return unfit(format!(
                    "this request is larger than {} MiB when it is unpacked",
                    LARGEST >> 20
                ));
            }
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => return unfit(format!("this request is not {name}, although it says so: {error}")),
        }
    }
    drop(reader);
    whole.shrink_to_fit();
    room.shrink(whole.len());
    Ok(Whole { bytes: whole, room })
}

/// Returns the reserved memory, in bytes.
#[cfg(test)]
pub(super) fn memory_in_use() -> usize {
    let free = [&ALL.small, &ALL.large, &ALL.unpacked].map(|pool| pool.available_permits());
    MEMORY - free.iter().sum::<usize>() * PERMIT_BYTES
}

/// All memory for bodies, in bytes.
#[cfg(test)]
pub(super) const MEMORY: usize = SMALL_POOL_BYTES + LARGE_POOL_BYTES + UNPACKED_POOL_BYTES;

#[cfg(test)]
mod tests {
    //! Tests of compressed bodies.
    use super::*;
    use std::io::Write;

    async fn read(encoding: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let memory = BodyMemory::default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        let packed = came(&memory, bytes.to_vec()).await;
        let read = unpacked(&memory, &headers, packed).await.map(|whole| whole.bytes);
        read.map_err(|why| match why {
            NoBody::Broken(why) | NoBody::Unfit(why) => why,
            NoBody::NoRoom => "no room".into(),
        })
    }

    async fn came(memory: &BodyMemory, bytes: Vec<u8>) -> Whole {
        Whole { room: memory.for_coming(bytes.len()).await.unwrap(), bytes }
    }

    fn impatient() -> BodyMemory {
        let all = Arc::default();
        BodyMemory { patience: Duration::from_millis(50), all, ..BodyMemory::default() }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn zstd_and_gzip_are_read_and_bounded() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert_eq!(read("zstd", &zstd(b"{}")).await.unwrap(), b"{}");
        assert_eq!(read("GZIP", &gzip(b"{}")).await.unwrap(), b"{}");
        assert_eq!(read("identity", b"{}").await.unwrap(), b"{}");
        let bomb = vec![b' '; LARGEST + 1];
        for (name, packed) in [("zstd", zstd(&bomb)), ("gzip", gzip(&bomb))] {
            assert!(packed.len() < 1 << 20);
            assert!(read(name, &packed).await.unwrap_err().contains("larger than 32 MiB"), "{name}");
            assert!(
                read(name, b"no such thing").await.unwrap_err().contains("although it says so"),
                "{name}"
            );
            assert!(read(name, &packed[..packed.len() / 2]).await.is_err(), "{name}");
        }
        assert!(read("br", b"x").await.unwrap_err().contains("`br`"));
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        headers.append(CONTENT_ENCODING, "zstd".parse().unwrap());
        let memory = BodyMemory::default();
        assert!(unpacked(&memory, &headers, came(&memory, Vec::new()).await).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_unpacked_that_there_is_no_memory_for() {
        let memory = impatient();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let packed = gzip(&vec![b' '; 16 << 20]);
        let others = memory.for_unpacked(24 << 20).await.unwrap();
        let refused = unpacked(&memory, &headers, came(&memory, packed.clone()).await).await;
        assert!(matches!(refused, Err(NoBody::NoRoom)), "{:?}", refused.map(|whole| whole.bytes.len()));
        drop(others);
        let whole = unpacked(&memory, &headers, came(&memory, packed).await).await.unwrap();
        assert_eq!(whole.bytes.len(), 16 << 20);
        let held = [&whole.room.own, &whole.room.all].map(|part| part.num_permits() * PERMIT_BYTES);
        assert_eq!(held, [16 << 20; 2], "what unpacking took is given back");
        assert_eq!(
            memory.coming.available_permits() * PERMIT_BYTES,
            METER_SHARE_BYTES,
            "and so is what came"
        );
    }

    #[tokio::test]
    async fn many_compressed_bodies_of_one_run_have_their_turn() {
        let memory = Arc::new(BodyMemory { all: Arc::default(), ..BodyMemory::default() });
        let packed = zstd::encode_all(&vec![b' '; 4 << 20][..], 1).unwrap();
        let reading = (0..40).map(|_| {
            let (memory, packed) = (memory.clone(), packed.clone());
            tokio::spawn(async move {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_ENCODING, "zstd".parse().unwrap());
                let packed = came(&memory, packed).await;
                unpacked(&memory, &headers, packed).await.unwrap().bytes.len()
            })
        });
        for one in reading.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), 4 << 20);
        }
    }

    #[tokio::test]
    async fn one_meter_takes_its_share_of_the_memory_and_no_more() {
        let greedy = impatient();
        let of_others = || BodyMemory { all: greedy.all.clone(), ..impatient() };
        let mut held = vec![greedy.for_coming(LARGEST).await.unwrap()];
        assert_eq!(greedy.for_coming(LARGEST).await.unwrap_err(), NoBody::NoRoom);
        // seven more such runs leave room for others
        for _ in 0..7 {
            held.push(of_others().for_coming(LARGEST).await.unwrap());
        }
        held.push(of_others().for_coming(MAX_SMALL_BYTES).await.unwrap());
        drop(greedy.for_unpacked(LARGEST).await.unwrap());
    }

    #[tokio::test]
    async fn a_small_body_does_not_wait_behind_large_ones() {
        let memory = impatient();
        let of_others =
            memory.all.large.clone().acquire_many_owned(in_units(LARGE_POOL_BYTES)).await.unwrap();
        assert!(memory.for_coming(MAX_SMALL_BYTES + 1).await.is_err());
        drop(memory.for_coming(MAX_SMALL_BYTES).await.unwrap());
        drop(of_others);
        drop(memory.for_coming(MAX_SMALL_BYTES + 1).await.unwrap());
        assert_eq!(memory.all.small.available_permits() * PERMIT_BYTES, SMALL_POOL_BYTES);
    }
}
