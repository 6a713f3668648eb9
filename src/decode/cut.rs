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
}

/// The format by the first bytes.
pub(super) fn format(bytes: &[u8]) -> Result<Format, DecodeError> {
    match bytes {
        [] => Err(DecodeError::Empty),
        _ if bytes.starts_with(&JPEG) => Ok(Format::Jpeg),
        _ if bytes.starts_with(&PNG) => Ok(Format::Png),
        _ if JPEG.starts_with(bytes) || PNG.starts_with(bytes) => Err(DecodeError::Truncated),
        _ => Err(DecodeError::NotAnImage(other(bytes))),
    }
}

fn other(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'G', b'I', b'F', b'8', ..] => "a GIF: only JPEG and PNG are read",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            "a WebP: only JPEG and PNG are read"
        }
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "a BMP: only JPEG and PNG are read",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF: only JPEG and PNG are read",
        _ => "neither JPEG nor PNG",
    }
}

/// Whether the bytes run out before the format's end mark. A file that breaks the format's rules
/// before that is not cut: it is corrupt.
pub(super) fn is_cut(bytes: &[u8], format: Format) -> bool {
    match format {
        Format::Jpeg => jpeg_is_cut(bytes),
        Format::Png => png_is_cut(bytes),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named() {
        let message = |bytes: &[u8]| format(bytes).unwrap_err().to_string();
        assert_eq!(message(b"GIF89a"), "a GIF: only JPEG and PNG are read");
        assert_eq!(message(b"RIFF\x10\0\0\0WEBPVP8 "), "a WebP: only JPEG and PNG are read");
        assert_eq!(message(b"MM\0*"), "a TIFF: only JPEG and PNG are read");
        assert_eq!(message(b"hello"), "neither JPEG nor PNG");
    }

    #[test]
    fn half_a_signature_is_truncated() {
        assert_eq!(format(&PNG[..3]), Err(DecodeError::Truncated));
        assert_eq!(format(&JPEG[..2]), Err(DecodeError::Truncated));
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
