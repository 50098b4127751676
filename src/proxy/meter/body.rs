//! The body of a request, whole: bounded in size, in time, and in the memory of all that are read at a time, of which one
//! run has its share.
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use std::io::Read;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Largest body, before and after decompression: what Anthropic takes.
pub(super) const LARGEST: usize = 32 << 20;
/// What memory is counted in.
const UNIT: usize = 64 << 10;
/// Of all bodies at a time: for small ones, which never wait behind large ones, and for the others.
const FOR_SMALL: usize = 128 << 20;
const FOR_LARGE: usize = 384 << 20;
/// What a small one takes at the most: a body of a megabyte.
const SMALL: usize = 4 << 20;
/// Of the bodies of one meter at a time.
const SHARE: usize = 128 << 20;
/// How often a body is in memory while it is read: as it came, unpacked, a part of it on its own, and as it goes on.
const COPIES: usize = 4;
/// What unpacking takes beside the bytes themselves (RFC 8878, 3.1.1.1.2: the window that all readers have).
const WINDOW: usize = 8 << 20;
/// So much is unpacked before more memory is asked for.
const STEP: usize = 256 << 10;
/// Longest pause within a body, and wait for memory.
const PAUSE: Duration = Duration::from_secs(60);
/// Longest time until all of a body has come, without waits for memory.
const ARRIVAL: Duration = Duration::from_secs(120);

/// The memory of all meters.
#[derive(Debug)]
struct Pools {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Pools {
    fn default() -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        Self { small: of(FOR_SMALL), large: of(FOR_LARGE) }
    }
}

impl Pools {
    /// The one that a body is counted in which takes so much.
    fn of(&self, units: u32) -> &Arc<Semaphore> {
        if units as usize * UNIT <= SMALL { &self.small } else { &self.large }
    }
}

static ALL: LazyLock<Arc<Pools>> = LazyLock::new(Arc::default);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// Whoever sent it went away, or took too long. That is nothing that the run was refused.
    Broken(String),
    /// It can't be used.
    Unfit(String),
}

/// The memory that the bodies of one meter may take.
#[derive(Debug)]
pub(super) struct BodyMemory {
    share: Arc<Semaphore>,
    all: Arc<Pools>,
    /// How long is waited for it.
    patience: Duration,
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self { share: Arc::new(Semaphore::new(SHARE / UNIT)), all: ALL.clone(), patience: PAUSE }
    }
}

impl BodyMemory {
    async fn reserve(&self, bytes: usize) -> Result<Room, NoBody> {
        let units = in_units(bytes);
        let both = async {
            let own = self.share.clone().acquire_many_owned(units).await.ok()?;
            Some(Room { own, all: self.all.of(units).clone().acquire_many_owned(units).await.ok()? })
        };
        self.patient(both).await
    }

    async fn patient<T>(&self, room: impl Future<Output = Option<T>>) -> Result<T, NoBody> {
        match timeout(self.patience, room).await {
            Ok(Some(room)) => Ok(room),
            _ => Err(NoBody::Broken("too many large requests are under way: try again later".into())),
        }
    }
}

fn in_units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// A part of the memory, as long as it is kept: of the meter's share, and of all.
#[derive(Debug)]
pub(super) struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Room {
    async fn grow(&mut self, memory: &BodyMemory, bytes: usize) -> Result<(), NoBody> {
        let have = self.own.num_permits() * UNIT;
        if bytes <= have {
            return Ok(());
        }
        // by half as much again, so that small pieces do not ask each time
        let units = in_units(bytes.max(have + have / 2).min(SHARE));
        let more = units.saturating_sub(in_units(have));
        let pool = memory.all.of(units);
        let stays = Arc::ptr_eq(pool, self.all.semaphore());
        let growing = async {
            let own = memory.share.clone().acquire_many_owned(more).await.ok()?;
            let all = pool.clone().acquire_many_owned(if stays { more } else { units }).await.ok()?;
            Some((own, all))
        };
        let (own, all) = memory.patient(growing).await?;
        self.own.merge(own);
        match stays {
            true => self.all.merge(all),
            false => self.all = all,
        }
        Ok(())
    }

    /// Gives back what is above this.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.own.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop((self.own.split(spare), self.all.split(spare)));
    }
}

/// A body, with its part of the memory as long as it is kept.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Room,
}

