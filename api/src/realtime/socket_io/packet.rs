//! Packets of Socket.IO (protocol 5), as text: a digit, a namespace if it isn't `/`, an id if an acknowledgement is wanted, and JSON.

/// A packet that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// It connects to a namespace.
    Connect { namespace: &'a str, auth: &'a str },
    /// It leaves the namespace `/`.
    Disconnect,
    /// It emits an event.
    Event { ack: Option<&'a str>, data: &'a str },
    /// It emits an event with binary attachments, which nothing here has. They are sent after it.
    BinaryEvent { ack: Option<&'a str> },
    /// It acknowledges something, or means a namespace that it isn't connected to.
    Ignored,
}

/// The only namespace.
pub(super) const ROOT: &str = "/";
/// Longest id of an acknowledgement, in digits.
const MAX_ID_DIGITS: usize = 19;
/// Longest count of attachments, in digits.
const MAX_COUNT_DIGITS: usize = 6;

impl<'a> Packet<'a> {
    /// Reads a packet; none when it isn't one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, mut rest) = text.split_at_checked(1)?;
        let is_binary = matches!(kind, "5" | "6");
        if is_binary {
            let (count, after) = digits(rest);
            rest = after.strip_prefix('-')?;
            if count.is_empty() || count.len() > MAX_COUNT_DIGITS {
                return None;
            }
        }
        let namespace = if rest.starts_with('/') {
            // Without a comma it goes on to the end.
            let (namespace, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after;
            namespace
        } else {
            ROOT
        };
        let (id, data) = digits(rest);
        let ack = (!id.is_empty()).then_some(id);
        if id.len() > MAX_ID_DIGITS {
            return None;
        }
        match kind {
            "0" => Some(Self::Connect { namespace, auth: rest }),
            "1" | "2" | "3" | "5" | "6" if namespace != ROOT => Some(Self::Ignored),
            "1" => Some(Self::Disconnect),
            "2" => Some(Self::Event { ack, data }),
            "5" => Some(Self::BinaryEvent { ack }),
            "3" | "6" => Some(Self::Ignored),
            _ => None,
        }
    }
}

/// The digits that a text begins with, and what comes after them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_read_as_the_official_client_writes_them() {
        let event = |ack, data| Some(Packet::Event { ack, data });
        for (text, packet) in [
            ("0", Some(Packet::Connect { namespace: "/", auth: "" })),
            (r#"0{"token":"x"}"#, Some(Packet::Connect { namespace: "/", auth: r#"{"token":"x"}"# })),
            ("0/admin,{}", Some(Packet::Connect { namespace: "/admin", auth: "{}" })),
            ("0/admin", Some(Packet::Connect { namespace: "/admin", auth: "" })),
            ("1", Some(Packet::Disconnect)),
            (r#"2["x",1]"#, event(None, r#"["x",1]"#)),
            (r#"212["x"]"#, event(Some("12"), r#"["x"]"#)),
            (r#"2/admin,12["x"]"#, Some(Packet::Ignored)),
            ("31[]", Some(Packet::Ignored)),
            (r#"51-7["x",{"_placeholder":true,"num":0}]"#, Some(Packet::BinaryEvent { ack: Some("7") })),
            (r#"51000-["x"]"#, Some(Packet::BinaryEvent { ack: None })),
            ("61-1[]", Some(Packet::Ignored)),
            ("", None),
            ("4{}", None),
            ("7", None),
            ("x", None),
            ("5[]", None),
            ("5-[]", None),
            ("51000000-[]", None),
            ("212345678901234567890[]", None),
            ("é", None),
        ] {
            assert_eq!(Packet::parse(text), packet, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_packet_or_none(text in "[0-9/,\\-é\\[\\]{}\"]{0,40}|\\PC{0,40}") {
            match Packet::parse(&text) {
                Some(Packet::Connect { namespace, auth }) => prop_assert!(text.contains(namespace) || namespace == ROOT, "{auth}"),
                Some(Packet::Event { ack, data }) => prop_assert!(text.ends_with(data) && ack.is_none_or(|ack| text.contains(ack))),
                Some(Packet::BinaryEvent { .. } | Packet::Disconnect | Packet::Ignored) | None => {}
            }
        }
    }
}
