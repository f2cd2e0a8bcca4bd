//! What a body is: its type, its encoding, and its bytes inflated within bounds.

use std::borrow::Cow;
use std::io::Read;

use super::PushError;

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

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> PushError {
    PushError { status: 413, text: format!("request body too large: {what} than max ({bytes} vs {bytes_max})") }
}

/// Whether the body is JSON; any other type that parses means snappy protobuf.
pub(super) fn is_json(content_type: Option<&str>) -> Result<bool, PushError> {
    let media = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
    if media.is_empty() {
        return Err(PushError::bad("mime: no media type"));
    }
    Ok(media.eq_ignore_ascii_case("application/json"))
}

/// Undoes the Content-Encoding. `snappy` is a label only: the protobuf decoder undoes it.
pub(super) fn inflate<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    limits: &BodyLimits,
) -> Result<Cow<'a, [u8]>, PushError> {
    if body.len() > limits.compressed_bytes_max {
        return Err(too_large("message size too large", body.len(), limits.compressed_bytes_max));
    }
    let inflated = match encoding.unwrap_or("") {
        "" | "snappy" => return Ok(Cow::Borrowed(body)),
        "gzip" => {
            if body.len() >= 10 && body[..2] != [0x1f, 0x8b] {
                return Err(PushError::bad("gzip: invalid header"));
            }
            read_bounded(flate2::read::MultiGzDecoder::new(body), limits)?
        }
        "deflate" => read_bounded(flate2::read::DeflateDecoder::new(body), limits)?,
        other => return Err(PushError::bad(format!("Content-Encoding {other:?} not supported"))),
    };
    Ok(Cow::Owned(inflated))
}

fn read_bounded(reader: impl Read, limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let mut inflated = Vec::new();
    let most = limits.inflated_bytes_max;
    reader.take(most as u64 + 1).read_to_end(&mut inflated).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => PushError::bad("unexpected EOF"),
        _ => PushError::bad(error.to_string()),
    })?;
    if inflated.len() > most {
        return Err(too_large("decompressed message size too large", inflated.len(), most));
    }
    Ok(inflated)
}

/// Undoes the snappy block that a protobuf push is.
pub(super) fn unsnap(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let corrupt = || PushError::bad("snappy: corrupt input");
    let bytes = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if bytes > limits.inflated_bytes_max {
        return Err(too_large("decompressed message size too large", bytes, limits.inflated_bytes_max));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())
}
