//! Unpacks the records of a batch into a buffer that is used again, never beyond a limit.

use std::io::Read;

use super::batch::{Bad, Compression};

/// How Snappy's blocks are framed by the Java client: this, two versions, then blocks with their lengths.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
/// The frame's name and the two versions.
const XERIAL_HEADER: usize = 16;

/// Unpacks `packed` into `plain`, which is emptied first. At most `limit` bytes.
pub(super) fn unpack(compression: Compression, packed: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), Bad> {
    plain.clear();
    match compression {
        Compression::None => append(plain, packed, limit),
        Compression::Gzip => stream("gzip", flate2::read::MultiGzDecoder::new(packed), plain, limit),
        Compression::Lz4 => stream("lz4", lz4_flex::frame::FrameDecoder::new(packed), plain, limit),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed);
            stream("zstd", decoder.map_err(|e| damaged("zstd", &e))?, plain, limit)
        }
        Compression::Snappy => snappy(packed, plain, limit),
        Compression::Unknown(number) => Err(Bad::damaged(format!("compression {number} is unknown"))),
    }
}

fn stream(name: &str, decoder: impl Read, plain: &mut Vec<u8>, limit: usize) -> Result<(), Bad> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(plain).map_err(|e| damaged(name, &e))?;
    if plain.len() > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn snappy(packed: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), Bad> {
    if !packed.starts_with(XERIAL) {
        return snappy_block(packed, plain, limit);
    }
    let mut rest = packed.get(XERIAL_HEADER..).ok_or_else(|| Bad::damaged("snappy: a frame without blocks"))?;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, after) =
            after.split_at_checked(length).ok_or_else(|| Bad::damaged("snappy: a block is cut off"))?;
        snappy_block(block, plain, limit)?;
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Bad::damaged("snappy: a block is cut off")) }
}

fn snappy_block(block: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), Bad> {
    let length = snap::raw::decompress_len(block).map_err(|e| damaged("snappy", &e))?;
    let begin = plain.len();
    let end = begin.checked_add(length).filter(|it| *it <= limit).ok_or_else(|| too_large(limit))?;
    // A block of n bytes holds no more than 21 n: what promises more is no reason to reserve memory.
    if length > block.len().saturating_mul(32) {
        return Err(Bad::damaged("snappy: an impossible length"));
    }
    plain.resize(end, 0);
    let room = plain.get_mut(begin..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, room).map_err(|e| damaged("snappy", &e))?;
    Ok(())
}

fn append(plain: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<(), Bad> {
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    plain.extend_from_slice(bytes);
    Ok(())
}

fn damaged(name: &str, error: &dyn std::error::Error) -> Bad {
    Bad::damaged(format!("{name}: {error}"))
}

fn too_large(limit: usize) -> Bad {
    Bad::damaged(format!("a record batch of more than {limit} bytes unpacked (kafka.receive.message.max.bytes)"))
}