/// Reads it.
///
/// # Errors
/// Why it can't be used, in a sentence.
pub(super) async fn whole(
    memory: &BodyMemory,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Whole, NoBody> {
    let too_large = || NoBody::Unfit(format!("this request is larger than {} MiB", LARGEST >> 20));
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // its own length is refused before any of it is read, so also for who asks with `Expect: 100-continue`
    if declared.is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    let mut room = memory.reserve(COPIES * declared.unwrap_or(0)).await?;
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
    let mut left = ARRIVAL;
    while !body.is_end_stream() {
        let began = Instant::now();
        let frame = match timeout(PAUSE.min(left), body.frame()).await {
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
        room.grow(memory, COPIES * (bytes.len() + data.len())).await?;
        bytes.extend_from_slice(&data);
    }
    let bytes = unpacked(memory, headers, bytes, &mut room).await?;
    Ok(Whole { bytes, room })
}

fn too_slow(left: Duration) -> NoBody {
    let why = match left <= PAUSE {
        true => format!("this request has not come within {} s", ARRIVAL.as_secs()),
        false => format!("nothing came of this request for {} s", PAUSE.as_secs()),
    };
    NoBody::Broken(why)
}

/// Decompressed, where it is compressed; bounded, and no faster than there is memory for it.
async fn unpacked(
    memory: &BodyMemory,
    headers: &HeaderMap,
    bytes: Vec<u8>,
    room: &mut Room,
) -> Result<Vec<u8>, NoBody> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map_or("identity", |value| value.to_str().unwrap_or("?")).trim();
    let unfit = |why: String| Err(NoBody::Unfit(why));
    if encodings.next().is_some() {
        return unfit("this request is compressed in several ways: zstd or gzip alone is read".into());
    }
    let (name, mut packed): (_, Box<dyn Read + Send + '_>) = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => return Ok(bytes),
        "gzip" | "x-gzip" => ("gzip", Box::new(flate2::read::MultiGzDecoder::new(&bytes[..]))),
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&bytes[..]).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW.ilog2())?;
                Ok(decoder)
            });
            match decoder {
                Ok(decoder) => ("zstd", Box::new(decoder)),
                Err(error) => return unfit(format!("this request is no zstd, as it says: {error}")),
            }
        }
        _ => {
            let short: String = encoding.chars().take(40).collect();
            return unfit(format!("this request is compressed by `{short}`: zstd and gzip are read"));
        }
    };
    let mut whole = Vec::new();
    loop {
        room.grow(memory, (bytes.len() + WINDOW + COPIES * (whole.len() + STEP)).min(SHARE)).await?;
        let read = (&mut packed).take(STEP as u64).read_to_end(&mut whole);
        match read {
            Ok(0) => return Ok(whole),
            Ok(_) if whole.len() > LARGEST => {
                return unfit(format!(
                    "this request is larger than {} MiB when it is unpacked",
                    LARGEST >> 20
                ));
            }
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => return unfit(format!("this request is no {name}, as it says: {error}")),
        }
    }
}

/// What of the memory is taken now, in bytes.
#[cfg(test)]
pub(super) fn memory_in_use() -> usize {
    MEMORY - (ALL.small.available_permits() + ALL.large.available_permits()) * UNIT
}

/// All of it.
#[cfg(test)]
pub(super) const MEMORY: usize = FOR_SMALL + FOR_LARGE;

#[cfg(test)]
mod tests {
    //! Tests of compressed bodies.
    use super::*;
    use std::io::Write;

    async fn read(encoding: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let memory = BodyMemory::default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        let mut room = memory.reserve(0).await.unwrap();
        let read = unpacked(&memory, &headers, bytes.to_vec(), &mut room).await;
        read.map_err(|why| match why {
            NoBody::Broken(why) | NoBody::Unfit(why) => why,
        })
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
            assert!(read(name, b"no such thing").await.unwrap_err().contains("as it says"), "{name}");
            assert!(read(name, &packed[..packed.len() / 2]).await.is_err(), "{name}");
        }
        assert!(read("br", b"x").await.unwrap_err().contains("`br`"));
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        headers.append(CONTENT_ENCODING, "zstd".parse().unwrap());
        let memory = BodyMemory::default();
        let mut room = memory.reserve(0).await.unwrap();
        assert!(unpacked(&memory, &headers, Vec::new(), &mut room).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_unpacked_that_there_is_no_memory_for() {
        let memory = impatient();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let packed = gzip(&vec![b' '; 16 << 20]);
        let others = memory.reserve(SHARE - (24 << 20)).await.unwrap();
        let mut room = memory.reserve(0).await.unwrap();
        let refused = unpacked(&memory, &headers, packed.clone(), &mut room).await;
        assert!(matches!(refused, Err(NoBody::Broken(_))), "{:?}", refused.map(|bytes| bytes.len()));
        assert!(room.own.num_permits() * UNIT <= 24 << 20);
        drop((others, room));
        let mut room = memory.reserve(0).await.unwrap();
        assert_eq!(unpacked(&memory, &headers, packed, &mut room).await.unwrap().len(), 16 << 20);
        assert!(room.own.num_permits() * UNIT >= 4 * (16 << 20), "what it takes is held");
        room.shrink(16 << 20);
        assert_eq!((room.own.num_permits() * UNIT, room.all.num_permits() * UNIT), (16 << 20, 16 << 20));
    }

    #[tokio::test]
    async fn one_meter_takes_its_share_of_the_memory_and_no_more() {
        let greedy = impatient();
        let other = BodyMemory { all: greedy.all.clone(), ..impatient() };
        let _all_of_it = greedy.reserve(SHARE).await.unwrap();
        assert!(greedy.reserve(1).await.is_err());
        drop(other.reserve(COPIES * LARGEST).await.unwrap());
    }

    #[tokio::test]
    async fn a_small_body_does_not_wait_behind_large_ones() {
        let memory = impatient();
        let of_others = memory.all.large.clone().acquire_many_owned(in_units(FOR_LARGE)).await.unwrap();
        assert!(memory.reserve(SMALL + 1).await.is_err());
        let mut room = memory.reserve(SMALL).await.unwrap();
        assert!(Arc::ptr_eq(room.all.semaphore(), &memory.all.small));
        assert!(room.grow(&memory, SMALL + 1).await.is_err());
        drop(of_others);
        room.grow(&memory, SMALL + 1).await.unwrap();
        assert!(Arc::ptr_eq(room.all.semaphore(), &memory.all.large));
        assert_eq!(room.own.num_permits(), room.all.num_permits());
        assert_eq!(memory.all.small.available_permits() * UNIT, FOR_SMALL);
    }
}
