//! What a body is: its type, its encoding, and its bytes inflated within bounds.

use std::borrow::Cow;
use std::io::Read;

use super::PushError;

/// Memory that a zstd frame may ask for, as a power of two: 128 MiB, the default of the zstd program.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// What a byte of a snappy block becomes at most: a copy of three bytes stands for 64.
const SNAPPY_RATIO_MAX: usize = 22;
/// Room made for inflated bytes at once.
const STEP_BYTES: usize = 64 << 10;

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
        "deflate" => undeflate(body, limits).map(Cow::Owned),
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
        "lz4" => unlz4(body, limits).map(Cow::Owned),
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

/// Undoes a raw deflate stream, which must come to its end: the reader of the library takes a cut one for a short one.
fn undeflate(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let (mut state, mut inflated) = (flate2::Decompress::new(false), Vec::new());
    loop {
        inflated.reserve(STEP_BYTES);
        let (before_in, before_out) = (state.total_in(), inflated.len());
        let rest = usize::try_from(before_in).ok().and_then(|at| body.get(at..)).unwrap_or_default();
        let status = state.decompress_vec(rest, &mut inflated, flate2::FlushDecompress::None);
        let status = status.map_err(|error| PushError::bad(error.to_string()))?;
        if inflated.len() > limits.inflated_bytes_max {
            return Err(inflated_too_large(inflated.len(), limits));
        }
        match status {
            flate2::Status::StreamEnd => return Ok(inflated),
            _ if state.total_in() == before_in && inflated.len() == before_out => return Err(cut_short()),
            _ => {}
        }
    }
}

/// Undoes lz4 frames, one after the other, each of which must come to its end mark: the reader of the library takes a
/// frame that is cut between blocks for a short one, and ends at the first.
fn unlz4(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let mut inflated = Vec::new();
    let mut reader = Watched { rest: body, ran_dry: false };
    while !reader.rest.is_empty() {
        read_into(&mut lz4_flex::frame::FrameDecoder::new(&mut reader), &mut inflated, limits)?;
        if reader.ran_dry {
            return Err(cut_short());
        }
    }
    Ok(inflated)
}

/// Knows whether more was asked of it than there was.
struct Watched<'a> {
    rest: &'a [u8],
    ran_dry: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.ran_dry |= self.rest.is_empty() && !buffer.is_empty();
        self.rest.read(buffer)
    }
}

fn read_bounded(mut reader: impl Read, limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let mut inflated = Vec::new();
    read_into(&mut reader, &mut inflated, limits)?;
    Ok(inflated)
}

/// Appends what the reader has to `inflated`, which may not pass the limit.
fn read_into(reader: &mut impl Read, inflated: &mut Vec<u8>, limits: &BodyLimits) -> Result<(), PushError> {
    let room = limits.inflated_bytes_max.saturating_sub(inflated.len());
    reader.take(room as u64 + 1).read_to_end(inflated).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => cut_short(),
        _ => PushError::bad(error.to_string()),
    })?;
    if inflated.len() > limits.inflated_bytes_max {
        return Err(inflated_too_large(inflated.len(), limits));
    }
    Ok(())
}

fn cut_short() -> PushError {
    PushError::bad("unexpected EOF")
}

fn inflated_too_large(bytes: usize, limits: &BodyLimits) -> PushError {
    PushError::too_large("decompressed message size too large", bytes, limits.inflated_bytes_max)
}

