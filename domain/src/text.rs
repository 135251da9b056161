//! Text that people type in, checked once. Whoever holds one of these types need not check again.

use std::fmt;

use passwords::analyzer::is_common_password;
use url::Url;

use crate::visibility;

/// A field of a command that can't be accepted. The field has the name that the API gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// The field, as the API names it.
    pub field: &'static str,
    /// Reason, as the end of a sentence that begins with the field.
    pub reason: String,
}

impl Invalid {
    /// `field` can't be accepted for this `reason`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

macro_rules! text {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, by value.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        /// Says what kind of text it is and never the text: much of it is personal.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
}

text! {
    /// A login email. Kept as it was typed; two that differ in case only are the same login.
    EmailAddress
}
text! {
    /// Name that people see, of a user or a business: 1 to 200 characters, of which at least one leaves a mark on the screen. None of
    /// them is a control character or one that only changes how others are displayed.
    DisplayName
}
text! {
    /// Text of a message: up to 10,000 characters; line breaks and tabs are the only control characters.
    MessageText
}
text! {
    /// Retry key of a message, given by its client: 1 to 128 characters.
    RetryKey
}
text! {
    /// Room of a call, named by its clients: 1 to 200 characters.
    RoomId
}
text! {
    /// Why somebody did something: 1 to 500 characters.
    Reason
}
text! {
    /// Name of a file: 1 to 255 characters, and never a path.
    FileName
}
text! {
    /// Media type of a file, as its uploader states it, such as `image/png`, without parameters.
    ContentType
}
text! {
    /// Name that a device gives itself: up to 200 characters.
    UserAgent
}
text! {
    /// Password: 8 to 128 characters, and not a common one. Never stored; see [`crate::user::CreateUser`].
    Password
}
text! {
    /// Address of a picture: an `https` URL of up to 2,000 characters, in its normalised form (WHATWG URL).
    Avatar
}

impl EmailAddress {
    /// Longest address, in bytes: RFC 5321 4.5.3.1.
    const MAX_BYTES: usize = 254;

