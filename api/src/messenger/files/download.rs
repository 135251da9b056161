//! Handing files out: which part of one is asked for, and what browsers are to do with it.

use domain::ContentType;
use domain::file::FileUploaded;
use headers::{ETag, HeaderMapExt, IfRange};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use poem::http::{HeaderMap, header};

/// Part of a file that is requested.
pub(super) enum Asked {
    Whole,
    Part(std::ops::Range<u64>),
    NoSuchPart,
}

/// Returns the part of a file that a request asks for (RFC 9110 14.2). Several at once, and what can't be understood, are answered with the
/// whole, as one may.
pub(super) fn asked_for(headers: &HeaderMap, etag: &ETag, size_bytes: u64) -> Asked {
    let is_outdated = headers.contains_key(header::IF_RANGE)
        && headers.typed_get::<IfRange>().is_none_or(|known| known.is_modified(Some(etag), None));
    let said = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| !is_outdated);
    match said.and_then(|said| byte_range(said, size_bytes)) {
        None => Asked::Whole,
        Some(range) if range.is_empty() => Asked::NoSuchPart,
        Some(range) => Asked::Part(range),
    }
}

/// One range of bytes, like `bytes=0-499`, `bytes=500-` or, for the last ones, `bytes=-500`; as far as there are so many.
fn byte_range(said: &str, size_bytes: u64) -> Option<std::ops::Range<u64>> {
    let (first, last) = said.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (start, end) = match (first, last) {
        ("", last) => (size_bytes.saturating_sub(number(last)?), size_bytes),
        (first, "") => (number(first)?, size_bytes),
        (first, last) => {
            let (first, last): (u64, u64) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1))
        }
    };
    Some(start..end.min(size_bytes))
}

/// Disposition of a file in browsers (RFC 6266): they save it, unless it is an image that cannot run anything.
pub(super) fn disposition(file: &FileUploaded) -> String {
    let is_safe = ContentType::parse(&file.content_type).is_ok_and(|content_type| content_type.is_safe_picture());
    let kind = if is_safe { "inline" } else { "attachment" };
    let name = file.name.known().map_or("file", String::as_str);
    let is_plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%'));
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn asked(range: &[u8], size_bytes: u64) -> Option<Asked> {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_bytes(range).ok()?)]);
        Some(asked_for(&headers, &"\"x\"".parse().expect("a tag"), size_bytes))
    }

    #[test]
    fn a_part_is_found_as_far_as_there_is_so_much() {
        for (said, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-5", Some(2..6)),
            ("bytes=2-", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=9-18446744073709551615", Some(9..10)),
            ("bytes=0-18446744073709551616", None),
            ("bytes=5-2", None),
            ("bytes=0-1,4-5", None),
            ("bytes=+1-2", None),
            ("bytes=-", None),
            ("items=0-1", None),
        ] {
            let part = match asked(said.as_bytes(), 10) {
                Some(Asked::Part(range)) => Some(range),
                _ => None,
            };
            assert_eq!(part, expected, "{said}");
        }
        for said in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            assert!(matches!(asked(said.as_bytes(), 10), Some(Asked::NoSuchPart)), "{said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_lies_in_the_file(
            range in "(bytes=)?[0-9]{0,20}[-,+ ]{0,2}[0-9]{0,20}|\\PC{0,30}",
            size_bytes in prop_oneof![0..20_u64, any::<u64>()],
        ) {
            if let Some(Asked::Part(range)) = asked(range.as_bytes(), size_bytes) {
                prop_assert!(range.start < range.end && range.end <= size_bytes, "{range:?}");
            }
        }
    }
}