/// Undoes the snappy block that a protobuf push is.
pub(super) fn unsnap(body: &[u8], limits: &BodyLimits) -> Result<Vec<u8>, PushError> {
    let corrupt = || PushError::bad("snappy: corrupt input");
    let bytes = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if bytes > limits.inflated_bytes_max {
        return Err(inflated_too_large(bytes, limits));
    }
    // A length that the block cannot come to is found before memory is taken for it.
    if bytes / SNAPPY_RATIO_MAX > body.len() {
        return Err(corrupt());
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::receive::fuzz;

    const TEXT: &[u8] = b"a line that comes again, a line that comes again, and one that does not";

    fn limits() -> BodyLimits {
        BodyLimits { inflated_bytes_max: 1 << 20, ..BodyLimits::default() }
    }

    /// As a sender of that encoding writes it.
    fn encoded(encoding: &str, bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::fast();
        match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
            }
            "deflate" => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
            }
            "zstd" => zstd::encode_all(bytes, 1).expect("in memory"),
            _ => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).expect("in memory");
                encoder.finish().expect("in memory")
            }
        }
    }

    fn decoded(encoding: &str, body: &[u8]) -> Result<Vec<u8>, PushError> {
        let inflated = match encoding {
            "zstd" | "lz4" => inflate_otlp(body, Some(encoding), &limits()),
            _ => inflate(body, Some(encoding), &limits()),
        };
        inflated.map(Cow::into_owned)
    }

    const ENCODINGS: [&str; 4] = ["gzip", "deflate", "zstd", "lz4"];

    #[test]
    fn a_body_that_is_cut_anywhere_is_refused() {
        for encoding in ENCODINGS {
            let sound = encoded(encoding, TEXT);
            assert_eq!(decoded(encoding, &sound).as_deref(), Ok(TEXT), "{encoding}");
            for end in 1..sound.len() {
                let refused = decoded(encoding, &sound[..end]).expect_err(encoding);
                assert_eq!(refused.status, 400, "{encoding} cut at {end}");
            }
        }
        // Between the blocks of a frame, too.
        let long: Vec<u8> =
            (0..300_000_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24).to_le_bytes()).collect();
        let body = encoded("lz4", &long[..900_000]);
        assert_eq!(decoded("lz4", &body).as_deref(), Ok(&long[..900_000]));
        assert!((1..body.len()).step_by(997).all(|end| decoded("lz4", &body[..end]).is_err()));
        assert!(decoded("lz4", &body[..body.len() - 4]).is_err(), "without the end mark alone");
    }

    #[test]
    fn frames_one_after_the_other_are_one_body() {
        for encoding in ["gzip", "zstd", "lz4"] {
            let twice = [encoded(encoding, TEXT), encoded(encoding, TEXT)].concat();
            assert_eq!(decoded(encoding, &twice), Ok([TEXT, TEXT].concat()), "{encoding}");
        }
        assert_eq!(decoded("lz4", b""), Ok(Vec::new()));
    }

    #[test]
    fn what_grows_beyond_the_limit_is_refused() {
        for encoding in ENCODINGS {
            let bomb = encoded(encoding, &vec![b'x'; 16 << 20]);
            assert_eq!(decoded(encoding, &bomb).expect_err(encoding).status, 413, "{encoding}");
        }
        let half = vec![b'x'; 600 << 10];
        let two = [encoded("lz4", &half), encoded("lz4", &half)].concat();
        assert_eq!(decoded("lz4", &two).expect_err("more than the limit").status, 413);
        let snapped = snap::raw::Encoder::new().compress_vec(&vec![b'x'; 16 << 20]).expect("in memory");
        assert_eq!(unsnap(&snapped, &limits()).expect_err("more than the limit").status, 413);
        // Says that it is a megabyte, and has nothing.
        assert_eq!(unsnap(&[0x80, 0x80, 0x40, 0], &limits()).expect_err("a lie").status, 400);
        let most = snap::raw::Encoder::new().compress_vec(&vec![b'x'; 1 << 20]).expect("in memory");
        assert_eq!(unsnap(&most, &limits()).map(|bytes| bytes.len()), Ok(1 << 20));
    }

    #[test]
    fn damaged_bodies_end_soon() {
        for encoding in ENCODINGS {
            fuzz::survives(&[encoded(encoding, TEXT), encoded(encoding, b"")], |body| {
                assert!(
                    decoded(encoding, body).is_ok_and(|bytes| bytes.len() <= 1 << 20)
                        || decoded(encoding, body).is_err()
                );
            });
        }
        let snapped = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("in memory");
        fuzz::survives(&[snapped(TEXT), snapped(b"")], |body| {
            let _ = unsnap(body, &limits());
        });
    }
}
