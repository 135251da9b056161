//! Credentials in events: auditors get events without them.

use std::borrow::Cow;

use serde_json::Value;

/// Fields of events that hold credentials.
const FIELDS: [&str; 1] = ["passwordHash"];

/// The data of an event as auditors get it: byte for byte as it was written, unless there is a credential in it. That is then shown as
/// data is that was erased.
#[must_use]
pub fn without_credentials(data: &[u8]) -> Cow<'_, [u8]> {
    let mentions = |field: &str| data.windows(field.len()).any(|window| window == field.as_bytes());
    if !FIELDS.into_iter().any(mentions) {
        return Cow::Borrowed(data);
    }
    let Ok(mut value) = serde_json::from_slice(data) else { return Cow::Borrowed(b"null") };
    if !erase(&mut value) {
        // Somebody has written about it.
        return Cow::Borrowed(data);
    }
    Cow::Owned(serde_json::to_vec(&value).unwrap_or_else(|_| b"null".to_vec()))
}

/// Erases credentials wherever they are. Whether there were any.
fn erase(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            let mut found = false;
            for (name, field) in fields {
                if FIELDS.contains(&name.as_str()) {
                    match field {
                        Value::Object(personal) if personal.contains_key("value") => personal["value"] = Value::Null,
                        other => *other = Value::Null,
                    }
                    found = true;
                } else {
                    found |= erase(field);
                }
            }
            found
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| erase(item) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::user::{UserEvent, UserPasswordChanged};
    use crate::{DomainEvent, Personal, Timestamp, UserId};

    #[test]
    fn a_password_hash_is_shown_as_erased_and_the_event_can_still_be_read() {
        let changed = UserPasswordChanged {
            password_hash: Personal::of(UserId(Uuid::nil()), "$argon2id$secret".to_owned()),
            is_temporary: false,
            kept_session: None,
            changed_at: Timestamp::from_unix_ms(0),
        };
        let data = serde_json::to_vec(&UserEvent::PasswordChanged(changed)).unwrap();
        let shown = without_credentials(&data);
        assert!(!String::from_utf8_lossy(&shown).contains("secret"));
        let mut json = serde_json::Deserializer::from_slice(&shown);
        let read = UserEvent::deserialize("UserPasswordChanged", &mut json).unwrap().unwrap();
        let UserEvent::PasswordChanged(read) = read else { panic!("{read:?}") };
        assert_eq!(read.password_hash.known(), None);
    }

    #[test]
    fn whatever_else_is_said_is_shown_as_it_was_written() {
        let odd = br#"{ "content":"passwordHash",  "a" : 1}"#;
        assert_eq!(&*without_credentials(odd), odd);
        assert!(matches!(without_credentials(b"{ }"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_credential_is_found_however_deep_it_is_and_whatever_it_is() {
        let deep = br#"{"a":[{"b":{"passwordHash":"x"}}],"passwordHash":{"value":"y"}}"#;
        let shown: Value = serde_json::from_slice(&without_credentials(deep)).unwrap();
        assert_eq!(shown, serde_json::json!({"a": [{"b": {"passwordHash": null}}], "passwordHash": {"value": null}}));
    }
}
