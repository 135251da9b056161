//! Address and credentials of a connection string.

use std::borrow::Cow;
use std::fmt;

use eventstore::{ClientSettings, Credentials};
use percent_encoding::percent_decode_str;

/// The client waits for so long before it connects for the first time, and half a second where nobody says anything else.
const DISCOVERY_INTERVAL: &str = "discoveryInterval=100";

/// A connection string, understood.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) settings: ClientSettings,
    /// Who we are. The client has it from the connection string too, but takes it literally: there, a password that holds an `@`
    /// can't be said at all.
    pub(super) credentials: Option<Credentials>,
}

/// The connection string can't be understood. Doesn't repeat it, since there may be a password in it.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a connection string of KurrentDB{}: it looks like kurrentdb://user:password@host:2113?tls=true or \
     kurrentdb+discover://name:2113, and what is special in a password is percent-encoded",
    .0.map(|error| format!(" ({error})")).unwrap_or_default()
)]
pub(super) struct NotAnAddress(Option<&'static str>);

impl Address {
    pub(super) fn parse(connection_string: &str) -> Result<Self, NotAnAddress> {
        let (scheme, rest) = connection_string.split_once("://").ok_or(NotAnAddress(Some("it has no scheme")))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let credentials = authority.rsplit_once('@').map(|(user, _)| credentials(user)).transpose()?;
        // The client knows all of these names.
        if !matches!(scheme, "esdb" | "esdb+discover" | "kurrentdb" | "kurrentdb+discover") {
            return Err(NotAnAddress(Some("its scheme is another one")));
        }
        let settings = with_defaults(connection_string).parse::<ClientSettings>().map_err(|_| NotAnAddress(None))?;
        Ok(Self { settings, credentials })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("hosts", self.settings.hosts()).finish_non_exhaustive()
    }
}

fn credentials(user_and_password: &str) -> Result<Credentials, NotAnAddress> {
    let (user, password) = user_and_password.split_once(':').unwrap_or((user_and_password, ""));
    let decoded = |text| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(Cow::into_owned).map_err(|_| NotAnAddress(Some("user or password isn't UTF-8")))
    };
    Ok(Credentials::new(decoded(user)?, decoded(password)?))
}

fn with_defaults(connection_string: &str) -> String {
    if connection_string.to_ascii_lowercase().contains("discoveryinterval=") {
        return connection_string.to_owned();
    }
    let joint = if connection_string.contains('?') { '&' } else { '?' };
    format!("{connection_string}{joint}{DISCOVERY_INTERVAL}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_scheme_are_understood_with_and_without_discovery() {
        for (scheme, discovers) in
            [("esdb", false), ("kurrentdb", false), ("esdb+discover", true), ("kurrentdb+discover", true)]
        {
            let address = Address::parse(&format!("{scheme}://log.example:2114?tls=false")).unwrap();
            assert_eq!(address.settings.is_dns_discovery_enabled(), discovers, "{scheme}");
            assert_eq!((&*address.settings.hosts()[0].host, address.settings.hosts()[0].port), ("log.example", 2114));
            assert!(!address.settings.is_secure_mode_enabled());
        }
    }

    #[test]
    fn a_cluster_is_named_by_its_hosts() {
        let address = Address::parse("kurrentdb://one:1,two:2,three:3").unwrap();
        assert_eq!(address.settings.hosts().len(), 3);
        assert!(address.settings.is_secure_mode_enabled(), "TLS is what there is unless somebody says no");
    }

    #[test]
    fn what_is_special_in_a_password_is_percent_encoded() {
        let address = Address::parse("kurrentdb://admin:p%40ss%2Fword@host:2113").unwrap();
        assert_eq!(address.credentials, Some(Credentials::new("admin", "p@ss/word")));
        assert_eq!(Address::parse("kurrentdb://host").unwrap().credentials, None);
    }

    #[test]
    fn the_pause_before_the_first_connection_is_short_unless_somebody_says_otherwise() {
        let interval = |text: &str| Address::parse(text).unwrap().settings.discovery_interval().as_millis();
        assert_eq!(interval("kurrentdb://host"), 100);
        assert_eq!(interval("kurrentdb://host?tls=false"), 100);
        assert_eq!(interval("kurrentdb://host?discoveryInterval=700"), 700);
    }

    #[test]
    fn a_connection_string_that_is_wrong_is_not_repeated() {
        for wrong in [
            "kurrentdb://admin:hunter2@host:port",
            "kurrentdb://admin:hunter2/x@host",
            "kurrentdb://admin:hunter2,y@host:1,other:2:3",
            "postgres://admin:hunter2@host",
            "kurrentdb://admin:hunter2@host?tls=hunter2",
            "hunter2",
        ] {
            let error = Address::parse(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
