//! Characters that are not what they seem: control characters, and those that change how others are displayed without being seen.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, WhiteSpace};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Blank of the Braille patterns: a symbol by its category, and empty on the screen.
const BRAILLE_BLANK: char = '\u{2800}';

/// Returns true for characters not allowed in names: control characters, and invisible ones that make texts look alike.
///
/// Joiners and variation selectors stay allowed, since scripts and emoji need them.
pub(crate) fn is_forbidden_in_names(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let is_needed =
        matches!(c, '\u{200c}' | '\u{200d}' | '\u{34f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    let is_invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c);
    let is_separator_of_lines =
        matches!(category, GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator);
    let is_formatting = matches!(category, GeneralCategory::Control | GeneralCategory::Format);
    !is_needed && (is_formatting || is_separator_of_lines || is_invisible)
}

/// Returns true for characters that are visible by themselves.
pub(crate) fn leaves_a_mark(c: char) -> bool {
    c != BRAILLE_BLANK
        && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        && !CodePointSetData::new::<WhiteSpace>().contains(c)
        && !is_forbidden_in_names(c)
}
