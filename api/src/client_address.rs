//! Address of a client, also behind a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use poem::Request;

/// Proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Text that is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network like 10.0.0.0/8")]
pub struct NoNetwork(String);

impl TrustedProxies {
    /// Reads a comma-separated list of addresses and networks.
    ///
    /// # Errors
    /// If one of them is neither.
    pub fn parse(list: &str) -> Result<Self, NoNetwork> {
        let network = |text: &str| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse::<IpNet>()).map_err(|_| NoNetwork(text.to_owned()))
        };
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the address of a request's client, if it is known.
    pub(crate) fn client_of(&self, request: &Request) -> Option<IpAddr> {
        let peer = request.remote_addr().as_socket_addr()?.ip();
        let forwarded = request.headers().get_all("x-forwarded-for");
        let hops: Vec<&str> =
            forwarded.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        Some(self.client(peer, &hops))
    }

    /// Returns true for the address of a trusted proxy.
    pub(crate) fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The last one in the chain that isn't one of ours: what stands before it, it may have made up.
    fn client(&self, peer: IpAddr, hops: &[&str]) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in hops.iter().rev() {
            if !self.include(client) {
                break;
            }
            let Some(address) = address_of(hop.trim()) else { break };
            client = address.to_canonical();
        }
        client
    }
}

/// Parses an address as proxies write it: some add the port, and put version 6 in brackets.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, hops: &[&str]) -> String {
        TrustedProxies::parse(proxies).unwrap().client(peer.parse().unwrap(), hops).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_the_operator_says_so() {
        assert_eq!(client("", "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn a_proxy_says_whom_it_forwards_and_nothing_before_that_counts() {
        assert_eq!(client("10.0.0.1", "10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.0/8", "::ffff:10.0.0.1", &["203.0.113.5", " 198.51.100.7", "10.1.1.1"]),
            "198.51.100.7"
        );
        for (hop, address) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[::ffff:198.51.100.7]:4711", "198.51.100.7"),
        ] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[hop]), address, "{hop}");
            assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[hop, "10.1.1.1:80"]), address, "{hop}");
        }
        for nonsense in ["nonsense", "198.51.100.7:", "198.51.100.7:x", "[2001:db8::7]x", "[2001:db8::7", ":80"] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense}");
        }
        assert_eq!(client("10.0.0.1", "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        assert!(TrustedProxies::parse("10.0.0.1, 2001:db8::/32").is_ok());
        for bad in ["proxy.example.com", "10.0.0.0/33", "*"] {
            assert!(TrustedProxies::parse(bad).is_err(), "{bad}");
        }
    }
}
