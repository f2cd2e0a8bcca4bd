//! What a body is: its type, its encoding, and its bytes inflated within bounds.

use std::borrow::Cow;
use std::io::Read;

use super::PushError;

/// Memory that a zstd frame may ask for, as a power of two: 128 MiB, the default of the zstd program.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bounds of a body, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// As it came.
    pub compressed_bytes_max: usize,
    /// After inflating: what a small bomb may grow to.
    pub inflated_bytes_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        BodyLimits { compressed_bytes_max: 100 << 20, inflated_bytes_max: 256 << 20 }
    }
}

/// Whether the body is JSON; any other type that parses means snappy protobuf.
pub(super) fn is_json(content_type: Option<&str>) -> Result<bool, PushError> {
    let media = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
    if media.is_empty() {
        return Err(PushError::bad("mime: no media type"));
    }
    Ok(media.eq_ignore_ascii_case("application/json"))
}

/// Undoes the Content-Encoding of a Loki push. `snappy` is a label only: the protobuf decoder undoes it.
pub(super) fn inflate<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    limits: &BodyLimits,
) -> Result<Cow<'a, [u8]>, PushError> {
    check_size(body, limits)?;
    match encoding.unwrap_or("") {
        "" | "snappy" => Ok(Cow::Borrowed(body)),
        "gzip" => gunzip(body, limits).map(Cow::Owned),
        "deflate" => read_bounded(flate2::read::DeflateDecoder::new(body), limits).map(Cow::Owned),
        other => Err(PushError::bad(format!("Content-Encoding {other:?} not supported"))),
    }
}

/// Undoes the Content-Encoding of an OTLP request.
pub(super) fn inflate_otlp<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    limits: &BodyLimits,
) -> Result<Cow<'a, [u8]>, PushError> {
    check_size(body, limits)?;
    match encoding.unwrap_or("") {
        "" => Ok(Cow::Borrowed(body)),
        "gzip" => gunzip(body, limits).map(Cow::Owned),
        "zstd" => {
            let io = |error: std::io::Error| PushError::bad(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::new(body).map_err(io)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(io)?;
            read_bounded(decoder, limits).map(Cow::Owned)
        }
        "lz4" => read_bounded(lz4_flex::frame::FrameDecoder::new(body), limits).map(Cow::Owned),
        other => {
            Err(PushError::bad(format!("unsupported content encoding {other}: only gzip, lz4 and zstd are supported")))
        }
    }
}

fn check_size(body: &[u8], limits: &BodyLimits) -> Result<(), PushError> {
    if body.len() > limits.compressed_bytes_max {
        return Err(PushError::too_large("message size too large", body.len(), limits.compressed_bytes_max));
    }
    Ok(())
}

fn gunzip(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    if body.len() >= 10 && body[..2] != [0x1f, 0x8b] {
        return Err(PushError::bad("gzip: invalid header"));
    }
    read_bounded(flate2::read::MultiGzDecoder::new(body), limits)
}

fn read_bounded(reader: impl Read, limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let mut inflated = Vec::new();
    let most = limits.inflated_bytes_max;
    reader.take(most as u64 + 1).read_to_end(&mut inflated).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => PushError::bad("unexpected EOF"),
        _ => PushError::bad(error.to_string()),
    })?;
    if inflated.len() > most {
        return Err(PushError::too_large("decompressed message size too large", inflated.len(), most));
    }
    Ok(inflated)
}

/// Undoes the snappy block that a protobuf push is.
pub(super) fn unsnap(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let corrupt = || PushError::bad("snappy: corrupt input");
    let bytes = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if bytes > limits.inflated_bytes_max {
        return Err(PushError::too_large("decompressed message size too large", bytes, limits.inflated_bytes_max));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())
}