    /// Takes an address of the form `local@domain`; what else makes an address real, only a mail to it can tell.
    ///
    /// # Errors
    /// If it is no email address, is too long, or contains white space, control or invisible formatting characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
        });
        let is_forbidden = |c: char| c.is_whitespace() || visibility::is_forbidden_in_names(c);
        if !well_formed || text.len() > Self::MAX_BYTES || text.chars().any(is_forbidden) {
            return Err(Invalid::new("email", "must be an email address"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The form by which addresses are compared.
    #[must_use]
    pub fn to_key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl DisplayName {
    const MAX_CHARS: usize = 200;

    /// Takes a name without the white space around it.
    ///
    /// # Errors
    /// If no character of it is visible, if it is too long, or contains control or invisible formatting characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() || longer_than(text, Self::MAX_CHARS) {
            return Err(Invalid::new("name", format!("must be 1 to {} characters", Self::MAX_CHARS)));
        }
        if text.chars().any(visibility::is_forbidden_in_names) {
            return Err(Invalid::new("name", "must not contain control or invisible formatting characters"));
        }
        if !text.chars().any(visibility::leaves_a_mark) {
            return Err(Invalid::new("name", "must contain at least one visible character"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl MessageText {
    /// Longest text, in characters.
    pub const MAX_CHARS: usize = 10_000;

    /// Takes the text as it stands; an empty one too, since a message may consist of attachments alone.
    ///
    /// # Errors
    /// If it is too long or contains control characters other than line breaks and tabs.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if longer_than(text, Self::MAX_CHARS) {
            return Err(Invalid::new("content", format!("must be at most {} characters", Self::MAX_CHARS)));
        }
        if has_control_characters(text) {
            return Err(Invalid::new("content", "must not contain control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns true if it is empty, or white space only.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl RetryKey {
    const MAX_CHARS: usize = 128;

    /// Takes a key that came in `field`.
    ///
    /// # Errors
    /// If it is empty, too long, or contains control characters.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || longer_than(text, Self::MAX_CHARS) || text.chars().any(char::is_control) {
            return Err(Invalid::new(field, "must be 1 to 128 characters, without control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl RoomId {
    const MAX_CHARS: usize = 200;

    /// # Errors
    /// If it is empty, too long, or contains control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || longer_than(text, Self::MAX_CHARS) || text.chars().any(char::is_control) {
            return Err(Invalid::new("roomId", "must be 1 to 200 characters, without control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Reason {
    const MAX_CHARS: usize = 500;

    /// # Errors
    /// If it is blank, too long, or contains control characters other than line breaks and tabs.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() || longer_than(text, Self::MAX_CHARS) || has_control_characters(text) {
            return Err(Invalid::new("reason", "must be 1 to 500 characters, without control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FileName {
    const MAX_CHARS: usize = 255;

    /// Makes a name of whatever a client calls its file, which may be a path, or nothing: what could mean anything but a name to
    /// whoever saves the file is left out.
    #[must_use]
    pub fn tidied(text: &str) -> Self {
        let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_harmless =
            |c: &char| !matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') && !visibility::is_forbidden_in_names(*c);
        let name: String = last.chars().filter(is_harmless).collect();
        let is_padding = |c: char| c.is_whitespace() || c == '.';
        let name: String = name.trim_matches(is_padding).chars().take(Self::MAX_CHARS).collect();
        let name = name.trim_end_matches(is_padding);
        Self(if name.is_empty() { "file".to_owned() } else { name.to_owned() })
    }
}

impl ContentType {
    /// Media type of files with none, and of those whose type is not known.
    pub const UNKNOWN: &'static str = "application/octet-stream";
    const MAX_BYTES: usize = 127;

    /// Takes `type/subtype` (RFC 6838 4.2), with or without parameters, which are left out.
    ///
    /// # Errors
    /// If it is no media type.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
        };
        let is_well_formed = essence.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype));
        if !is_well_formed || essence.len() > Self::MAX_BYTES {
            return Err(Invalid::new("file", "its content type must be like image/png"));
        }
        Ok(Self(essence.to_ascii_lowercase()))
    }

    /// The type of unknown content.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Self::UNKNOWN.to_owned())
    }

    /// Returns true if a browser may display it inline: a raster image, which cannot run anything.
    #[must_use]
    pub fn is_safe_picture(&self) -> bool {
        matches!(self.as_str(), "image/png" | "image/jpeg" | "image/gif" | "image/webp")
    }
}

impl UserAgent {
    const MAX_CHARS: usize = 200;

    /// Returns the client's text, as far as it can be displayed; none if nothing remains.
    #[must_use]
    pub fn tidied(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_control()).take(Self::MAX_CHARS).collect();
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl Password {
    const MIN_CHARS: usize = 8;
    const MAX_CHARS: usize = 128;

    /// # Errors
    /// If it is too short or too long, or among the most common ones, ignoring case.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let too_short = text.chars().nth(Self::MIN_CHARS - 1).is_none();
        if too_short || longer_than(text, Self::MAX_CHARS) {
            return Err(Invalid::new("password", "must be 8 to 128 characters"));
        }
        if is_common_password(text) || is_common_password(text.to_lowercase()) {
            return Err(Invalid::new("password", "is one of the most common passwords"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Avatar {
    const MAX_CHARS: usize = 2_000;

    /// Takes an address and normalises it: what has a meaning in HTML or CSS is percent-encoded afterwards.
    ///
    /// # Errors
    /// If it is no absolute `https` URL, contains a user or a password, or is too long.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let url = Url::parse(text).ok().filter(|url| {
            url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
        });
        match url.map(String::from) {
            Some(url) if url.len() <= Self::MAX_CHARS && !text.contains(char::is_control) => Ok(Self(url)),
            _ => Err(Invalid::new("avatar", "must be an https URL of at most 2000 characters")),
        }
    }
}

/// Returns true if there are control characters besides line breaks and tabs.
fn has_control_characters(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// Looks at no more of the text than it must: it may be a megabyte.
fn longer_than(text: &str, max_chars: usize) -> bool {
    text.len() > max_chars && text.chars().nth(max_chars).is_some()
}

#[cfg(test)]
mod tests;
