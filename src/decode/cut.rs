//! What a file is by its first bytes, and whether it is all there.

use super::DecodeError;

const JPEG: [u8; 3] = [0xFF, 0xD8, 0xFF];
/// Second byte of a JPEG's end mark.
const END: u8 = 0xD9;
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// A format that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

/// The format by the first bytes.
pub(super) fn format(bytes: &[u8]) -> Result<Format, DecodeError> {
    match bytes {
        [] => Err(DecodeError::Empty),
        _ if bytes.starts_with(&JPEG) => Ok(Format::Jpeg),
        _ if bytes.starts_with(&PNG) => Ok(Format::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Ok(Format::Bmp),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        _ if begins(bytes) => Err(DecodeError::Truncated),
        _ => Err(DecodeError::NotAnImage(other(bytes))),
    }
}

/// Whether a signature begins so.
fn begins(bytes: &[u8]) -> bool {
    let signatures: [&[u8]; 4] = [&JPEG, &PNG, b"GIF87a", b"GIF89a"];
    signatures.iter().any(|signature| signature.starts_with(bytes))
        || (bytes.len() < 12 && bytes.starts_with(b"RIFF"))
}

fn other(bytes: &[u8]) -> &'static str {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            "a HEIC, AVIF or video: only JPEG, PNG, WebP, GIF, BMP and TIFF are read"
        }
        _ => "not a JPEG, PNG, WebP, GIF, BMP or TIFF",
    }
}

/// Whether the bytes run out before the format's end mark. A file that breaks the format's rules
/// before that is not cut: it is corrupt.
pub(super) fn is_cut(bytes: &[u8], format: Format) -> bool {
    match format {
        Format::Jpeg => jpeg_is_cut(bytes),
        Format::Png => png_is_cut(bytes),
        Format::WebP => bytes.len() < 8 || bytes.len() as u64 - 8 < u64::from(little_endian(&bytes[4..])),
        Format::Gif => gif_is_cut(bytes),
        Format::Bmp => (bytes.len() as u64) < u64::from(little_endian(&bytes[2..])),
        Format::Tiff => tiff_is_cut(bytes),
    }
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Whether the last bytes are a JPEG's end mark. A JPEG that was decoded and ends so is whole: inside
/// compressed data FF is always followed by 00 or a restart.
pub(super) fn ends_in_mark(bytes: &[u8]) -> bool {
    bytes.ends_with(&[0xFF, END])
}

/// Walks the markers (ITU-T T.81, annex B). Bytes after the end mark do not matter.
fn jpeg_is_cut(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xDA;
    let mut at = 2;
    loop {
        let Some(&[mark, code]) = bytes.get(at..at + 2).and_then(|pair| pair.first_chunk()) else {
            return true;
        };
        match (mark, code) {
            (0xFF, END) => return false,
            (0xFF, 0xFF) => at += 1,               // fill
            (0xFF, 0x01 | 0xD0..=0xD8) => at += 2, // no segment
            (0xFF, _) => {
                let Some(&length) = bytes.get(at + 2..).and_then(|rest| rest.first_chunk()) else {
                    return true;
                };
                at += 2 + usize::from(u16::from_be_bytes(length));
                if code == SCAN {
                    let Some(next) = bytes.get(at..).and_then(after_scan) else { return true };
                    at += next;
                }
            }
            _ => return false, // not where a marker can be: corrupt
        }
    }
}

/// Length of compressed data: up to the first marker that is no restart.
fn after_scan(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += data.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        match data.get(at + 1)? {
            0x00 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

/// Walks the chunks.
fn png_is_cut(bytes: &[u8]) -> bool {
    let mut at = PNG.len();
    loop {
        let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { return true };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = at + 12 + length;
        if end > bytes.len() {
            return true;
        }
        if &head[4..] == b"IEND" {
            return false;
        }
        at = end;
    }
}

/// Walks the blocks.
fn gif_is_cut(bytes: &[u8]) -> bool {
    let Some(&[flags, _, _]) = bytes.get(10..13).and_then(|screen| screen.first_chunk()) else { return true };
    let mut at = 13 + colours(flags);
    loop {
        at = match bytes.get(at) {
            None => return true,
            Some(0x21) => after_blocks(bytes, at + 2),
            Some(0x2C) => match bytes.get(at + 9) {
                None => return true,
                Some(&flags) => after_blocks(bytes, at + 11 + colours(flags)),
            },
            Some(_) => return false, // the trailer, or nothing that can be here
        }
    }
}

/// Bytes of a GIF's colour table.
fn colours(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Where a GIF's chain of blocks ends.
fn after_blocks(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(0) | None => return at + 1,
            Some(&length) => at += 1 + usize::from(length),
        }
    }
}

/// Whether the first directory lies behind the end: what else is missing the decoder runs into.
fn tiff_is_cut(bytes: &[u8]) -> bool {
    let Some(&offset) = bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()) else { return true };
    let offset = if bytes[0] == b'I' { u32::from_le_bytes(offset) } else { u32::from_be_bytes(offset) };
    bytes[2..4].contains(&42) && u64::from(offset) + 2 > bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(format(b"GIF89a"), Ok(Format::Gif));
        assert_eq!(format(b"RIFF\x10\0\0\0WEBPVP8 "), Ok(Format::WebP));
        assert_eq!(format(b"MM\0*"), Ok(Format::Tiff));
        assert_eq!(format(b"BM\x10\0\0\0\0\0\0\0"), Ok(Format::Bmp));
        let message = |bytes: &[u8]| format(bytes).unwrap_err().to_string();
        assert_eq!(message(b"hello"), "not a JPEG, PNG, WebP, GIF, BMP or TIFF");
        assert!(message(b"\0\0\0\x20ftypavif").starts_with("a HEIC, AVIF or video"));
    }

    #[test]
    fn half_a_signature_is_truncated() {
        for bytes in [&PNG[..3], &JPEG[..2], b"GIF8", b"RIFF\x10\0"] {
            assert_eq!(format(bytes), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn a_jpeg_is_cut_until_its_end_mark_is_there() {
        let whole = b"\xFF\xD8\xFF\xE0\0\x04\xFF\xD9\xFF\xDA\0\x02ab\xFF\0\xFF\xD0c\xFF\xFF\xD9";
        for length in 2..whole.len() {
            assert!(jpeg_is_cut(&whole[..length]), "{length}");
        }
        assert!(!jpeg_is_cut(whole));
        assert!(!jpeg_is_cut(&[whole, &b"behind the end"[..]].concat()));
    }
}
